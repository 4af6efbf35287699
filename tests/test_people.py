"""Boxes of people: they are scaled with their image, who is ignored is marked, errors are one clear sentence."""
import json
import warnings
from functools import partial
from math import nan

import numpy as np
import pytest
import torch
from PIL import Image

from posenc_lib.data import bundled, imageset, people, registry, streets
from posenc_lib.run.config import Workspace
from posenc_lib.run.inputs import load_for

load = partial(registry.load, boxes=True, validation=0.0)
GREY, MEAN = 90, [124, 116, 104]              # MEAN: 255 times (0.485, 0.456, 0.406), rounded


def save(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def grey(rows: int, cols: int, *bright: tuple[int, int, int, int]) -> np.ndarray:
    """A grey image with white boxes (left, top, width, height)."""
    pixels = np.full((rows, cols, 3), GREY, np.uint8)
    for left, top, width, height in bright:
        pixels[top:top + height, left:left + width] = 255
    return pixels


def boxes(part: imageset.ImageSet) -> list[list[list[float]]]:
    """The rows of each image, after a check that only padding, at the end, is nan."""
    images = []
    for rows in part.labels:
        is_number = ~rows.isnan()
        n = int(is_number.any(1).sum())
        assert is_number[:n].all() and not is_number[n:].any()
        images.append(rows[:n].tolist())
    return images


def same(actual, expected) -> bool:
    return len(actual) == len(expected) and all(
        len(a) == len(e) and np.allclose(np.reshape(a, (-1, 6)), np.reshape(e, (-1, 6)), atol=1e-5)
        for a, e in zip(actual, expected, strict=True))


def one(image: int, box, **more) -> dict:
    return {"image_id": image, "category_id": 1, "bbox": box, **more}


PERSON = [{"id": 1, "name": "person"}]


def write(root, train: dict, test: dict | None = None, where: str = "val"):
    """A folder "mine": its JSON files, and in each split a wide image 20x40 and a tall one 40x20."""
    for split, content in (("train", train), (where, test or train)):
        save(root / "mine" / split / "wide.png", grey(20, 40))
        save(root / "mine" / split / "tall.png", grey(40, 20))
        (root / "mine" / f"{split}.json").write_text(json.dumps(content))


def coco(*annotations, **more) -> dict:
    images = [{"id": 7, "file_name": "wide.png", "width": 40, "height": 20}, {"id": 3, "file_name": "tall.png"}]
    return {"images": images, "annotations": list(annotations), "categories": PERSON, **more}


BOX = one(7, [4, 8, 10, 12])


def test_boxes_are_scaled_with_an_image_that_is_fitted_and_centred(tmp_path):
    write(tmp_path, coco(BOX, one(3, [2, 4, 8, 36]), one(3, [0, 0, 20, 40])), coco(one(3, [0, 1, 2, 3])))
    train, validation, test = load("mine", tmp_path, size=32)          # at 32 / 40, bars of 8 pixels
    assert same(boxes(train), [[[3.2, 14.4, 8, 9.6, 1, 0]], [[9.6, 3.2, 6.4, 28.8, 1, 0], [8, 0, 16, 32, 1, 0]]])
    assert same(boxes(test), [[], [[8, 0.8, 1.6, 2.4, 1, 0]]])
    for part, n in ((train, 2), (validation, 0), (test, 2)):
        assert (part.images.shape, part.images.dtype) == ((n, 3, 32, 32), torch.uint8)
        assert (part.labels.shape, part.labels.dtype) == ((n, 2, 6), torch.float32)
        assert (part.name, part.classes, part.mean, part.std) == ("mine", ("person",), *imageset.IMAGENET)
    assert [part.split for part in (train, validation, test)] == ["train", "validation", "test"]
    for image, (rows, cols) in zip(train.images, ((slice(8, 24), slice(32)), (slice(32), slice(8, 24))), strict=True):
        inside = torch.zeros(32, 32, dtype=torch.bool)
        inside[rows, cols] = True
        assert (image[:, inside] == GREY).all() and (image[:, ~inside] == torch.tensor(MEAN)[:, None]).all()


@pytest.mark.parametrize("shape, size, expected", [   # of a box (4, 8, 10, 12)
    ((20, 40), (20, 40), [4, 8, 10, 12]), ((20, 40), (40, 80), [8, 16, 20, 24]), ((20, 40), (10, 20), [2, 4, 5, 6]),
    ((20, 40), (30, 40), [4, 13, 10, 12]), ((20, 40), (20, 51), [9, 8, 10, 12]), ((40, 20), (20, 40), [17, 4, 5, 6]),
    ((21, 40), (10, 20), [1.9, 80 / 21, 4.75, 120 / 21]),   # 19.05 columns are 19; bars of 0 and of 1
])
def test_an_image_of_the_requested_size_is_unchanged_and_others_are_fitted(tmp_path, shape, size, expected):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for split in ("train", "test"):
        save(tmp_path / "mine" / split / "deep" / "a.png", picture)
        content = {"images": [{"id": "a", "im_name": "deep/a.png"}], "annotations": [one("a", [4, 8, 10, 12])]}
        (tmp_path / "mine" / f"{split}.json").write_text(json.dumps(content))
    test = load("mine", tmp_path, size=size).test
    assert same(boxes(test), [[[*expected, 1, 0]]]) and test.images.shape[2:] == size
    if shape == size:
        assert np.array_equal(test.images[0].permute(1, 2, 0), picture)


@pytest.mark.parametrize("size", [(64, 64), (96, 40), (23, 61), (120, 160), (200, 300)])
@pytest.mark.parametrize("shape", [(120, 160), (160, 90)])
def test_pixels_drawn_in_a_box_lie_in_the_scaled_box(tmp_path, shape, size):
    box = (21, 34, 40, 62)
    for split in ("train", "val"):
        save(tmp_path / "mine" / split / "a.png", grey(*shape, box))
        content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [one(1, box)]}
        (tmp_path / "mine" / f"{split}.json").write_text(json.dumps(content))
    train = load("mine", tmp_path, size=size).train
    [[[left, top, width, height, *_]]] = boxes(train)
    row, col = torch.nonzero(train.images[0, 0] > (GREY + 255) / 2, as_tuple=True)   # the edge is at half the height
    measured = [col.min(), row.min(), col.max() + 1, row.max() + 1]
    assert np.abs(np.subtract(measured, [left, top, left + width, top + height])).max() <= 0.75
    assert len(row) == pytest.approx(width * height, rel=0.2)


