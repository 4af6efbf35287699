"""Image files: decode and resize them, list those of a folder, and read a folder of images as a data set."""
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torchvision.datasets.folder import IMG_EXTENSIONS as SUFFIXES

from posenc_lib.base.checks import one_line
from posenc_lib.base.shapes import Pixels
from posenc_lib.data.imageset import IMAGENET, ImageSet

LONGEST = 1000   # times the shorter side; scaled to cover a square, a longer image would fill the memory
NOT_IMAGES = {"@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "__MACOSX"}   # folders of NAS systems and of macOS
UPRIGHT = {   # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90}
Rectangle = tuple[int, int]   # rows, cols


def read_image(source: Path | str | bytes, where: str = "") -> Image.Image:
    """Decode an image file, or the bytes of one, and turn it as its EXIF orientation says.

    where  what an error calls it; its path by default

    The mode is that of the file.  ValueError, which names `where`, for an image that cannot be read.
    """
    where = where or str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            turned = image.transpose(UPRIGHT[turn]) if (turn := _orientation(image)) in UPRIGHT else image.copy()
    except UnidentifiedImageError:
        raise _unreadable(where, "it is no image, or its header is damaged") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"data: {where} is too large ({one_line(error)}); scale it down, or remove it") from None
    except Exception as error:   # Pillow raises many kinds for a damaged file
        raise _unreadable(where, one_line(error)) from None
    if not 0 < max(turned.size) <= LONGEST * min(turned.size):
        raise ValueError(f"data: {where} has {turned.height}x{turned.width} pixels, and one side must not be more than "
                         f"{LONGEST} times as long as the other; crop it, or remove it")
    turned.format = image.format
    return turned


def _unreadable(where: str, reason: str) -> ValueError:
    return ValueError(f"data: {where} cannot be read as an image ({reason}); replace it or remove it")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, as it is stored, without one or with damaged EXIF data, which viewers ignore, too."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:   # Pillow raises many kinds
        return 1


def read_rgb(source: Path | str | bytes, where: str = "") -> Image.Image:
    """Read an image as `read_image` does, in 8-bit RGB as Pillow and torchvision convert it.

    So transparency is dropped, and the colour below it shows.  Of 16-bit greyscale the high byte is kept, as Pillow
    does for 16-bit colours.  ValueError for 32-bit greyscale, in which no value stands for white.
    """
    where = where or str(source)
    image = read_image(source, where)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"data: {where} is 32-bit greyscale, in which no value stands for white; save it with 8 or "
                         "16 bits, as RGB or greyscale")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise _unreadable(where, one_line(error)) from None


def resize_and_crop(image: Image.Image, size: Rectangle, resampling: Image.Resampling) -> np.ndarray:
    """Scale an image to cover `size` and crop the centre: (row, col, rgb), or (row, col) for a label map."""
    rows, cols = size
    if image.size != (cols, rows):
        scale = max(cols / image.width, rows / image.height)
        width, height = max(cols, round(image.width * scale)), max(rows, round(image.height * scale))
        image = image.resize((width, height), resampling)
        left, top = (image.width - cols) // 2, (image.height - rows) // 2
        image = image.crop((left, top, left + cols, top + rows))
    return np.asarray(image)


def stack(images: Iterable[Image.Image], size: Rectangle) -> Pixels:
    """RGB images as one tensor (image, rgb, row, col)."""
    arrays = [resize_and_crop(image, size, Image.Resampling.BILINEAR) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is no image and no class: hidden, or made by a NAS system or by macOS."""
    return name.startswith(".") or name in NOT_IMAGES


def list_files(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Files of a folder and its subfolders, of linked ones too, sorted by path; none if there is no such folder.

    Skips what `is_left_behind`, and links back to a folder on the way.  OSError for a folder that cannot be read.
    """
    def stop(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, names in os.walk(folder, onerror=stop, followlinks=True) if folder.is_dir() else ():
        here = Path(parent)
        folders[:] = [name for name in folders if not is_left_behind(name) and not _leads_back(here / name)]
        found += [here / name for name in names
                  if Path(name).suffix.lower() in suffixes and not is_left_behind(name)]
    return sorted(found)


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that contains it, also by way of other links."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(above.resolve().is_relative_to(target) for above in folder.parents)


def list_splits(name: str, root: Path) -> dict[str, list[Path]]:
    """The image files of NAME/train and of NAME/test, by the name of that folder; NAME/val if there is no test."""
    folder = root / name
    files = {split: list_files(folder / split) for split in ("train", "test" if (folder / "test").is_dir() else "val")}
    for split, images in files.items():
        if not images:
            raise FileNotFoundError(f"data: {folder / split} has no images ({', '.join(SUFFIXES)}); put the "
                                    f"{'training' if split == 'train' else 'test'} images there")
    return files


def pictures(folder: Path | str, size: int, n: int | None = None) -> Pixels:
    """Read `n` square images from any folder and its subfolders, at even spacing in the order of their paths.

    All if n is None or exceeds the number of images.  Raises FileNotFoundError if there is no folder or no image in
    it, and ValueError for an image that cannot be read.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"images: {folder} is not a folder; give a folder that contains images")
    files = list_files(Path(folder))
    if not files:
        raise FileNotFoundError(f"images: {folder} has no images ({', '.join(SUFFIXES)}); put some there, or give "
                                "another folder")
    if n is not None and n < len(files):
        files = [files[i * len(files) // n] for i in range(n)]
    return stack(map(read_rgb, files), (size, size))


def read_folder(name: str, root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """Training and test images of NAME/{train,test}/*.jpg, or NAME/{train,test}/CLASS/*.jpg; `val` if no `test`.

    As in torchvision, a class is a folder directly in train, whatever folders it contains.
    """
    files = list_splits(name, root)
    train, test = (root / name / split for split in files)
    found = {folder: [class_of(path, folder) for path in paths]
             for folder, paths in zip((train, test), files.values(), strict=True)}
    classes = tuple(sorted(set(found[train]) - {""})) or ("unlabelled",)
    if unknown := set(found[test]) - set(classes) - {""}:
        raise ValueError(f"data: {test} has classes that {train} does not have: {', '.join(sorted(unknown))}; remove "
                         "them, add their training images, or sort their images into the folders of its classes")
    if classes != ("unlabelled",):
        _check_classes(found)
    index = {label: n for n, label in enumerate(classes)}
    parts = []
    for split, folder in (("train", train), ("test", test)):
        labels = torch.tensor([index.get(label, 0) for label in found[folder]])
        images = stack(map(read_rgb, files[folder.name]), size)
        parts.append(ImageSet(name, split, images, labels, classes, *IMAGENET))
    return parts[0], parts[1]


def class_of(file: Path, folder: Path) -> str:
    """The folder directly in `folder` that contains the file; "" if there is none in between."""
    first, *others = file.relative_to(folder).parts
    return first if others else ""


def _check_classes(found: dict[Path, list[str]]) -> None:
    """ValueError for images beside the folders of classes, FileNotFoundError for a class without images."""
    if unsorted := sum(labels.count("") for labels in found.values()):
        raise ValueError(f"data: {unsorted} images in {' and '.join(map(str, found))} are not in the folder of a "
                         "class; move each of them into one")
    for folder, labels in found.items():
        folders = {entry.name for entry in folder.iterdir() if entry.is_dir()}
        if empty := sorted(name for name in folders - set(labels) if not is_left_behind(name)):
            raise FileNotFoundError(f"data: {folder} has the classes {', '.join(empty)} without an image "
                                    f"({', '.join(SUFFIXES)}); put their images there, or remove their folders")
