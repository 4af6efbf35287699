"""Data sets of images: splits never overlap, every layout gives the same tensors, errors are one clear sentence."""
import hashlib
import io
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import ExifTags, Image

from posenc_lib.data import bundled, cifar, imageset, people, registry
from posenc_lib.run.config import Workspace
from posenc_lib.run.inputs import load_for

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)   # image n has label n % 3
LABELS = [0, 1, 2, 0, 1, 2]


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def encoded(pixels: np.ndarray, kind: str = "WebP") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, lossless=True)
    return file.getvalue()


def write_shard(path, images: list[bytes], labels: list[int], image_column="img", label_column="label"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({image_column: [{"bytes": b, "path": None} for b in images], label_column: labels}), path)


@pytest.fixture
def shards(tmp_path):
    """A data root with cifar10 as on the Hugging Face hub: train in two shards, one test shard; WebP and PNG."""
    images = [encoded(p, kind) for p, kind in zip(PIXELS, ("WebP", "PNG") * 3, strict=True)]
    write_shard(tmp_path / "cifar10" / "train-00000-of-00002.parquet", images[:2], LABELS[:2])
    write_shard(tmp_path / "cifar10" / "train-00001-of-00002.parquet", images[2:4], LABELS[2:4])
    write_shard(tmp_path / "cifar10" / "test-00000-of-00001.parquet", images[4:], LABELS[4:])
    return tmp_path


@pytest.mark.parametrize("name, sizes, side, classes", [("digits", (1167, 130, 500), 16, 10),
                                                        ("photos", (346, 38, 96), 64, 6)])
def test_bundled_classes(name, sizes, side, classes, tmp_path):
    splits = registry.load(name, tmp_path / "nowhere")
    assert tuple(map(len, splits)) == sizes
    for part, split in zip(splits, ("train", "validation", "test"), strict=True):
        assert part.images.shape[1:] == (3, side, side) and part.images.dtype == torch.uint8
        assert (part.split, len(part.classes), part.labels.dtype) == (split, classes, torch.int64)
    for other in (splits.test, splits.validation):
        assert not rows(splits.train.images) & rows(other.images)
    fraction = splits.test.labels.bincount() / len(splits.test)
    assert (fraction - 1 / classes).abs().max() < 0.005   # test labels are balanced
    assert splits.fingerprint == registry.load(name, tmp_path).fingerprint


ENTRIES = [(name, boxes) for boxes, sets in ((False, registry.SETS), (True, registry.BOX_SETS)) for name in sets]


@pytest.mark.parametrize("name, boxes", [*ENTRIES, ("NAME", False), ("NAME", True)])
def test_every_entry_of_the_registry(name, boxes, tmp_path, monkeypatch):
    """A bundled set is as its entry says; without files, another is an error, and has a stand-in like it."""
    monkeypatch.setattr(bundled, "STREET_SEEDS", bundled.STAND_IN_SEEDS)
    monkeypatch.setattr(people, "TRAIN_SCENES", range(8))
    entry = registry.find(name, boxes=boxes)
    size = entry.size if entry.bundled else (32, 32) if entry.square else (32, 64)
    if entry.bundled:
        splits = registry.load(name, tmp_path, boxes=boxes)
        assert splits.train.name == name
    else:
        with pytest.raises(FileNotFoundError, match=str(tmp_path)):
            registry.load(name, tmp_path, boxes=boxes)
        splits = registry.stand_in(name, boxes=boxes, size=size)
    n_people = splits.train.labels.shape[1] if boxes else 0
    shapes = {"classes": (), "label maps": size, "boxes": (n_people, 6)}
    for part in (splits.train, splits.test):
        assert len(part) > 0 and part.images.shape[1] == 3
        if name != "NAME" or boxes:
            assert part.images.shape[2:] == size and part.labels.shape[1:] == shapes[entry.labels]


def test_the_readme_shows_the_registry():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert registry.table() in readme, f"put this table into README.md:\n{registry.table()}"


def test_nothing_stands_in_for_a_bundled_set():
    with pytest.raises(ValueError, match=r"data: digits is bundled, so nothing stands in for it; load it$"):
        registry.stand_in("digits")