def test_downscaling_averages_pixels(tmp_path):
    write(tmp_path, coco(BOX))
    save(tmp_path / "mine/train/wide.png", np.tile(np.array([0, 255], np.uint8), (20, 20)))   # vertical stripes
    inside = load("mine", tmp_path, size=(10, 20)).train.images[0, :, :, 1:-1].float()
    assert ((inside - 127.5).abs() <= 1).all()


def test_boxes_are_clipped_and_those_without_area_are_left_out_with_one_warning(tmp_path):
    outside = [[40, 0, 5, 5], [-5, 0, 5, 5], [0, 20, 5, 5], [0, 0, 0, 5], [3, 3, 5, 0], [9, 9, -4, 5], [9, 9, 5, -4]]
    reaching = [[-4, -6, 10, 10], [36, 15, 99, 99], [-1, -1, 50, 50]]
    write(tmp_path, coco(*(one(7, box, vis_ratio=0.5, ignore=1) for box in outside), one(7, [1, 2, 3, 4]),
                         *(one(7, box, vis_ratio=0.25) for box in reaching)), coco(BOX))
    with pytest.warns(UserWarning) as warned:
        train = load("mine", tmp_path, size=(20, 40)).train
    [warning] = warned
    sentence = f"mine: 7 boxes of {tmp_path}/mine/train.json have no area within their image and are left out"
    assert str(warning.message) == sentence
    assert boxes(train) == [[[1, 2, 3, 4, 1, 0], [0, 0, 6, 4, 0.25, 0], [36, 15, 4, 5, 0.25, 0],
                             [0, 0, 40, 20, 0.25, 0]], []]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path, coco(BOX))
        load("mine", tmp_path, size=(20, 40))


