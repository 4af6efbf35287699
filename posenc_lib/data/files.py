"""Image files: decode and resize them, list those of a folder, and read a folder of images as a data set."""
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from posenc_lib.base.shapes import Pixels
from posenc_lib.data.imageset import IMAGENET, ImageSet

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
Rectangle = tuple[int, int]   # rows, cols


@contextmanager
def open_image(source: Path | bytes, where: str) -> Iterator[Image.Image]:
    """Open an image from a file or from bytes.

    Raises a ValueError that names `where` if it cannot be read, including decode errors in the body of the `with`.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"data: {where} cannot be read as an image ({error}); replace it or remove it") from None


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


def decode(sources: Iterable[Path | bytes], size: Rectangle, where: str) -> Pixels:
    """Decode image files, or the bytes of image files found in `where`, into one tensor (image, rgb, row, col)."""
    def images() -> Iterator[Image.Image]:
        for n, source in enumerate(sources):
            with open_image(source, f"image {n} of {where}" if isinstance(source, bytes) else str(source)) as image:
                yield image.convert("RGB")   # decodes all of it, so that damage is reported here
    return stack(images(), size)


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder and its subfolders, sorted by path."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


def list_splits(name: str, root: Path) -> dict[str, list[Path]]:
    """The image files of NAME/train and of NAME/test, by the name of that folder; NAME/val if there is no test."""
    folder = root / name
    files = {split: list_images(folder / split) for split in ("train", "test" if (folder / "test").is_dir() else "val")}
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
    files = list_images(Path(folder))
    if not files:
        raise FileNotFoundError(f"images: {folder} has no images ({', '.join(SUFFIXES)}); put some there, or give "
                                "another folder")
    if n is not None and n < len(files):
        files = [files[i * len(files) // n] for i in range(n)]
    return decode(files, (size, size), str(folder))


def read_folder(name: str, root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """Training and test images of NAME/{train,test}/*.jpg, or NAME/{train,test}/CLASS/*.jpg; `val` if no `test`."""
    files = list_splits(name, root)
    train, test = (root / name / split for split in files)
    train_files, test_files = files.values()
    classes = tuple(sorted({file.parent.name for file in train_files if file.parent != train})) or ("unlabelled",)
    unknown = {file.parent.name for file in test_files} - set(classes) - {test.name}
    if unknown:
        raise ValueError(f"data: {test} has classes that {train} does not have: {', '.join(sorted(unknown))}; remove "
                         "them, or add their training images")
    unsorted = sum(file.parent in (train, test) for file in (*train_files, *test_files))
    if unsorted and classes != ("unlabelled",):
        raise ValueError(f"data: {unsorted} images in {root / name} are not in the folder of a class; move each of "
                         "them into one")
    index = {label: n for n, label in enumerate(classes)}
    parts = []
    for split, paths in (("train", train_files), ("test", test_files)):
        labels = torch.tensor([index.get(path.parent.name, 0) for path in paths])
        parts.append(ImageSet(name, split, decode(paths, size, name), labels, classes, *IMAGENET))
    return tuple(parts)
