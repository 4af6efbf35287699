"""Boxes of CityPersons: the same from the benchmark's own files and from JSON; errors are one clear sentence."""
import json
from math import nan

import numpy as np
import pytest
from scipy.io import savemat
from test_people import GREY, boxes, grey, load, one, same, save

SHOTS = {"train": ("aachen_000000_000019_leftImg8bit.png", "bochum_000000_000313_leftImg8bit.png"),
         "val": ("lindau_000000_000019_leftImg8bit.png",)}
BBS = np.array([[1, 8, 4, 8, 16, 24000, 8, 4, 4, 16],                         # half of this pedestrian is visible
                [2, 20, 4, 6, 12, 25000, 20, 4, 6, 12], [3, 30, 4, 6, 12, 24001, 30, 4, 6, 12],
                [4, 40, 4, 6, 12, 24002, 40, 4, 6, 12], [5, 50, 4, 6, 12, 24003, 50, 4, 6, 12],
                [0, 2, 2, 4, 4, 0, 2, 2, 4, 4], [1, 60, 10, 6, 10, 24004, 60, 10, 4, 5]], np.uint16)   # clipped
HALVED = [[4, 2, 4, 8, 0.5, 0], [10, 2, 3, 6, 1, 1], [15, 2, 3, 6, 1, 1], [20, 2, 3, 6, 1, 1], [25, 2, 3, 6, 1, 1],
          [1, 1, 2, 2, 1, 1], [30, 5, 2, 5, 1 / 3, 0]]


def matlab(file, split: str, tables: list[np.ndarray], variable: str = "anno_{}_aligned", **more):
    """As the benchmark's own: a cell of structs."""
    cell = np.empty((1, len(tables)), object)
    for n, (image, table) in enumerate(zip(SHOTS[split], tables, strict=True)):
        cell[0, n] = {"cityname": image.partition("_")[0], "im_name": image, "bbs": table, **more}
    file.parent.mkdir(exist_ok=True)
    savemat(file, {variable.format(split): cell})


@pytest.fixture
def citypersons(tmp_path):
    for split, names in SHOTS.items():
        for n, name in enumerate(names):
            city = name.partition("_")[0]
            save(tmp_path / f"cityscapes/leftImg8bit/{split}/{city}/{name}", grey(32, 64) + np.uint8(n))
    matlab(tmp_path / "citypersons/anno_train.mat", "train", [np.zeros((0, 10), np.uint16), BBS])
    matlab(tmp_path / "citypersons/anno_val.mat", "val", [BBS[:1]])
    return tmp_path


def test_citypersons_from_the_benchmarks_files(citypersons):
    train, validation, test = load("citypersons", citypersons, size=(16, 32))
    assert same(boxes(train), [[], HALVED]) and same(boxes(test), [HALVED[:1]])
    assert [tuple(part.labels.shape) for part in (train, validation, test)] == [(2, 7, 6), (0, 7, 6), (1, 7, 6)]
    assert train.images[:, 0, 0, 0].tolist() == [GREY, GREY + 1]
    assert load("citypersons", citypersons).test.images.shape == (1, 3, 512, 1024)


@pytest.mark.parametrize("key, files", [("im_name", "{}_gt.json"), ("file_name", "{}.json")])
def test_citypersons_from_json_agrees_and_a_mat_file_is_preferred(citypersons, key, files):
    expected = load("citypersons", citypersons, size=(16, 32))
    kinds = ("ignore region", "pedestrian", "rider", "sitting person", "other person", "people group")
    for split, tables in (("train", [(), BBS.tolist()]), ("val", [BBS[:1].tolist()])):
        content = {"images": [{"id": n, key: name, "height": 32, "width": 64} for n, name in enumerate(SHOTS[split])],
                   "categories": [{"id": n, "name": kind} for n, kind in enumerate(kinds)],
                   "annotations": [one(n, b[1:5], category_id=b[0], height=b[4], vis_ratio=b[8] * b[9] / (b[3] * b[4]))
                                   for n, table in enumerate(tables) for b in table]}
        if key == "file_name":                                                # a path to the image
            for image in content["images"]:
                image[key] = f"leftImg8bit/{split}/somewhere/{image[key]}"
        (citypersons / "citypersons" / files.format(split)).write_text(json.dumps(content))
        (citypersons / f"citypersons/anno_{split}.mat").rename(citypersons / f"{split}.mat")
    assert load("citypersons", citypersons, size=(16, 32)).fingerprint == expected.fingerprint
    matlab(citypersons / "citypersons/anno_val.mat", "val", [BBS[6:]])
    assert same(boxes(load("citypersons", citypersons, size=(16, 32)).test), [HALVED[6:]])


