"""COCO files as common tools write them: read as pycocotools has them, or refused in one sentence."""
import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from pycocotools.coco import COCO

from posenc_lib.data import registry
from posenc_lib.data.coco import read_boxes

load = partial(registry.load, "mine", boxes=True, size=80, validation=0.0)
BOX = [10, 5, 20, 40]
IMAGE = {"id": 1, "file_name": "1.jpg"}
MISSING = object()


def annotation(**changes) -> dict:
    entries = {"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX, "area": 800, "iscrowd": 0, **changes}
    return {key: value for key, value in entries.items() if value is not MISSING}


def write(root: Path, *annotations: dict, images=(IMAGE,), categories=({"id": 1, "name": "person"},), **more) -> Path:
    """A folder "mine" with images of 80x60 pixels; categories=None leaves the list out."""
    content = {"images": list(images), "annotations": list(annotations), **more}
    if categories is not None:
        content["categories"] = list(categories)
    for split in ("train", "val"):
        (root / "mine" / split).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 80)).save(root / "mine" / split / "1.jpg")
        (root / "mine" / f"{split}.json").write_text(json.dumps(content))
    return root


def rows(part) -> list[list[float]]:
    """Boxes in the image, which is centred: 80x60 pixels in 80x80."""
    found = part.labels[0][~part.labels[0, :, 0].isnan()].numpy()
    return (found - [10, 0, 0, 0, 0, 0]).tolist()


