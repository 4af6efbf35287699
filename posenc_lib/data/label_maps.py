"""Images with a label map, a file that has the number of a class in every pixel."""
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from posenc_lib.base.shapes import LabelMaps
from posenc_lib.data.files import Rectangle, read_image, read_rgb, resize_and_crop, stack
from posenc_lib.data.imageset import IMAGENET, ImageSet

Pair = tuple[Path, Path]   # the files of an image and of its label map


def read_pairs(name: str, pairs: dict[str, list[Pair]], size: Rectangle, labels: dict[int, int],
               classes: tuple[str, ...]) -> tuple[ImageSet, ImageSet]:
    """Read the pairs of two splits, train first, as training and test images.

    labels  value of a pixel in a file -> its class index, or `VOID`
    """
    maps = [_read_maps(name, of_split, size, labels) for of_split in pairs.values()]   # first, since it checks them
    parts = []
    for split, of_split, (label_maps, sizes) in zip(("train", "test"), pairs.values(), maps, strict=True):
        images = stack(_read_images(name, of_split, sizes), size)
        parts.append(ImageSet(name, split, images, label_maps, classes, *IMAGENET))
    train, test = parts
    return train, test


def _read_maps(name: str, pairs: Iterable[Pair], size: Rectangle,
               labels: dict[int, int]) -> tuple[LabelMaps, list[Rectangle]]:
    """Label maps, cropped like their images and resized without interpolation: int64 (image, row, col); and the sizes
    of their files.

    Raises ValueError for a file that is not an 8-bit label map, or has a value that is not in `labels`, even if that
    is cropped.
    """
    table = np.full(256, -1)
    table[list(labels)] = list(labels.values())
    maps, sizes = [], []
    for _, file in pairs:
        values = read_image(file)
        if values.mode not in ("L", "P") or values.format == "JPEG":
            raise ValueError(f"{name}: the label map {file} is a {values.format} of mode {values.mode}; put a PNG "
                             "there, 8-bit greyscale or with a palette, whose values are the classes")
        found = np.flatnonzero(values.histogram())
        if unknown := found[table[found] < 0].tolist():
            raise ValueError(f"{name}: the label map {file} has pixels of value {', '.join(map(str, unknown[:3]))}, "
                             f"which is not a label of {name}; put a label map of {name} there")
        maps.append(table[resize_and_crop(values, size, Image.Resampling.NEAREST)].astype(np.uint8))
        sizes.append((values.height, values.width))
    return torch.from_numpy(np.stack(maps)).long(), sizes


def _read_images(name: str, pairs: Iterable[Pair], sizes: Iterable[Rectangle]) -> Iterator[Image.Image]:
    """The images; ValueError for one that has not the size of its label map."""
    for (image_file, map_file), (rows, cols) in zip(pairs, sizes, strict=True):
        image = read_rgb(image_file)
        if (image.height, image.width) != (rows, cols):
            raise ValueError(f"{name}: the label map {map_file} has {rows}x{cols} pixels, but its image {image_file} "
                             f"is displayed with {image.height}x{image.width}; put the label map of that image there")
        yield image