def test_categories_are_detected_ignored_or_skipped(tmp_path):
    kinds = ("ignore region", "Pedestrian", "rider", "sitting person", "other person", "people group", "dog", "Crowd")
    categories = [{"id": n, "name": name} for n, name in enumerate(kinds)]
    people = [one(7, [n, 1, 5, 6], category_id=n) for n in range(len(kinds))]
    people += [one(7, [10, 1, 5, 6], iscrowd=1), one(7, [11, 1, 5, 6], ignore=1, vis_ratio=0),
               one(7, [12, 1, 5, 6], ignore=0, iscrowd=0, vis_ratio=0.125)]
    write(tmp_path, coco(*people, categories=categories), {k: v for k, v in coco(BOX).items() if k != "categories"})
    splits = load("mine", tmp_path, size=(20, 40))
    assert [row[:1] + row[4:] for row in boxes(splits.train)[0]] == [
        [0, 1, 1], [1, 1, 0], [2, 1, 1], [3, 1, 1], [4, 1, 1], [5, 1, 1], [7, 1, 1], [10, 1, 1], [11, 0, 1],
        [12, 0.125, 0]]
    assert boxes(splits.test) == [[[4, 8, 10, 12, 1, 0]], []]                 # without categories, all are people


def test_the_test_split_is_preferred_to_val_and_256_is_the_default_size(tmp_path):
    write(tmp_path, coco(BOX))
    write(tmp_path, coco(BOX), coco(BOX, BOX), "test")
    test = load("mine", tmp_path).test
    assert ([len(rows) for rows in boxes(test)], test.images.shape) == ([2, 0], (2, 3, 256, 256))
    with pytest.raises(ValueError, match=r"mine: size=0 is not a size in pixels; give one positive number, or "):
        load("mine", tmp_path, size=0)


def test_boxes_move_to_a_device_are_batched_and_count_in_the_fingerprint(tmp_path):
    write(tmp_path, coco(BOX, one(3, [0, 0, 5, 5])))
    splits = load("mine", tmp_path, size=16)
    assert splits.fingerprint == load("mine", tmp_path, size=16).fingerprint
    images, labels = splits.train.batch(torch.tensor([1]))
    assert images.shape == (1, 3, 16, 16) and torch.equal(labels, splits.train.to("cpu").labels[1:])
    write(tmp_path, coco(BOX, one(3, [0, 0, 5, 5.5])))
    assert splits.fingerprint != load("mine", tmp_path, size=16).fingerprint


def test_streets_stand_in_for_people_if_a_page_shows_recorded_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    write(tmp_path, coco(BOX))
    workspace = Workspace("smoke", str(tmp_path))
    assert load_for(workspace, "mine", boxes=True, size=16, validation=0.0).train.labels.shape == (2, 1, 6)
    with pytest.raises(FileNotFoundError, match=r"data: 'ours' is not one of streets, "):
        load_for(workspace, "ours", boxes=True)
    paper = Workspace("paper", str(tmp_path))
    assert not isinstance(load_for(paper, "mine", boxes=True, size=16), imageset.StandIn)
    splits = load_for(paper, "citypersons", boxes=True, size=(32, 64))
    assert isinstance(splits, imageset.StandIn) and len(splits.train) < 30
    assert splits.train.images.shape[-2:] == (32, 64)
    assert splits.train.labels.shape[1] == splits.test.labels.shape[1]
    assert capsys.readouterr().out == ("citypersons is not in the data folder; in the demonstrations, streets stand "
                                       "in for it\n")


def put(text: str | bytes):
    return lambda folder: (folder / "val.json").write_bytes(text if isinstance(text, bytes) else text.encode())


def listed(*annotations, **more):
    return put(json.dumps(coco(*annotations, **more)))


WHOLE = json.dumps(coco(BOX))