def test_a_size_of_two_equal_sides_is_the_square():
    pair, side = (registry.load("digits_on_photos", "", size=size) for size in ((32, 32), 32))
    assert pair.fingerprint == side.fingerprint


def test_validation_is_cut_from_train_and_leaves_test_alone():
    full, cut = registry.load("digits", "", validation=0.0), registry.load("digits", "", validation=0.25)
    assert (len(full.validation), len(full.train), len(cut.validation)) == (0, 1297, 324)
    assert rows(cut.train.images) | rows(cut.validation.images) == rows(full.train.images)
    assert torch.equal(full.test.images, cut.test.images)


def test_digits_normalise_to_mean_0_and_deviation_1():
    splits = registry.load("digits", "", validation=0.0)
    z = torch.cat([part.batch(torch.arange(len(part)))[0] for part in splits if len(part)])
    assert z.mean().abs() < 1e-5 and (z.std() - 1).abs() < 1e-3


def test_normalise_is_by_colour_and_black_is_its_value_at_0():
    part = replace(registry.load("digits", "").train, mean=(0.1, 0.2, 0.5), std=(0.5, 0.25, 1.0))
    z = part.normalise(torch.tensor([0, 255]).to(torch.uint8).reshape(2, 1, 1, 1).expand(2, 3, 1, 1)).flatten(1)
    assert torch.allclose(z, torch.tensor([[-0.2, -0.8, -0.5], [1.8, 3.2, 0.5]]))
    assert torch.equal(part.black, z[0])


