"""Image files of all kinds, as Pillow and torchvision read them, upright; damaged ones are one sentence; what is an
image and what is a class in a folder.
"""
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from torchvision.datasets.folder import default_loader

from posenc_lib.data import files, registry

DRAWS = np.random.default_rng(0)
COLOURS = DRAWS.integers(0, 256, (5, 7, 3), dtype=np.uint8)
RAMP = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(3, 0)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits, RGB or greyscale with alpha, which Pillow cannot write."""
    rows, cols, channels = pixels.shape
    header = struct.pack(">IIBBBBB", cols, rows, 16, {2: 4, 3: 2}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


# ------------------------------------------------------------------------------------------ modes

def translucent(mode: str) -> Image.Image:
    image = Image.fromarray(COLOURS).convert(mode)
    image.putalpha(Image.fromarray(DRAWS.integers(0, 256, (5, 7), dtype=np.uint8)))
    return image


def palette(**options) -> bytes:
    return encoded(Image.fromarray(COLOURS).quantize(8), "PNG", **options)


EIGHT_BITS = {
    "RGB": encoded(Image.fromarray(COLOURS), "PNG"),
    "greyscale": encoded(Image.fromarray(COLOURS).convert("L"), "PNG"),
    "alpha": encoded(translucent("RGB"), "PNG"),
    "alpha, WebP": encoded(translucent("RGB"), "WebP", lossless=True, exact=True),
    "greyscale with alpha": encoded(translucent("L"), "PNG"),
    "palette": palette(),
    "palette, one colour transparent": palette(transparency=3),
    "palette, alpha by colour": palette(transparency=bytes(range(0, 240, 30))),
    "1 bit": encoded(Image.fromarray(COLOURS).convert("1"), "PNG"),
    "1 bit, TIFF": encoded(Image.fromarray(COLOURS).convert("1"), "TIFF", compression="group4"),
    "CMYK, JPEG": encoded(Image.fromarray(COLOURS).convert("CMYK"), "JPEG"),
    "CMYK, TIFF": encoded(Image.fromarray(COLOURS).convert("CMYK"), "TIFF"),
    "YCbCr, TIFF": encoded(Image.fromarray(COLOURS).convert("YCbCr"), "TIFF"),
    "greyscale, JPEG": encoded(Image.fromarray(COLOURS).convert("L"), "JPEG"),
    "LAB, TIFF": encoded(Image.fromarray(COLOURS).convert("LAB"), "TIFF"),
    "two frames, GIF": encoded(Image.fromarray(COLOURS), "GIF", save_all=True,
                               append_images=[Image.new("RGB", (7, 5))]),
    "two frames, TIFF": encoded(Image.fromarray(COLOURS), "TIFF", save_all=True,
                                append_images=[Image.new("RGB", (3, 3))]),
    "BMP": encoded(Image.fromarray(COLOURS), "BMP"),
    "PPM": encoded(Image.fromarray(COLOURS), "PPM"),
    "16-bit RGB": png_of_16_bits(COLOURS.astype(np.uint16) * 256 + 77),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("kind", EIGHT_BITS)
def test_images_are_those_of_torchvisions_loader(tmp_path, kind):
    file = tmp_path / "image.jpg"   # Pillow goes by the content, so the name may be any
    file.write_bytes(EIGHT_BITS[kind])
    assert np.array_equal(files.read_rgb(file), default_loader(file))
    assert np.array_equal(files.read_rgb(EIGHT_BITS[kind], "a row"), default_loader(file))


def test_the_colour_below_transparency_shows_and_16_bit_colours_keep_their_high_byte():
    for kind in ("RGB", "alpha", "alpha, WebP", "BMP", "16-bit RGB"):
        assert np.array_equal(files.read_rgb(EIGHT_BITS[kind]), COLOURS)
    assert set(np.unique(files.read_rgb(EIGHT_BITS["1 bit"]))) == {0, 255}


@pytest.mark.parametrize("content", [
    encoded(Image.fromarray(RAMP), "PNG"), encoded(Image.fromarray(RAMP), "TIFF"),
    encoded(Image.fromarray(RAMP.astype(">u2")), "TIFF"),
    b"P5 64 3 65535\n" + RAMP.astype(">u2").tobytes(), b"P2 64 3 65535\n" + " ".join(map(str, RAMP.ravel())).encode(),
    png_of_16_bits(np.stack([RAMP, RAMP], -1)),
], ids=["PNG", "TIFF", "TIFF, big-endian", "PGM", "PGM, text", "PNG, alpha"])
def test_a_ramp_of_16_bits_is_a_ramp_of_8(content):
    """By default Pillow clips it, so that nearly all of it is white."""
    read = np.asarray(files.read_rgb(content))
    assert (read == read[..., :1]).all() and np.array_equal(read[..., 0], RAMP >> 8)
    assert (read[0, 0, 0], read[0, -1, 0]) == (0, 255) and len(np.unique(read)) == 64


@pytest.mark.parametrize("pixels", [RAMP.astype(np.float32), RAMP.astype(np.float32) / 65535, RAMP.astype(np.int32)])
def test_greyscale_of_32_bits_is_refused(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "depth.tiff")
    with pytest.raises(ValueError, match=r"^data: .*/depth\.tiff is 32-bit greyscale, in which no value stands for "
                                         r"white; save it with 8 or 16 bits, as RGB or greyscale$"):
        files.pictures(tmp_path, 8)


def test_a_mode_that_pillow_does_not_convert_is_refused(monkeypatch):
    """LAB, before Pillow 11.3."""
    def convert(image, mode):
        raise ValueError("conversion from LAB to RGB not supported")

    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(ValueError, match=r"^data: row 3 of a\.parquet cannot be read as an image \(ValueError: conver"
                                         r"sion from LAB .*\); replace it or remove it$"):
        files.read_rgb(EIGHT_BITS["YCbCr, TIFF"], "row 3 of a.parquet")


# ------------------------------------------------------------------------------------------ EXIF orientation

def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(10))   # 1 to 8 mean something
@pytest.mark.parametrize("kind", ["PNG", "WebP", "TIFF", "JPEG"])
def test_an_image_is_read_as_viewers_show_it(kind, orientation):
    options = {"lossless": True} if kind == "WebP" else {}
    content = encoded(Image.fromarray(COLOURS), kind, exif=turned(orientation), **options)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    read = files.read_rgb(content)
    assert np.array_equal(read, expected) and read.size == ((5, 7) if 5 <= orientation <= 8 else (7, 5))
    if kind != "JPEG":   # by hand: what is stored is the upright image turned back
        stored = COLOURS
        by_hand = {2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.transpose(1, 0, 2),
                   6: stored[::-1].transpose(1, 0, 2), 7: stored[::-1, ::-1].transpose(1, 0, 2),
                   8: stored[:, ::-1].transpose(1, 0, 2)}
        assert np.array_equal(read, by_hand.get(orientation, stored))


@pytest.mark.parametrize("pixels, kind", [(RAMP, "PNG"), (COLOURS[..., 0] > 99, "PNG"), (COLOURS[..., 0], "JPEG")])
def test_images_of_every_mode_are_turned(pixels, kind):
    content = encoded(Image.fromarray(pixels), kind, exif=turned(6))
    assert files.read_rgb(content).size == pixels.shape
    assert np.array_equal(files.read_rgb(content), np.rot90(files.read_rgb(encoded(Image.fromarray(pixels), kind)), -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0no tiff at all",
                                  turned(6)[:20], turned(6).replace(b"\x01\x12\0\x03", b"\x01\x12\0\x07")])
def test_an_image_with_damaged_exif_data_is_as_it_is_stored(exif):
    content = encoded(Image.fromarray(COLOURS), "PNG", exif=exif)
    assert np.array_equal(files.read_rgb(content), COLOURS)


def test_pictures_of_a_folder_are_upright(tmp_path):
    upright = np.zeros((80, 60, 3), np.uint8)
    upright[:20] = 255   # the sky
    Image.fromarray(upright).rotate(90, expand=True).save(tmp_path / "1.jpg", exif=turned(6))
    seen = files.pictures(tmp_path, 60)[0, 0].float()   # the 60 rows in the middle, ten of them sky
    assert seen[:9].min() > 200 and seen[11:].max() < 50


# ------------------------------------------------------------------------------------------ damage

PNG = encoded(Image.fromarray(DRAWS.integers(0, 256, (40, 40, 3), dtype=np.uint8)), "PNG")
JPEG = encoded(Image.fromarray(DRAWS.integers(0, 256, (40, 40, 3), dtype=np.uint8)), "JPEG")
IDAT = PNG.index(b"IDAT")


def huge_bmp() -> bytes:
    content = bytearray(encoded(Image.new("RGB", (40, 40)), "BMP"))
    content[18:26] = struct.pack("<II", 50_000, 50_000)
    return bytes(content)


DAMAGED = {
    "empty": b"",
    "no image": b"<html>403 Forbidden</html>",
    "a resource fork of macOS": b"\0\5\x16\7" + bytes(60),
    "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614\nsize 12345\n",
    "half a PNG": PNG[:len(PNG) // 2],
    "half a JPEG": JPEG[:len(JPEG) // 2],
    "half a header": PNG[:20],
    "the name of a chunk": PNG[:IDAT] + b"\xb6\xcc\xf1\x01" + PNG[IDAT + 4:],
    "the length of a chunk": PNG[:IDAT - 4] + struct.pack(">I", 100) + PNG[IDAT:],
    "the checksum of the header": PNG[:29] + bytes(4) + PNG[33:],
    "a short header": PNG[:8] + chunk(b"IHDR", bytes(5)) + PNG[33:],
    "no pixels": PNG[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)) + PNG[33:],
    "text that inflates": PNG[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 ** 21))) + PNG[33:],
}
BOMBS = {
    "BMP": huge_bmp(),
    "PNG": PNG[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)) + PNG[33:],
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_image_is_one_sentence_that_names_it(tmp_path, kind):
    (tmp_path / "1.png").write_bytes(DAMAGED[kind])
    with pytest.raises(ValueError, match=r"^data: .*/1\.png cannot be read as an image \(.+\); replace it or rem"):
        files.pictures(tmp_path, 8)


@pytest.mark.parametrize("kind", BOMBS)
def test_an_image_beyond_pillows_limit_is_one_sentence_that_names_it(tmp_path, kind):
    (tmp_path / "1.png").write_bytes(BOMBS[kind])
    with pytest.raises(ValueError, match=r"^data: .*/1\.png is too large \(DecompressionBombError: Image size \(\d+ "
                                         r"pixels\) exceeds limit .*\); scale it down, or remove it$"):
        files.pictures(tmp_path, 8)


def test_an_image_that_would_fill_the_memory_when_scaled_is_refused(tmp_path):
    Image.new("L", (1001, 1)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match=r"^data: .*/1\.png has 1x1001 pixels, and one side must not be more than 1000 "
                                         r"times as long as the other; crop it, or remove it$"):
        files.pictures(tmp_path, 8)
    Image.new("L", (1000, 1)).save(tmp_path / "1.png")
    assert files.pictures(tmp_path, 8).shape == (1, 3, 8, 8)


def test_a_link_to_nowhere_is_one_sentence(tmp_path):
    (tmp_path / "1.png").symlink_to("gone.png")
    with pytest.raises(ValueError, match=r"data: .*/1\.png cannot be read as an image \(FileNotFoundError: .*; repl"):
        files.pictures(tmp_path, 8)


# ------------------------------------------------------------------------------------------ folders

def draw(*names: Path) -> None:
    for n, file in enumerate(names):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (n, n, n)).save(file, "PNG")


def cats_and_dogs(folder: Path, ending: str = "{}/{}.png") -> Path:
    draw(*(folder / split / ending.format(kind, n) for split in ("train", "test") for kind in ("cat", "dog")
           for n in range(2)))
    return folder


def load(folder: Path):
    return registry.load(folder.name, folder.parent, size=8, validation=0.0)


@pytest.mark.parametrize("left", [
    "train/.ipynb_checkpoints/0-checkpoint.png", "train/cat/.ipynb_checkpoints/0-checkpoint.png",
    "test/.ipynb_checkpoints/0-checkpoint.png", "train/.thumbnails/a.png", "train/cat/._0.png", "train/._cat",
    "train/cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.png", "train/@eaDir/cat/0.png", "train/#recycle/cat/0.png",
    "train/cat/Thumbs.db", "train/Thumbs.db", "train/desktop.ini", "train/.DS_Store", "train/__MACOSX/cat/._0.png",
    "train/$RECYCLE.BIN/0.png", "test/dog/.0.png.icloud", "train/cat/.cache/0.png"])
def test_what_other_programs_leave_in_folders_is_no_image_and_no_class(tmp_path, left):
    expected = load(cats_and_dogs(tmp_path / "mine")).fingerprint
    (tmp_path / "mine" / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "mine" / left).write_bytes(b"\0\5\x16\7")
    splits = load(tmp_path / "mine")
    assert splits.fingerprint == expected and splits.train.classes == ("cat", "dog")
    assert len(files.pictures(tmp_path / "mine" / "train", 8)) == 4


def test_a_folder_that_is_hidden_itself_is_read(tmp_path):
    assert len(load(cats_and_dogs(tmp_path / ".cache" / "mine")).train) == 4


@pytest.mark.parametrize("ending", ["PNG", "JPEG", "Jpg", "TIF", "WebP", "BMP", "PGM"])
def test_endings_in_capital_letters_are_endings(tmp_path, ending):
    """All of torchvision's; what Pillow finds in the file counts."""
    assert len(load(cats_and_dogs(tmp_path / "mine", "{}/{}." + ending)).train) == 4