@pytest.mark.parametrize("damage, error, sentence", [
    (lambda folder: folder.rename(folder.parent / "ours"), FileNotFoundError, r"data: 'mine' is not one of "
     r"streets, camvid, citypersons, and .*/mine is not a folder; put images under .* with mine/\{train,test\}\.json "),
    (lambda folder: (folder / "val.json").unlink(), FileNotFoundError,
     r"mine: .*/val\.json does not exist; put the boxes of the val images there, in the layout of COCO$"),
    (lambda folder: (folder / "train.json").unlink(), FileNotFoundError, r"mine: .*/train\.json does not exist; put"),
    (lambda folder: (folder / "val").rename(folder / "valid"), FileNotFoundError,
     r"mine: 2 of the 2 images of .*/val\.json are missing, the first is .*/val/wide\.png; put every image there$"),
    (lambda folder: (folder / "val/tall.png").unlink(), FileNotFoundError,
     r"mine: 1 of the 2 images of .*/val\.json are missing, the first is .*/val/tall\.png; put"),
    (lambda folder: save(folder / "val/wide.png", grey(40, 20)), ValueError,
     r"mine: .*/val/wide\.png is displayed with 40x20 pixels, but .*/val\.json says 20x40; put the image there that "
     r"was annotated$"),
    (lambda folder: (folder / "val/tall.png").write_bytes(b""), ValueError,
     r"data: .*/val/tall\.png cannot be read as an image .*; replace it or remove it$"),
    (lambda folder: (folder / "val/tall.png").write_bytes((folder / "val/tall.png").read_bytes()[:60]), ValueError,
     r"data: .*/val/tall\.png cannot be read as an image"),
    (put(""), ValueError, r"mine: .*/val\.json cannot be read as JSON \(Expecting val.*\); put the complete"),
    (put(WHOLE[:-9]), ValueError, r"mine: .*/val\.json cannot be read as JSON \(.*\); put the complete"),
    (put("\nno json"), ValueError, r"mine: .*/val\.json cannot be read as JSON \(Expecting value: line 2"),
    (put(b"\xff\xd8\xff\xe0"), ValueError, r"mine: .*/val\.json cannot be read as JSON \(.*decode"),
    (put("[" * 200_000), ValueError, r"mine: .*/val\.json cannot be read as JSON \(.*recursion"),
    (put(f"[{WHOLE}]"), ValueError,
     r"mine: .*/val\.json has no lists called images and annotations; put a file in the layout of COCO there$"),
    (put("null"), ValueError, r"mine: .*/val\.json has no lists called images and annotations"),
    (put('{"images": []}'), ValueError, r"mine: .*/val\.json has no lists called images and annotations"),
    (put('{"annotations": []}'), ValueError, r"mine: .*/val\.json has no lists called images and annotations"),
    (put('{"images": {}, "annotations": []}'), ValueError, r"mine: .*/val\.json has no lists called"),
    (listed(BOX, images=[{"id": 7, "file_name": "wide.png"}] * 2), ValueError,
     r"mine: .*/val\.json has two images with the id 7; give each its own$"),
    (listed(BOX, one(8, [1, 2, 3, 4])), ValueError,
     r"mine: annotation 1 of .*/val\.json belongs to the image 8, which is not listed there; list the image or rem"),
    *((listed(BOX, one(7, box)), ValueError, rf"mine: annotation 1 of .*/val\.json has the box {shown} with the "
       r"visible fraction 1; give four finite numbers \(left, top, width, height\) and a fraction in 0\.\.1$")
      for box, shown in (([1, nan, 3, 4], r"\[1, nan, 3, 4\]"), ([1, 2, float("inf"), 4], r"\[1, 2, inf, 4\]"),
                        ([1, 2, 3], r"\[1, 2, 3\]"), ([1, 2, 3, 4, 5], r"\[1, 2, 3, 4, 5\]"), (None, "None"),
                        ([1, None, 3, 4], r"\[1, None, 3, 4\]"), ("all", "'all'"), ([10 ** 400, 2, 3, 4], ".*"))),
    *((listed(BOX, one(7, [1, 2, 3, 4], vis_ratio=visible)), ValueError, rf"with the visible fraction {shown}; give")
      for visible, shown in ((1.5, r"1\.5"), (-0.1, r"-0\.1"), (nan, "nan"), (None, "None"))),
    (listed(BOX, one(7, [1, 2, 3, 4], category_id=5)), ValueError,
     r"mine: annotation 1 of .*/val\.json has the category 5, which is not listed there; list the category or rem"),
    (listed(BOX, {"image_id": 7, "category_id": 1}), ValueError, r"annotation 1 of .* has no 'bbox'; add it; pycocot"),
    (listed(BOX, 7), ValueError, r"annotation 1 of .*/val\.json is not in the layout of COCO \(TypeError: .*\); co"),
    (listed(BOX, images=[{"id": 7, "file_name": "wide.png"}, {"id": 3}]), ValueError,
     r"mine: image 1 of .*/val\.json has no 'file_name'; add it$"),
    (listed(BOX, images=[{"id": [7], "file_name": "wide.png"}]), ValueError, r"image 0 of .* of COCO \(TypeError"),
    (listed(BOX, images=[{"id": 7, "file_name": 5}]), ValueError, r"image 0 of .* of COCO \(TypeError"),
    (listed(BOX, categories=[5]), ValueError, r"list of categories of .*/val\.json is not in the layout of COCO"),
    *((listed(*none), ValueError, r"mine: the 2 test images of .*/val\.json have no people to detect; give images "
       r"with people that are not marked as ignored$") for none in ((), (one(7, [1, 2, 3, 4], iscrowd=1),))),
    (listed(images=[]), ValueError, r"mine: the 0 test images of .* have no people to detect"),
])
def test_a_damaged_folder_is_an_error_of_one_sentence(tmp_path, damage, error, sentence):
    write(tmp_path, coco(BOX))
    damage(tmp_path / "mine")
    with pytest.raises(error, match=sentence) as raised:
        load("mine", tmp_path, size=16)
    assert "\n" not in str(raised.value) and type(raised.value) is error