def test_a_photographs_test_crops_lie_to_the_right_of_its_train_crops(monkeypatch):
    col = torch.arange(400).expand(1, 1, 300, 400)
    photo = torch.cat([col // 256, col % 256, col * 0], dim=1).to(torch.uint8)   # a pixel's value is its column
    monkeypatch.setattr(bundled, "photographs", lambda: {name: photo for name in "abcdef"})
    monkeypatch.setattr(bundled, "photos", bundled.photos.__wrapped__)   # not those kept from an earlier call
    train, _, test = registry.load("photos", "", validation=0.0)
    columns = [part.images[:, 0].int() * 256 + part.images[:, 1] for part in (train, test)]
    assert columns[0].max() < 300 <= columns[1].min()


def test_the_fingerprint_changes_with_one_pixel_and_with_one_label():
    part = registry.load("digits", "").test
    pixel, label = part.images.clone(), part.labels.clone()
    pixel[250, 1, 8, 8] ^= 1
    label[250] ^= 1
    parts = part, replace(part, images=pixel), replace(part, labels=label)
    assert len({p.fingerprint for p in parts}) == 3


@pytest.mark.parametrize("call, sentence", [
    ({"name": "digits", "size": 20}, "digits: size=20, but the images are 8x8; give a multiple of 8"),
    ({"name": "digits", "validation": 1.0}, r"data: validation=1.0 is not a fraction of .* \[0, 1\)$"),
    ({"name": "photos", "size": 400}, r"photos: size=400, but the largest crop that fits has \d+"),
    *(({"name": name, "size": (16, 32)}, rf"{name}: size=\(16, 32\) is not square; give one number of pixels$")
      for name in ("digits", "photos", "digits_on_photos", "cifar10")),
    *(({"name": "digits", "size": size}, r"digits: size=.* is not a size in pixels; give one .*, or \(rows, cols\)$")
      for size in (0, -8, (8, 0), (16, -16))),
])
def test_requests_that_a_data_set_cannot_satisfy(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        registry.load(root="", **call)


def test_parquet_shards_are_read_in_order(shards):
    train, validation, test = registry.load("cifar10", shards, validation=0.0)
    assert torch.equal(torch.cat([train.images, test.images]).permute(0, 2, 3, 1), torch.from_numpy(PIXELS))
    assert (train.labels.tolist(), test.labels.tolist(), len(validation)) == (LABELS[:4], LABELS[4:], 0)
    assert registry.load("cifar10", shards, size=16).test.images.shape == (2, 3, 16, 16)


def test_cifar100_takes_the_fine_labels(tmp_path):
    for split in ("train", "test"):
        table = {"img": [{"bytes": encoded(PIXELS[0]), "path": None}], "coarse_label": [1], "fine_label": [42]}
        (tmp_path / "cifar100").mkdir(exist_ok=True)
        pq.write_table(pa.table(table), tmp_path / "cifar100" / f"{split}.parquet")
    assert registry.load("cifar100", tmp_path).test.labels.tolist() == [42]


SECOND = "train-00001-of-00002.parquet"


def spoiled(image: bytes):
    """The second shard's second image, the fourth of the split, becomes these bytes."""
    return lambda folder: write_shard(folder / SECOND, [encoded(PIXELS[2]), image], [0, 0])


@pytest.mark.parametrize("damage, error, sentence", [
    (lambda folder: os.truncate(folder / SECOND, 1000), ValueError, f"{SECOND} is truncated or .*; download it again"),
    (lambda folder: (folder / SECOND).unlink(), FileNotFoundError, "cifar10: .* has 1 of 2 train shards; download"),
    (lambda folder: (folder / "test-00000-of-00001.parquet").unlink(), FileNotFoundError, "has 0 of the test shards"),
    (lambda folder: write_shard(folder / SECOND, [b""], ["cat"]), ValueError, "img as struct.* and label as string"),
    (lambda folder: write_shard(folder / SECOND, [b""], [0], "picture", "target"), ValueError,
     f"{SECOND} has the columns picture, target; it needs img or image, and label"),
    (spoiled(b"no image"), ValueError, f"data: row 1 of .*{SECOND} cannot be read as an image .*; replace it"),
    (spoiled(encoded(PIXELS[3], "PNG")[:900]), ValueError, f"data: row 1 of .*{SECOND} cannot be read as an image"),
], ids=["truncated", "no second shard", "no test shard", "label by name", "other columns", "no image", "half an image"])
def test_damaged_parquet_is_an_error_of_one_sentence(shards, damage, error, sentence):
    damage(shards / "cifar10")
    with pytest.raises(error, match=sentence) as raised:
        registry.load("cifar10", shards)
    assert "\n" not in str(raised.value)


def shard(path, n: int = 4, image=None, label=None, columns=("img", "label"), **more):
    """A table of n images, in which the last image or label may be another; more columns are skipped."""
    images = [{"bytes": encoded(pixels), "path": f"{i}.png"} for i, pixels in enumerate(PIXELS[:n])]
    labels = LABELS[:n]
    if image is not None:
        images[-1] = image
    if label is not None:
        labels[-1] = None if label == "null" else label
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({columns[0]: pa.array(images, kind), columns[1]: pa.array(labels, pa.int64()),
                             **{key: [value] * n for key, value in more.items()}}), path)


@pytest.mark.parametrize("train, test", [
    (["train-00000-of-00001.parquet"], "test-00000-of-00001.parquet"),
    (["plain_text/train-00000-of-00001.parquet"], "plain_text/test-00000-of-00001.parquet"),
    (["data/train-00000-of-00001-1f2e3d4c5b6a7980.parquet"], "data/test-00000-of-00001-0a1b2c3d4e5f6789.parquet"),
    (["plain_text/train/0000.parquet"], "plain_text/test/0000.parquet"),   # the hub's own conversion
    (["cifar10/partial-train/0000.parquet"], "cifar10/partial-test/0000.parquet"),
    (["train.parquet"], "test.parquet"),                                   # Dataset.to_parquet
    (["cifar10_train.parquet"], "cifar10_test.parquet"),
    (["train_data/part.parquet"], "test_data/part.parquet"),
    (["split=train/a.parquet"], "split=test/a.parquet"),
])
def test_parquet_as_the_hub_and_the_datasets_library_name_it(tmp_path, train, test):
    for name in (*train, test):
        shard(tmp_path / "cifar10" / name)
    for name in (".cache/huggingface/download/train-00000-of-00001.parquet", "._train.parquet", "README.md",
                 "validation-00000-of-00001.parquet", "training_notes/a.parquet"):
        (tmp_path / "cifar10" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cifar10" / name).write_bytes(b"none of ours")
    splits = registry.load("cifar10", tmp_path, validation=0.0)
    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == (LABELS[:4], LABELS[:4])
    assert torch.equal(splits.train.images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS[:4]))


def test_parquet_columns_by_other_names_and_of_other_types(tmp_path):
    """`image`; the index of pandas; large offsets, as polars writes them; the links of the hub's cache."""
    shard(tmp_path / "blobs" / "1f2e", columns=("image", "label"), __index_level_0__=3, coarse_label=1)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "train.parquet").symlink_to("../blobs/1f2e")
    large = pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())])
    images = pa.array([{"bytes": encoded(pixels), "path": None} for pixels in PIXELS], large)
    pq.write_table(pa.table({"image": images, "label": pa.array(LABELS, pa.uint8())}),
                   tmp_path / "cifar10" / "test.parquet", row_group_size=2)
    train, _, test = registry.load("cifar10", tmp_path, validation=0.0)
    assert (train.labels.tolist(), test.labels.tolist()) == (LABELS[:4], LABELS)
    assert torch.equal(test.images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS))


