"""Images with a label map, a file that has the number of a class in every pixel."""
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from posenc_lib.base.shapes import LabelMaps
from posenc_lib.data.files import Rectangle, decode, open_image, resize_and_crop
from posenc_lib.data.imageset import IMAGENET, ImageSet

Pair = tuple[Path, Path]   # the files of an image and of its label map


def read_pairs(name: str, pairs: dict[str, list[Pair]], size: Rectangle, labels: dict[int, int],
               classes: tuple[str, ...]) -> tuple[ImageSet, ImageSet]:
    """Read the pairs of two splits, train first, as training and test images.

    labels  value of a pixel in a file -> its class index, or `VOID`
    """
    maps = [_read_maps(name, of_split, size, labels) for of_split in pairs.values()]   # first, since it checks them
    parts = []
    for split, of_split, label_maps in zip(("train", "test"), pairs.values(), maps, strict=True):
        images = decode([image for image, _ in of_split], size, name)
        parts.append(ImageSet(name, split, images, label_maps, classes, *IMAGENET))
    return tuple(parts)


def _read_maps(name: str, pairs: Iterable[Pair], size: Rectangle, labels: dict[int, int]) -> LabelMaps:
    """Label maps, cropped like their images and resized without interpolation: int64 (image, row, col).

    Raises ValueError for a map whose size is not that of its image, that is not an 8-bit label map, or that has a
    value which is not in `labels`.
    """
    table = np.full(256, -1)
    table[list(labels)] = list(labels.values())
    maps = []
    for image_file, map_file in pairs:
        with open_image(image_file, str(image_file)) as image, open_image(map_file, str(map_file)) as values:
            if values.size != image.size:
                raise ValueError(f"{name}: the label map {map_file} has {values.height}x{values.width} pixels, but its "
                                 f"image {image_file} has {image.height}x{image.width}; put the label map of that "
                                 "image there")
            if values.mode not in ("L", "P") or values.format == "JPEG":
                raise ValueError(f"{name}: the label map {map_file} is a {values.format} of mode {values.mode}; put a "
                                 "PNG there, 8-bit greyscale or with a palette, whose values are the classes")
            pixels = resize_and_crop(values, size, Image.Resampling.NEAREST)   # with a palette, its indices
        classes = table[pixels]
        if classes.min() < 0:
            raise ValueError(f"{name}: the label map {map_file} has the value {pixels[classes < 0][0]}, which is not a "
                             f"label of {name}; put a label map of {name} there")
        maps.append(classes.astype(np.uint8))
    return torch.from_numpy(np.stack(maps)).long()