def test_boxes_that_all_lie_outside_are_an_error(tmp_path):
    write(tmp_path, coco(one(7, [50, 0, 5, 5])))
    with pytest.warns(UserWarning, match="1 boxes of"), pytest.raises(ValueError, match="have no people to detect"):
        load("mine", tmp_path, size=16)


@pytest.mark.parametrize("size", [(32, 64), None])
def test_streets_with_boxes_have_the_same_images_and_the_people_of_their_scenes(size, monkeypatch):
    monkeypatch.setattr(bundled, "STREET_SEEDS", {"train": range(12), "test": range(10_000, 10_005)})
    monkeypatch.setattr(people, "TRAIN_SCENES", range(12))
    calls, draw = [], streets.draw
    monkeypatch.setattr(streets, "draw", lambda *args: calls.append(args) or draw(*args))
    splits = load("streets", "nowhere", size=size)
    rows, cols = size or (64, 128)
    assert calls == [(seed, rows, cols) for seed in (*range(12), *range(10_000, 10_005))]    # each is drawn once
    scenes = registry.load("streets", "", size=size, validation=0.0)
    for part, other, seed in ((splits.train, scenes.train, 0), (splits.test, scenes.test, 10_000)):
        assert torch.equal(part.images, other.images) and part.name == "streets"
        expected = [[[*p.box, p.visible, float(p.kind == "rider")] for p in draw(seed + n, rows, cols).people]
                    for n in range(len(part))]
        assert same(boxes(part), expected)
    ignored = splits.train.labels[..., 5]
    assert (ignored == 1).any() and (ignored == 0).any()
    assert (len(splits.validation), splits.train.labels.shape[1]) == (0, splits.test.labels.shape[1])


def test_streets_have_riders_who_are_ignored_and_people_who_are_hidden():
    train, _, test = load("streets", "", size=(16, 32), seeds={"train": range(100), "test": range(10_000, 10_060)})
    assert (len(train), len(test)) == (100, 60)
    for part in (train, test):
        rows = part.labels[~part.labels[..., 0].isnan()]
        left, top, width, height, visible, ignore = rows.T
        assert (rows[:, :4] == rows[:, :4].round()).all() and ((visible > 0) & (visible <= 1)).all()
        assert ((left >= 0) & (left + width <= 32) & (top >= 0) & (top + height <= 16)).all()
        assert (width > 0).all() and (height > 0).all()
        assert 0.1 < ignore.mean() < 0.4 and 0.2 < (visible < 0.65).float().mean() < 0.6