def test_images_in_parquet_are_upright(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.fromarray(PIXELS[3]).rotate(90).save(file, "PNG", exif=exif)
    for split in ("train", "test"):
        shard(tmp_path / "cifar10" / f"{split}.parquet", image={"bytes": file.getvalue(), "path": None})
    images = registry.load("cifar10", tmp_path, validation=0.0).train.images
    assert torch.equal(images.permute(0, 2, 3, 1), torch.from_numpy(PIXELS[:4]))


@pytest.mark.parametrize("change, error, sentence", [
    ({"image": {"bytes": None, "path": "3.png"}}, ValueError,
     r"row 3 of .*/test\.parquet has no bytes of an image; save the images in the table, not only their paths$"),
    ({"image": {"bytes": None, "path": None}}, ValueError, r"row 3 of .*/test\.parquet has no bytes of an image"),
    ({"image": {"bytes": encoded(PIXELS[0][:, :31]), "path": None}}, ValueError,
     r"row 3 of .*/test\.parquet has 32x31 pixels, but images of cifar10 have 32x32; put those there$"),
    ({"label": "null"}, ValueError, r"row 3 of .*/test\.parquet has the label None, but those of cifar10 are 0 to 9; "
     r"put images with labels there$"),
    ({"label": -1}, ValueError, r"row 3 of .*/test\.parquet has the label -1, but those of cifar10 are 0 to 9"),
    ({"label": 10}, ValueError, r"row 3 of .*/test\.parquet has the label 10, but those of cifar10 are 0 to 9"),
    ({"n": 0}, ValueError, r".*/test\.parquet has no rows; download it again$"),
    ({"columns": ("img", "fine_label")}, ValueError, r".*/test\.parquet has the columns img, fine_label; it needs img"),
])
def test_a_table_without_images_or_labels_is_an_error_of_one_sentence(tmp_path, change, error, sentence):
    shard(tmp_path / "cifar10" / "train.parquet")
    shard(tmp_path / "cifar10" / "test.parquet", **change)
    with pytest.raises(error, match=f"^cifar10: {sentence}") as raised:
        registry.load("cifar10", tmp_path)
    assert "\n" not in str(raised.value)


def test_a_whole_image_that_is_null_has_no_bytes(tmp_path):
    for split in ("train", "test"):
        shard(tmp_path / "cifar10" / f"{split}.parquet")
    table = pq.read_table(tmp_path / "cifar10" / "train.parquet")
    images = pa.array([*table["img"].to_pylist()[:3], None], table["img"].type)
    pq.write_table(pa.table({"img": images, "label": table["label"]}), tmp_path / "cifar10" / "train.parquet")
    with pytest.raises(ValueError, match=r"cifar10: row 3 of .*train\.parquet has no bytes of an image"):
        registry.load("cifar10", tmp_path)


@pytest.mark.parametrize("names, error, sentence", [
    (["plain_text/train.parquet", "noisy/train.parquet", "noisy/test.parquet"], ValueError,
     r".*/cifar10 has several configurations, noisy, plain_text; keep the files of one of them there$"),
    (["train.parquet", "plain_text/train.parquet", "test.parquet"], ValueError,
     r".*/cifar10 has several configurations, \., plain_text; keep"),
    (["train-00000-of-00001.parquet", "train-00000-of-00001-1f2e.parquet", "test.parquet"], ValueError,
     r".*/cifar10 has 2 train shards, but by their names there are 1; keep those of one version$"),
    (["train-00000-of-00001.parquet", "train-00000-of-00002.parquet", "test.parquet"], ValueError,
     r".*/cifar10 has 2 train shards, but by their names there are 1 or 2; keep those of one version$"),
    (["train/0000.parquet", "train/0002.parquet", "test/0000.parquet"], FileNotFoundError,
     r".*/cifar10 has 2 of 3 train shards; download the missing ones$"),
    (["train.parquet", "validation.parquet"], FileNotFoundError, r".*/cifar10 has 0 of the test shards; download"),
    (["a.parquet", "b.parquet"], FileNotFoundError, r".*/cifar10 has 0 of the train shards; download"),
])
def test_shards_that_are_not_one_data_set_are_an_error_of_one_sentence(tmp_path, names, error, sentence):
    for name in names:
        shard(tmp_path / "cifar10" / name)
    with pytest.raises(error, match=f"^cifar10: {sentence}"):
        registry.load("cifar10", tmp_path)


def test_cifar100_is_not_taken_by_its_coarse_labels(tmp_path):
    for split in ("train", "test"):
        shard(tmp_path / "cifar100" / f"{split}.parquet", columns=("img", "coarse_label"))
    with pytest.raises(ValueError, match=r"cifar100: .*train\.parquet has the columns img, coarse_label; it needs img "
                                         r"or image, and fine_label or label$"):
        registry.load("cifar100", tmp_path)


def write_torchvision_layout(root, layout, monkeypatch):
    """What torchvision's download leaves, with these few images, and MD5 sums that fit."""
    folder = root / layout.base_folder
    folder.mkdir(parents=True)
    for split, part in (("train_list", slice(0, 4)), ("test_list", slice(4, 6))):
        content = {"data": PIXELS[part].transpose(0, 3, 1, 2).reshape(-1, 3072), "labels": LABELS[part]}
        (folder / split).write_bytes(pickle.dumps(content))
        monkeypatch.setattr(layout, split, [[split, hashlib.md5((folder / split).read_bytes()).hexdigest()]])
    (folder / "meta").write_bytes(pickle.dumps({"label_names": list("abc")}))
    monkeypatch.setattr(layout, "meta", {"filename": "meta", "key": "label_names",
                                         "md5": hashlib.md5((folder / "meta").read_bytes()).hexdigest()})
    return folder


def test_torchvisions_layout_gives_the_same_set_as_parquet(shards, tmp_path, monkeypatch):
    write_torchvision_layout(tmp_path / "other", cifar.VARIANTS["cifar10"].dataset, monkeypatch)
    for options in ({}, {"size": 16}):
        one, other = (registry.load("cifar10", root, **options) for root in (shards, tmp_path / "other"))
        assert one.fingerprint == other.fingerprint


def test_a_wrong_checksum_is_an_error_of_one_sentence(tmp_path, monkeypatch):
    folder = write_torchvision_layout(tmp_path, cifar.VARIANTS["cifar10"].dataset, monkeypatch)
    with open(folder / "train_list", "ab") as file:
        file.write(b"one byte more")
    with pytest.raises(ValueError, match=r"cifar10: files in .*-py are missing or do not have their published"):
        registry.load("cifar10", tmp_path)


@pytest.mark.parametrize("name, md5", [("cifar10", "c58f30108f718f92721af3b95e74349a"),
                                       ("cifar100", "eb9058c3a382ffc7106e4002c42a8d85")])
def test_the_error_for_missing_cifar_names_its_path_command_and_checksum(tmp_path, name, md5):
    with pytest.raises(FileNotFoundError) as error:
        registry.load(name, tmp_path)
    assert str(tmp_path / name) in str(error.value) and md5 in str(error.value)
    assert f"cifar.download('{name}', '{tmp_path}')" in str(error.value)


@pytest.mark.parametrize("where", ["", "class-of-{n}/"])
def test_a_folder_of_images_flat_or_by_class(tmp_path, where):
    for split, suffix in (("train", "png"), ("val", "JPG")):
        for n in (0, 1):
            file = tmp_path / "mine" / split / where.format(n=n) / f"{n}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((10, 20), 100 + n, np.uint8)).save(file)   # grey, and not square
    train, _, test = registry.load("mine", tmp_path, size=8, validation=0.0)
    assert train.images.shape == test.images.shape == (2, 3, 8, 8)
    assert train.images[:, 0, 0, 0].tolist() == [100, 101]
    assert train.labels.tolist() == test.labels.tolist() == ([0, 1] if where else [0, 0])
    assert train.classes == (("class-of-0", "class-of-1") if where else ("unlabelled",))


@pytest.mark.parametrize("size, row, col", [   # the crop at the centre of an image of 20 rows and 40 columns
    ((20, 10), 0, 15), ((6, 40), 7, 0), (20, 0, 10), ((20, 40), 0, 0),
])
def test_an_image_is_scaled_to_cover_a_rectangle_and_cropped_at_the_centre(tmp_path, size, row, col):
    picture = np.stack(np.broadcast_arrays(np.arange(20)[:, None], np.arange(40), 7), -1).astype(np.uint8)
    for split in ("train", "test"):
        (tmp_path / "mine" / split).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "mine" / split / "0.png")
    rows, cols = size if isinstance(size, tuple) else (size, size)
    images = registry.load("mine", tmp_path, size=size).test.images
    assert np.array_equal(images[0].permute(1, 2, 0), picture[row:row + rows, col:col + cols])
    twice = registry.load("mine", tmp_path, size=(2 * rows, 2 * cols)).test.images   # enlarged, the same crop
    assert twice.shape == (1, 3, 2 * rows, 2 * cols)
    assert (twice[..., ::2, ::2].int() - images.int()).abs().max() <= 1