def test_a_folder_may_be_called_like_an_image(tmp_path):
    assert load(cats_and_dogs(tmp_path / "mine", "{}.jpg/{}.png")).train.classes == ("cat.jpg", "dog.jpg")


def test_folders_of_classes_may_be_links(tmp_path):
    expected = load(cats_and_dogs(tmp_path / "mine")).fingerprint
    for kind in ("cat", "dog"):
        (tmp_path / "mine" / "train" / kind).rename(tmp_path / kind)
        (tmp_path / "mine" / "train" / kind).symlink_to(tmp_path / kind)
    (tmp_path / "mine" / "test").rename(tmp_path / "other")
    (tmp_path / "mine" / "test").symlink_to("../other")
    assert load(tmp_path / "mine").fingerprint == expected


def test_links_that_lead_back_are_not_followed(tmp_path):
    folder = cats_and_dogs(tmp_path / "mine")
    (folder / "train" / "cat" / "all").symlink_to(folder / "train")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    draw(tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    assert len(load(folder).train) == 4 and len(files.list_files(tmp_path / "a")) == 2


def test_the_class_is_the_upper_folder_whatever_is_in_it(tmp_path):
    """CLASS/BATCH/*.png, as torchvision's ImageFolder has it."""
    draw(*(tmp_path / "mine" / split / kind / batch / f"{n}.png" for split in ("train", "test")
           for kind in ("cat", "dog") for batch in ("monday", "tuesday") for n in range(2)))
    draw(tmp_path / "mine" / "train" / "cat" / "more" / "of" / "them.png")
    splits = load(tmp_path / "mine")
    assert splits.train.classes == ("cat", "dog")
    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0] * 5 + [1] * 4, [0] * 4 + [1] * 4)


@pytest.mark.parametrize("split", ["val", "test"])
def test_tiny_imagenet_as_it_is_unpacked_has_no_classes_to_test_on(tmp_path, split):
    draw(*(tmp_path / f"tiny/train/{wnid}/images/{wnid}_{n}.JPEG" for wnid in ("n01443537", "n01629819")
           for n in range(2)), tmp_path / f"tiny/{split}/images/{split}_0.JPEG")
    with pytest.raises(ValueError, match=rf"^data: .*tiny/{split} has classes that .*tiny/train does not have: images; "
                                         r"remove them, .*, or sort their images into the folders of its classes$"):
        load(tmp_path / "tiny")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_without_an_image_is_refused_as_by_torchvision(tmp_path, split):
    (cats_and_dogs(tmp_path / "mine") / split / "emu").mkdir()
    (tmp_path / "mine" / split / "emu" / "0.heic").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=rf"^data: .*mine/{split} has the classes emu without an image \(\.jpg, "
                                                r".*\); put their images there, or remove their folders$"):
        load(tmp_path / "mine")
