"""Image sets: splits never overlap, any layout gives the same tensors, what is missing or damaged is told."""
import hashlib
import io
import os
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from posenc_lib.data import bundled, files, imageset, registry
from posenc_lib.run import inputs as data
from posenc_lib.run.config import Workspace

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
def test_the_embedded_sets(name, sizes, side, classes, tmp_path):
    splits = registry.load(name, tmp_path / "nowhere")
    assert tuple(map(len, splits)) == sizes
    for part, split in zip(splits, ("train", "validation", "test"), strict=True):
        assert part.images.shape[1:] == (3, side, side) and part.images.dtype == torch.uint8
        assert (part.split, len(part.classes), part.labels.dtype) == (split, classes, torch.int64)
    for other in (splits.test, splits.validation):
        assert not rows(splits.train.images) & rows(other.images)
    share = splits.test.labels.bincount() / len(splits.test)
    assert (share - 1 / classes).abs().max() < 0.005   # test labels are balanced
    assert splits.fingerprint == registry.load(name, tmp_path).fingerprint


def test_the_door_hands_out_what_image_sets_are():
    for name in ("IMAGENET", "VOID", "ImageSet", "Samples", "Splits", "Trainable"):
        assert getattr(files, name) is getattr(imageset, name) and name in files.__all__
    assert bundled.photographs is bundled.photographs


def test_a_pair_of_equal_sides_is_that_square():
    assert (
        registry.load("digits_on_photos", "", size=(32, 32)).fingerprint
        == registry.load("digits_on_photos", "", size=32).fingerprint
    )


def test_validation_is_cut_from_train_and_leaves_test_alone():
    whole, cut = registry.load("digits", "", validation=0.0), registry.load("digits", "", validation=0.25)
    assert (len(whole.validation), len(whole.train), len(cut.validation)) == (0, 1297, 324)
    assert rows(cut.train.images) | rows(cut.validation.images) == rows(whole.train.images)
    assert torch.equal(whole.test.images, cut.test.images)


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
    photo = torch.cat([col // 256, col % 256, col * 0], dim=1).to(torch.uint8)   # every pixel tells its column
    monkeypatch.setattr(bundled, "photographs", lambda: {name: photo for name in "abcdef"})
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
    ({"name": "digits", "size": 20}, "digits: size 20 was asked for; the images are 8x8, so give a multiple of 8"),
    ({"name": "digits", "validation": 1.0}, r"data: validation=1.0 of the training images; give a part in \[0, 1\)"),
    ({"name": "photos", "size": 400}, r"photos: crops of 400 pixels were asked for; the largest that fits is \d+"),
    *(({"name": name, "size": (16, 32)}, rf"{name}: size \(16, 32\) was asked for; its images are square, so give one")
      for name in ("digits", "photos", "digits_on_photos", "cifar10")),
    *(({"name": "digits", "size": size}, r"digits: size .* was asked for; give a number of pixels, or two as \(row")
      for size in (0, -8, (8, 0), (16, -16))),
])
def test_what_a_set_cannot_give(call, sentence):
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
    (lambda folder: os.truncate(folder / SECOND, 1000), ValueError, f"{SECOND} is cut off .*; download it again"),
    (lambda folder: (folder / SECOND).unlink(), FileNotFoundError, "cifar10: .* has 1 of 2 train shards; download"),
    (lambda folder: (folder / "test-00000-of-00001.parquet").unlink(), FileNotFoundError, "has 0 of the test shards"),
    (lambda folder: write_shard(folder / SECOND, [b""], ["cat"]), ValueError, "img as struct.* and label as string"),
    (lambda folder: write_shard(folder / SECOND, [b""], [0], "picture", "target"), ValueError,
     f"{SECOND} has columns picture, target; it needs img or image, and label"),
    (spoiled(b"no image"), ValueError, "data: image 3 of .*cifar10 cannot be read as an image .*; replace it"),
    (spoiled(encoded(PIXELS[3], "PNG")[:900]), ValueError, "data: image 3 of .*cifar10 cannot be read as an image"),
], ids=["cut off", "no second shard", "no test shard", "label by name", "other columns", "no image", "half an image"])
def test_damaged_parquet_is_told_in_one_sentence(shards, damage, error, sentence):
    damage(shards / "cifar10")
    with pytest.raises(error, match=sentence) as told:
        registry.load("cifar10", shards)
    assert "\n" not in str(told.value)


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
    write_torchvision_layout(tmp_path / "other", files.CIFAR["cifar10"][0], monkeypatch)
    for options in ({}, {"size": 16}):
        one, other = (registry.load("cifar10", root, **options) for root in (shards, tmp_path / "other"))
        assert one.fingerprint == other.fingerprint