def refused(root: Path, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^mine: {sentence}$") as raised:
        load(root)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("entries, row", [
    ({}, [10, 5, 20, 40, 1, 0]),
    ({"iscrowd": MISSING, "area": MISSING, "id": MISSING}, [10, 5, 20, 40, 1, 0]),
    ({"iscrowd": None, "ignore": None}, [10, 5, 20, 40, 1, 0]),
    ({"iscrowd": False}, [10, 5, 20, 40, 1, 0]), ({"iscrowd": True}, [10, 5, 20, 40, 1, 1]),
    ({"iscrowd": 0.0}, [10, 5, 20, 40, 1, 0]), ({"iscrowd": 1}, [10, 5, 20, 40, 1, 1]),
    ({"ignore": 1}, [10, 5, 20, 40, 1, 1]),
    ({"iscrowd": 1, "segmentation": {"counts": [0, 4800], "size": [80, 60]}}, [10, 5, 20, 40, 1, 1]),
    ({"segmentation": [[10, 5, 30, 5, 30, 45]], "attributes": {"occluded": False}}, [10, 5, 20, 40, 1, 0]),
    ({"bbox": [10.0, 5.0, 20.0, 40.0]}, [10, 5, 20, 40, 1, 0]),
    ({"bbox": ["10", "5", "20", "40"]}, [10, 5, 20, 40, 1, 0]),
    ({"bbox": [-5, -5, 20, 40]}, [0, 0, 15, 35, 1, 0]),       # clipped to the image
    ({"bbox": [50, 70, 20, 40]}, [50, 70, 10, 10, 1, 0]),
])
def test_one_annotation(tmp_path, entries, row):
    person = annotation(bbox=[0, 0, 1, 1])
    assert rows(load(write(tmp_path, person, annotation(**entries))).train)[1:] == [row]


@pytest.mark.parametrize("box", [[10, 5, 0, 40], [10, 5, 20, 0], [10, 5, -20, 40], [60, 5, 20, 40], [-30, 5, 20, 40]])
def test_a_box_of_no_area_in_the_image_is_left_out_with_a_warning(tmp_path, box):
    with pytest.warns(UserWarning, match=r"^mine: 1 boxes of .*\.json have no area within their image and are left o"):
        train = load(write(tmp_path, annotation(), annotation(id=2, bbox=box))).train
    assert rows(train) == [[10, 5, 20, 40, 1, 0]]


@pytest.mark.parametrize("entries, sentence", [
    ({"iscrowd": "0"}, r"annotation 0 of .*train\.json has iscrowd '0'; give 0 or 1"),
    ({"iscrowd": "false"}, r"annotation 0 of .*train\.json has iscrowd 'false'; give 0 or 1"),
    ({"iscrowd": 2}, r"annotation 0 of .*train\.json has iscrowd 2; give 0 or 1"),
    ({"ignore": []}, r"annotation 0 of .*train\.json has ignore \[\]; give 0 or 1"),
    ({"bbox": MISSING, "segmentation": [[10, 5, 30, 5, 30, 45]]},
     r"annotation 0 of .*train\.json has no 'bbox'; add it; pycocotools\.mask\.toBbox gives that of a segmentation"),
    *(({"bbox": box}, r"annotation 0 of .*train\.json has the box .* with the visible fraction 1; give four finite "
       r"numbers \(left, top, width, height\) and a fraction in 0\.\.1")
      for box in ([], None, "1234", {"1": 0, "2": 0, "3": 0, "4": 0}, [[10, 5], [20, 40]], [10, 5, 20, "wide"])),
    ({"image_id": MISSING}, r"annotation 0 of .*train\.json has no 'image_id'; add it"),
    ({"image_id": "1"}, r"annotation 0 of .*train\.json belongs to the image '1', which is not listed there; .*"),
    ({"category_id": MISSING}, r"annotation 0 of .*train\.json has the category None, which is not listed there; .*"),
    ({"category_id": "1"}, r"annotation 0 of .*train\.json has the category '1', which is not listed there; list the "
     r"category or remove the annotation"),
])
def test_an_annotation_that_does_not_say_which_box_of_whom_is_refused(tmp_path, entries, sentence):
    refused(write(tmp_path, annotation(**entries)), sentence)


@pytest.mark.parametrize("size, sentence", [
    ({"width": 60, "height": 80}, ""), ({"width": None, "height": None}, ""), ({}, ""),
    ({"width": 60.0, "height": 80}, ""),
    ({"width": "60", "height": "80"}, r"image 0 of .*train\.json has the height '80' and the width '60'; give both as "
     r"numbers of pixels, or neither"),
    ({"height": 80}, r"image 0 of .*train\.json has the height 80 and the width None; give both as numbers .*"),
    ({"width": 80, "height": 60}, r".*/train/1\.jpg is displayed with 80x60 pixels, but .*/train\.json says 60x80; .*"),
    ({"width": 0, "height": 0}, r".*/train/1\.jpg is displayed with 80x60 pixels, but .*/train\.json says 0x0; put .*"),
])
def test_the_size_of_an_image(tmp_path, size, sentence):
    root = write(tmp_path, annotation(), images=[{**IMAGE, **size}])
    if sentence:
        refused(root, sentence)
    else:
        assert rows(load(root).train) == [[10, 5, 20, 40, 1, 0]]


@pytest.mark.parametrize("names", ["people", "pedestrians", "Human", "dog", ""])
def test_a_file_without_a_category_of_people_is_refused_by_the_names_that_it_has(tmp_path, names):
    refused(write(tmp_path, annotation(), categories=[{"id": 1, "name": names}]),
            rf"the list of categories of .*train\.json has {names.lower()}, but none of person, pedestrian; name the "
            r"category of the people to detect person")


def test_categories_of_other_numbers_and_names(tmp_path):
    categories = [{"id": 0, "name": "crossing", "supercategory": "none"},
                  {"id": 90, "name": " Person\n", "supercategory": "crossing"}, {"id": "7", "name": 7}]
    ours = [annotation(category_id=90), annotation(category_id=0), annotation(category_id="7", bbox=None)]
    assert rows(load(write(tmp_path, *ours, categories=categories)).train) == [[10, 5, 20, 40, 1, 0]]


def test_categories_that_say_two_things_or_nothing_are_refused(tmp_path):
    twice = [{"id": 1, "name": "dog"}, {"id": 1, "name": "person"}]
    refused(write(tmp_path, annotation(), categories=twice),
            r"the list of categories of .*train\.json has two with the id 1; give each its own")
    several = [annotation(), annotation(category_id=18)]
    refused(write(tmp_path, *several, categories=None),
            r".*train\.json has annotations of 2 categories, but no list of categories that says which of them is a "
            r"person; add it")
    refused(write(tmp_path, annotation(), categories=[{"id": 1}]),
            r"the list of categories of .*train\.json has no 'name'; add it")
    for only in (1, 90, MISSING):
        train = load(write(tmp_path, annotation(category_id=only), categories=None)).train
        assert rows(train) == [[10, 5, 20, 40, 1, 0]]


@pytest.mark.parametrize("name", ["train/1.jpg", "images\\1.jpg", "http://images.cocodataset.org/1.jpg", "1.JPG", "",
                                  "no\0file.jpg", "\ud800.jpg", "long" * 999])
def test_an_image_that_is_not_where_the_file_says_is_missing(tmp_path, name):
    root = write(tmp_path, annotation(), images=[{"id": 1, "file_name": name}])
    with pytest.raises(FileNotFoundError, match=r"^mine: 1 of the 1 images of .*train\.json are missing, the first is "
                                                r".*/mine/train.*; put every image there$"):
        load(root)


def test_names_with_folders_and_whole_paths_are_found_as_by_torchvision(tmp_path):
    root = write(tmp_path, annotation())
    for split in ("train", "val"):
        (root / "mine" / split / "deep").mkdir()
        (root / "mine" / split / "1.jpg").rename(root / "mine" / split / "deep" / "1.jpg")
    for name in ("deep/1.jpg", str(root / "mine" / "train" / "deep" / "1.jpg")):
        content = {"images": [{"id": 1, "file_name": name}], "annotations": [annotation()]}
        for split in ("train", "val"):
            (root / "mine" / f"{split}.json").write_text(json.dumps(content))
        assert rows(load(root).train) == [[10, 5, 20, 40, 1, 0]]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    root = write(tmp_path, annotation())
    file = root / "mine" / "train.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert rows(load(root).train) == [[10, 5, 20, 40, 1, 0]]


def test_boxes_lie_on_the_upright_image(tmp_path):
    """A portrait as a telephone stores it, on its side; boxes and sizes are those of what a viewer shows."""
    upright = np.zeros((80, 60, 3), np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for size in ({}, {"width": 60, "height": 80}):
        root = write(tmp_path, annotation(bbox=[10, 0, 20, 18]), images=[{**IMAGE, **size}])
        for split in ("train", "val"):
            stored = Image.fromarray(upright).rotate(90, expand=True)
            stored.save(root / "mine" / split / "1.jpg", exif=exif, quality=95)
        train = load(root).train
        [left, top, width, height] = train.labels[0, 0, :4].int().tolist()
        assert train.images[0, 0, top:top + height, left:left + width].min() > 200
        assert train.images[0, 0, 22:, 12:68].max() < 50
    root = write(tmp_path, annotation(), images=[{**IMAGE, "width": 80, "height": 60}])
    stored.save(root / "mine" / "train" / "1.jpg", exif=exif)
    refused(root, r".*/train/1\.jpg is displayed with 80x60 pixels, but .*/train\.json says 60x80; put the image there "
            r"that was annotated")


def test_boxes_are_those_of_pycocotools(tmp_path, capsys):
    """Images without boxes, other categories, crowds, unordered and sparse numbers."""
    draws = np.random.default_rng(0)
    images = [{"id": int(n), "file_name": f"{n}.jpg"} for n in draws.permutation(40)[:12] * 7]
    categories = [{"id": 3, "name": "dog"}, {"id": 44, "name": "person"}]
    annotations = [annotation(id=n + 1, image_id=images[draws.integers(9)]["id"], bbox=draws.uniform(0, 40, 4).tolist(),
                              category_id=int(draws.choice([3, 44])), iscrowd=int(draws.random() < 0.2))
                   for n in range(60)]
    write(tmp_path, *annotations, images=images, categories=categories)
    file = tmp_path / "mine" / "train.json"
    theirs, ours = COCO(file), read_boxes("mine", file)
    assert [str(image.file) for image in ours] == [image["file_name"] for image in images]
    for image, entry in zip(ours, images, strict=True):
        found = theirs.loadAnns(theirs.getAnnIds(imgIds=entry["id"], catIds=[44]))
        assert image.people == [[*one["bbox"], 1, one["iscrowd"]] for one in found]
    assert min(len(image.people) for image in ours) == 0


def test_two_annotations_with_one_id_are_two_people(tmp_path):
    """As of tools that count anew for each image, or leave all at 0; pycocotools returns the last of them twice."""
    both = [annotation(id=0), annotation(id=0, bbox=[1, 2, 3, 4])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows(load(write(tmp_path, *both)).train) == [[10, 5, 20, 40, 1, 0], [1, 2, 3, 4, 1, 0]]