@pytest.mark.parametrize("stray", ["train/2.png", "test/2.png"])
def test_an_image_outside_the_folders_of_classes_is_an_error(tmp_path, stray):
    for file in ("train/cat/0.png", "train/dog/1.png", "test/cat/0.png", stray):
        (tmp_path / "mine" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[0]).save(tmp_path / "mine" / file)
    with pytest.raises(ValueError, match=r"data: 1 images in .*/train and .*/test are not in the folder of a class"):
        registry.load("mine", tmp_path)


def test_folders_that_cannot_be_read(tmp_path):
    names = ", ".join(registry.SETS)
    with pytest.raises(FileNotFoundError, match=f"data: 'mine' is not one of {names}, and .* is not a folder; put "):
        registry.load("mine", tmp_path)
    (tmp_path / "mine" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"data: .*train has no images \(.jpg, .*\); put the training images"):
        registry.load("mine", tmp_path)
    (tmp_path / "mine" / "train" / "broken.png").write_bytes(b"")
    (tmp_path / "mine" / "val" / "cat").mkdir(parents=True)
    Image.fromarray(PIXELS[0]).save(tmp_path / "mine" / "val" / "cat" / "1.png")
    with pytest.raises(ValueError, match=r"has classes that .*train does not have: cat; remove"):
        registry.load("mine", tmp_path)
    (tmp_path / "mine" / "val" / "cat" / "1.png").rename(tmp_path / "mine" / "val" / "1.png")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        registry.load("mine", tmp_path)