def test_a_wrong_checksum_is_told_in_one_sentence(tmp_path, monkeypatch):
    folder = write_torchvision_layout(tmp_path, files.CIFAR["cifar10"][0], monkeypatch)
    with open(folder / "train_list", "ab") as file:
        file.write(b"one byte more")
    with pytest.raises(ValueError, match=r"cifar10: files under .*-py are missing or do not have their published"):
        registry.load("cifar10", tmp_path)


@pytest.mark.parametrize("name, md5", [("cifar10", "c58f30108f718f92721af3b95e74349a"),
                                       ("cifar100", "eb9058c3a382ffc7106e4002c42a8d85")])
def test_a_missing_set_names_path_command_and_checksum(tmp_path, name, md5):
    with pytest.raises(FileNotFoundError) as error:
        registry.load(name, tmp_path)
    assert str(tmp_path / name) in str(error.value) and md5 in str(error.value)
    assert f"data.download('{name}', '{tmp_path}')" in str(error.value)


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


@pytest.mark.parametrize("size, row, col", [   # of the middle of a picture of 20 rows and 40 columns, not enlarged
    ((20, 10), 0, 15), ((6, 40), 7, 0), (20, 0, 10), ((20, 40), 0, 0),
])
def test_a_rectangle_is_the_middle_of_the_picture_scaled_to_cover_it(tmp_path, size, row, col):
    picture = np.stack(np.broadcast_arrays(np.arange(20)[:, None], np.arange(40), 7), -1).astype(np.uint8)
    for split in ("train", "test"):
        (tmp_path / "mine" / split).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "mine" / split / "0.png")
    rows, cols = size if isinstance(size, tuple) else (size, size)
    images = registry.load("mine", tmp_path, size=size).test.images
    assert np.array_equal(images[0].permute(1, 2, 0), picture[row:row + rows, col:col + cols])
    twice = registry.load("mine", tmp_path, size=(2 * rows, 2 * cols)).test.images   # enlarged, the same part of it
    assert twice.shape == (1, 3, 2 * rows, 2 * cols)
    assert (twice[..., ::2, ::2].int() - images.int()).abs().max() <= 1


@pytest.mark.parametrize("stray", ["train/2.png", "test/2.png"])
def test_an_image_beside_the_folders_of_classes_is_not_given_a_class_in_silence(tmp_path, stray):
    for file in ("train/cat/0.png", "train/dog/1.png", "test/cat/0.png", stray):
        (tmp_path / "mine" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[0]).save(tmp_path / "mine" / file)
    with pytest.raises(ValueError, match=r"data: 1 images of .*mine lie beside the folders of classes"):
        registry.load("mine", tmp_path)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="data: no image set 'mine': it is none of digits, photos, digits_on_photos"
    ):
        registry.load("mine", tmp_path)
    (tmp_path / "mine" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"data: .*train has no image \(.jpg, .*\); put the train images there"):
        registry.load("mine", tmp_path)
    (tmp_path / "mine" / "train" / "broken.png").write_bytes(b"")
    (tmp_path / "mine" / "val" / "cat").mkdir(parents=True)
    Image.fromarray(PIXELS[0]).save(tmp_path / "mine" / "val" / "cat" / "1.png")
    with pytest.raises(ValueError, match="classes that train has not: cat"):
        registry.load("mine", tmp_path)
    (tmp_path / "mine" / "val" / "cat" / "1.png").rename(tmp_path / "mine" / "val" / "1.png")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        registry.load("mine", tmp_path)