def truncate(n: int):
    return lambda folder: (folder / "anno_val.mat").write_bytes((folder / "anno_val.mat").read_bytes()[:n])


def table(box: list[float], **more):
    return lambda folder: matlab(folder / "anno_val.mat", "val", [np.array(box)], **more)


@pytest.mark.parametrize("damage, error, sentence", [
    (lambda folder: (folder / "anno_val.mat").unlink(), FileNotFoundError,
     r"citypersons: .*/citypersons has none of anno_val\.mat, val\.json, val_gt\.json; put anno_train\.mat and "
     r"anno_val\.mat there, from the folder annotations of https://github\.com/cvgroup-njust/CityPersons$"),
    (lambda folder: folder.rename(folder.parent / "ours"), FileNotFoundError, r"has none of anno_train\.mat, train"),
    (lambda folder: (folder.parent / "cityscapes").rename(folder.parent / "ours"), FileNotFoundError,
     r"citypersons: 2 of the 2 images of .*/anno_train\.mat are missing, the first is .*/cityscapes/leftImg8bit/"
     r"train/aachen/aachen_000000_000019_leftImg8bit\.png; register at https://www\.cityscapes-dataset\.com, and unp"
     r"ack leftImg8bit_trainvaltest\.zip in .*/cityscapes$"),
    *((truncate(n), ValueError, r"citypersons: .*/anno_val\.mat cannot be read as the benchmark's anno_val_aligned "
       r"\(\w+: .*\); download it again$") for n in (0, 60, 130, 200, 400)),
    (lambda folder: (folder / "anno_val.mat").write_text("no matrix\n" * 50), ValueError, r"cannot be read as the b"),
    (table(BBS, variable="anno_train_aligned"), ValueError, r"anno_val_aligned \(KeyError: 'anno_val_aligned'\); down"),
    (table(BBS[:, :9]), ValueError, r"cannot be read as the benchmark's anno_val_aligned \(ValueError: "),
    (lambda folder: savemat(folder / "anno_val.mat", {"anno_val_aligned": np.ones(3)}), ValueError, r"cannot be read"),
    (table([1, 1, nan, 3, 4, 0, 1, 2, 3, 4]), ValueError, r"citypersons: box 0 of lindau_000000_000019_leftImg8bit\.pn"
     r"g in .*/anno_val\.mat has the box \(1\.0, nan, 3\.0, 4\.0\) with the visible fraction 1\.0; give four"),
    (table([1, 1, 2, np.inf, 4, 0, 1, 2, 3, 4]), ValueError, r"has the box \(1\.0, 2\.0, inf, 4\.0\)"),
    (table(BBS[1:6]), ValueError, r"citypersons: the 1 test images of .*/anno_val\.mat have no people to detect; give"),
])
def test_missing_or_damaged_citypersons_is_an_error_of_one_sentence(citypersons, damage, error, sentence):
    damage(citypersons / "citypersons")
    with pytest.raises(error, match=sentence) as raised:
        load("citypersons", citypersons, size=(16, 32))
    assert "\n" not in str(raised.value) and type(raised.value) is error


def test_a_matlab_box_without_area_is_left_out_and_no_visible_fraction_exceeds_1(citypersons):
    matlab(citypersons / "citypersons/anno_val.mat", "val", [np.array([[1, 2, 2, 0, 4, 0, 2, 2, 0, 4],
                                                                       [1, 2, 2, 4, 4, 0, 2, 2, 5, 4]])])
    with pytest.warns(UserWarning, match=r"citypersons: 1 boxes of .*anno_val\.mat have no area"):
        assert same(boxes(load("citypersons", citypersons, size=(32, 64)).test), [[[2, 2, 4, 4, 1, 0]]])