def test_streets_with_boxes_have_1200_training_scenes(monkeypatch):
    scene = streets.draw(0, 16, 32)
    monkeypatch.setattr(streets, "draw", lambda *_: scene)
    assert tuple(map(len, load("streets", "", size=(16, 32)))) == (1200, 0, 120)


@pytest.fixture
def camvid(tmp_path):
    """One image 40x80 per split: two pedestrians (9) that touch at a corner, one alone, one of one row, a rider."""
    labels = np.full((40, 80), 3, np.uint8)
    labels[10:20, 5:9] = 9
    labels[20:24, 9:12] = 9                                                   # at the corner
    labels[30:40, 70:80] = 9                                                  # at the edge of the image
    labels[2:3, 30:36] = 9                                                    # 1/40 of the rows, so not ignored
    labels[12:22, 40:44] = 10
    labels[12:22, 44:46] = 9                                                  # touches the rider only
    for split in ("train", "test"):
        save(tmp_path / "camvid" / split / "a.png", grey(40, 80))
        save(tmp_path / "camvid" / f"{split}annot" / "a.png", labels)
    return tmp_path


CAMVID = [[30, 2, 6, 1], [5, 10, 7, 14], [44, 12, 2, 10], [70, 30, 10, 10], [40, 12, 4, 10]]   # the rider comes last


@pytest.mark.parametrize("times", [1, 3])
def test_camvids_people_are_connected_components_of_its_label_maps(camvid, times):
    splits = load("camvid", camvid, size=(40 * times, 80 * times))
    for part in (splits.train, splits.test):
        expected = [[times * v for v in box] + [1, float(box is CAMVID[-1])] for box in CAMVID]
        assert sorted(boxes(part)[0]) == sorted(expected)
        assert (part.name, part.images.shape) == ("camvid", (1, 3, 40 * times, 80 * times))


def test_people_lower_than_a_40th_of_a_camvid_image_are_ignored_and_180x240_is_the_default(camvid):
    for split in ("train", "test"):
        labels = np.zeros((180, 240), np.uint8)
        labels[10:14, 20:30] = labels[10:15, 40:41] = labels[10:110, 60:90] = 9
        save(camvid / "camvid" / split / "a.png", grey(180, 240))
        save(camvid / "camvid" / f"{split}annot" / "a.png", labels)
    splits = load("camvid", camvid)
    assert sorted(boxes(splits.train)[0]) == [[20, 10, 10, 4, 1, 1], [40, 10, 1, 5, 1, 0], [60, 10, 30, 100, 1, 0]]
    save(camvid / "camvid/testannot/a.png", np.full((180, 240), 10, np.uint8))
    with pytest.raises(ValueError, match=r"camvid: the 1 test images of .*/camvid have no people to detect; give"):
        load("camvid", camvid)
    with pytest.raises(FileNotFoundError, match=r"camvid: .*/camvid is not a folder; put train"):
        load("camvid", camvid / "elsewhere")


def test_the_unit_is_a_pixel_of_1024_rows_and_three_of_them_on_streets():
    assert [people.unit(*case) for case in (("citypersons", 1024), ("mine", 256), ("streets", 64))] == [1, 0.25, 0.1875]


def test_real_coco_person(data_root):
    train, _, test = load("coco_person", data_root)
    assert [(len(p), sum(map(len, boxes(p)))) for p in (train, test)] == [(61, 254), (73, 350)]
    for part in (train, test):
        rows = part.labels[~part.labels[..., 0].isnan()]
        assert (rows[:, :2] >= 0).all() and ((rows[:, :2] + rows[:, 2:4]) <= 256 + 1e-4).all()
        assert (rows[:, 4:] == torch.tensor([1.0, 0.0])).all() and rows[:, 3].median() > 25


def test_real_camvid(data_root):
    train, _, test = load("camvid", data_root)
    for part, n, ignored in ((train, 367, 547), (test, 233, 326)):
        people = [row for rows in boxes(part) for row in rows]
        assert (len(part), sum(row[5] == 1 for row in people)) == (n, ignored)
    assert [int((part.labels[..., 5] == 0).sum()) for part in (train, test)] == [1205, 765]