def test_bundled_images_stand_in_only_if_a_page_shows_recorded_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    paper = Workspace("paper", data_root=str(tmp_path))
    for name, size, shape, instead in (("cifar10", None, (32, 32), "digits"), ("mine", 48, (48, 48), "photos"),
                                       ("cityscapes", (32, 64), (32, 64), "streets")):
        splits = load_for(paper, name, size=size, validation=0.0)
        assert isinstance(splits, imageset.StandIn) and not splits.validation
        assert splits.train.images.shape[-2:] == shape
        assert capsys.readouterr().out == (f"{name} is not in the data folder; in the demonstrations, {instead} stand "
                                           "in for it\n")
    assert not isinstance(load_for(paper, "digits", validation=0.0), imageset.StandIn)
    (tmp_path / "mine" / "train").mkdir(parents=True)
    (tmp_path / "mine" / "train" / "a.png").write_bytes(b"damaged")
    (tmp_path / "mine" / "test").mkdir()
    (tmp_path / "mine" / "test" / "a.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        load_for(paper, "mine", size=48)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(FileNotFoundError, match=r"cifar10: neither "):
        load_for(paper, "cifar10")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FileNotFoundError, match=r"cifar10: neither "):
        load_for(Workspace("smoke", data_root=str(tmp_path)), "cifar10")
    assert len(load_for(Workspace("smoke"), "digits", validation=0.0).train) == 1297