def test_only_where_nothing_is_run_do_embedded_images_stand_in_and_a_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    paper = Workspace("paper", data_root=str(tmp_path))
    for name, size, shape, instead in (("cifar10", None, (32, 32), "digits"), ("mine", 48, (48, 48), "photos"),
                                       ("cityscapes", (32, 64), (32, 64), "streets")):
        splits = data.load_for(paper, name, size=size, validation=0.0)
        assert (
            isinstance(splits, imageset.StandIn) and splits.train.images.shape[-2:] == shape and not splits.validation
        )
        assert capsys.readouterr().out == (f"{name} is not under {tmp_path}; in the parts by hand, {instead} stand in "
                                           "for it\n")
    assert not isinstance(data.load_for(paper, "digits", validation=0.0), imageset.StandIn)
    (tmp_path / "mine" / "train").mkdir(parents=True)
    (tmp_path / "mine" / "train" / "a.png").write_bytes(b"damaged")
    (tmp_path / "mine" / "test").mkdir()
    (tmp_path / "mine" / "test" / "a.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        data.load_for(paper, "mine", size=48)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(FileNotFoundError, match=r"cifar10: neither "):
        data.load_for(paper, "cifar10")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FileNotFoundError, match=r"cifar10: neither "):
        data.load_for(Workspace("smoke", data_root=str(tmp_path)), "cifar10")
    assert len(data.load_for(Workspace("smoke"), "digits", validation=0.0).train) == 1297


@pytest.mark.slow
def test_real_cifar10(data_root):
    splits = registry.load("cifar10", data_root, validation=0.0)
    assert tuple(map(len, splits)) == (50_000, 0, 10_000)
    assert splits.test.labels.bincount().tolist() == [1000] * 10
    assert splits.train.labels.bincount().tolist() == [5000] * 10
    means, stds = [], []
    for images in splits.train.images.split(5000):
        colours = (images.double() / 255).flatten(2)                     # (image, rgb, pixel)
        means.append(colours.mean((0, 2)))
        stds.append(colours.std(2).mean(0))
    assert torch.allclose(torch.stack(means).mean(0), torch.tensor(splits.train.mean).double(), atol=5e-4)
    # the authors' std is the mean of every image's own; over all pixels it is (0.2470, 0.2435, 0.2616)
    assert torch.allclose(torch.stack(stds).mean(0), torch.tensor(splits.train.std).double(), atol=5e-4)


@pytest.fixture(scope="module")
def digits_on_photos():
    return registry.load("digits_on_photos", "", size=32, validation=0.0)


def test_a_stencil_is_a_photographs_negative_inside_a_digit_and_untouched_outside(digits_on_photos):
    assert digits_on_photos.train.classes == ("photograph", *"0123456789")
    for ours, photos in zip(digits_on_photos, registry.load("photos", "", size=32, validation=0.0), strict=True):
        assert ours.labels.shape == (len(photos), 32, 32) and ours.labels.dtype == torch.int64
        ink = (ours.labels > 0)[:, None]
        assert torch.equal(ours.images, torch.where(ink, 255 - photos.images, photos.images))
    assert digits_on_photos.train.labels.unique().tolist() == list(range(11))


def test_every_stencil_is_one_digit_half_as_large_as_its_picture(digits_on_photos):
    places = set()
    for labels in digits_on_photos.train.labels:
        assert labels.unique().numel() == 2
        row, col = (labels > 0).nonzero().unbind(1)
        assert row.max() - row.min() < 16 and col.max() - col.min() < 16
        places.add((int(row.min()), int(col.min())))
    assert len(places) > 100


def test_stencils_are_the_same_every_time(digits_on_photos):
    assert (
        registry.load("digits_on_photos", "elsewhere", size=32, validation=0.0).fingerprint
        == digits_on_photos.fingerprint
    )


def test_stencils_come_in_multiples_of_16_only():
    with pytest.raises(ValueError, match=r"digits_on_photos: size 40 was asked for; .* so give a multiple of 16"):
        registry.load("digits_on_photos", "", size=40)


def test_samples_widen_half_precision_and_keep_the_order_asked_for():
    inputs = torch.arange(24).reshape(6, 4).half()
    samples = imageset.Samples(inputs, torch.arange(6)).to("cpu")
    batch, labels = samples.batch(torch.tensor([4, 0, 5]))
    assert len(samples) == 6 and batch.dtype == torch.float32
    assert labels.tolist() == [4, 0, 5] and torch.equal(batch, inputs[[4, 0, 5]].float())