@pytest.mark.slow
def test_real_cifar10(data_root, monkeypatch):
    """All labels are counted; of Parquet shards, every tenth image is decoded."""
    read, labels = cifar._columns, []

    def every_tenth(*args):
        images, numbers = read(*args)
        labels.append(torch.tensor(numbers))
        return images[::10], numbers[::10]

    monkeypatch.setattr(cifar, "_columns", every_tenth)
    splits = registry.load("cifar10", data_root, validation=0.0)
    labels = torch.cat(labels or [splits.train.labels, splits.test.labels])   # torchvision's layout has no shards
    assert labels.bincount().tolist() == [6000] * 10 and len(splits.train) == 5 * len(splits.test)
    colours = (splits.train.images[:5000].double() / 255).flatten(2)          # (image, rgb, pixel)
    assert torch.allclose(colours.mean((0, 2)), torch.tensor(splits.train.mean).double(), atol=6e-3)
    # the authors' std is the mean of every image's own; over all pixels it is (0.2470, 0.2435, 0.2616)
    assert torch.allclose(colours.std(2).mean(0), torch.tensor(splits.train.std).double(), atol=6e-3)


@pytest.fixture(scope="module")
def digits_on_photos():
    return registry.load("digits_on_photos", "", size=32, validation=0.0)


def test_a_pasted_digit_is_the_photograph_inverted(digits_on_photos):
    assert digits_on_photos.train.classes == ("photograph", *"0123456789")
    for ours, photos in zip(digits_on_photos, registry.load("photos", "", size=32, validation=0.0), strict=True):
        assert ours.labels.shape == (len(photos), 32, 32) and ours.labels.dtype == torch.int64
        ink = (ours.labels > 0)[:, None]
        assert torch.equal(ours.images, torch.where(ink, 255 - photos.images, photos.images))
    assert digits_on_photos.train.labels.unique().tolist() == list(range(11))


def test_a_pasted_digit_is_half_as_large_as_its_image_and_anywhere_in_it(digits_on_photos):
    places = set()
    for labels in digits_on_photos.train.labels:
        assert labels.unique().numel() == 2
        row, col = (labels > 0).nonzero().unbind(1)
        assert row.max() - row.min() < 16 and col.max() - col.min() < 16
        places.add((int(row.min()), int(col.min())))
    assert len(places) > 100


def test_digits_on_photos_are_the_same_every_time(digits_on_photos):
    again = registry.load("digits_on_photos", "elsewhere", size=32, validation=0.0)
    assert again.fingerprint == digits_on_photos.fingerprint


def test_digits_on_photos_have_multiples_of_16_pixels_a_side():
    with pytest.raises(ValueError, match=r"digits_on_photos: size=40, but .*; give a multiple of 16"):
        registry.load("digits_on_photos", "", size=40)


def test_samples_convert_to_float32_and_keep_the_order_of_indices():
    inputs = torch.arange(24).reshape(6, 4).half()
    samples = imageset.Samples(inputs, torch.arange(6)).to("cpu")
    batch, labels = samples.batch(torch.tensor([4, 0, 5]))
    assert len(samples) == 6 and batch.dtype == torch.float32
    assert labels.tolist() == [4, 0, 5] and torch.equal(batch, inputs[[4, 0, 5]].float())
