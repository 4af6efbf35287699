"""Data sets that need no files: made from images that come with installed packages, or drawn.

digits            scikit-learn's handwritten digits, 1,797 images of 10 classes
photos            crops of six photographs that come with scikit-image and scikit-learn
digits_on_photos  digits pasted onto such crops, with label maps
streets           street scenes drawn by `streets`, with label maps

Photographs and what is cut from them are kept in memory and shared: write to a copy.
"""
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from posenc_lib.base.shapes import Pixels
from posenc_lib.data import streets
from posenc_lib.data.imageset import IMAGENET, SPLIT_SEED, ImageSet

STREET_SEEDS = {"train": range(400), "test": range(10_000, 10_120)}    # one seed draws one scene
STAND_IN_SEEDS = {"train": range(24), "test": range(10_000, 10_012)}   # a few scenes, in place of a missing data set


def digits(size: int) -> tuple[ImageSet, ImageSet]:
    """Enlarge the 8x8 digits with 17 grey levels by repeating pixels; 1,297 train and 500 test, stratified by class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    if size % 8:
        raise ValueError(f"digits: size={size}, but the images are 8x8; give a multiple of 8")
    grey, labels = load_digits(return_X_y=True)
    grey = (grey.reshape(-1, 1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    images = torch.from_numpy(grey.repeat(size // 8, axis=2).repeat(size // 8, axis=3)).repeat(1, 3, 1, 1)
    parts = train_test_split(np.arange(len(labels)), test_size=500, stratify=labels, random_state=SPLIT_SEED)
    train, test = (torch.from_numpy(np.sort(index)) for index in parts)
    mean, std = float(grey.mean() / 255), float(grey.std() / 255)
    labels = torch.from_numpy(labels).long()
    both = ImageSet("digits", "", images, labels, tuple("0123456789"), (mean,) * 3, (std,) * 3)
    return both.take(train, "train"), both.take(test, "test")


@cache
def photographs() -> dict[str, Pixels]:
    """The six photographs by name, each uint8 (1, 3, row, col) with sides of 300 to 640 pixels."""
    import skimage.data
    from sklearn.datasets import load_sample_images
    china, flower = load_sample_images().images
    arrays = {"astronaut": skimage.data.astronaut(), "cat": skimage.data.chelsea(), "coffee": skimage.data.coffee(),
              "rocket": skimage.data.rocket(), "china": china, "flower": flower}
    return {name: torch.from_numpy(a.copy()).permute(2, 0, 1)[None] for name, a in arrays.items()}


@cache
def photos(size: int) -> tuple[ImageSet, ImageSet]:
    """64 train and 16 test crops of each photograph, whose class is the photograph.

    Train crops come from the left three quarters of a photograph and test crops from the right quarter, so they never
    overlap.
    """
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    crops: dict[str, list[Tensor]] = {"train": [], "test": []}
    for photograph in photographs().values():
        rows, cols = photograph.shape[-2:]
        border = cols * 3 // 4
        if size > min(rows, cols - border):
            raise ValueError(f"photos: size={size}, but the largest crop that fits has {cols - border} pixels a side; "
                             "give a smaller size")
        for split, n, start, end in (("train", 64, 0, border), ("test", 16, border, cols)):
            for _ in range(n):
                row = int(torch.randint(rows - size + 1, (), generator=generator))
                col = int(torch.randint(start, end - size + 1, (), generator=generator))
                crops[split].append(photograph[0, :, row:row + size, col:col + size])
    classes = tuple(photographs())
    parts = []
    for split, images in crops.items():
        labels = torch.arange(len(classes)).repeat_interleave(len(images) // len(classes))
        parts.append(ImageSet("photos", split, torch.stack(images), labels, classes, *IMAGENET))
    train, test = parts
    return train, test


@cache
def digits_on_photos(size: int) -> tuple[ImageSet, ImageSet]:
    """Invert the colours of a photograph within a digit, half as large as the crop and placed at random.

    Label maps have 1 + the digit inside it and 0 outside.
    """
    if size % 16:
        raise ValueError(f"digits_on_photos: size={size}, but the digits are 8x8 and half as large as the images; give "
                         "a multiple of 16")
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    side = size // 2
    parts = []
    for crops, pasted in zip(photos(size), digits(side), strict=True):
        ink = pasted.images[:len(crops)] > 127                              # (image, rgb, side, side)
        images = crops.images.clone()
        labels = torch.zeros(len(crops), size, size, dtype=torch.long)
        corners = torch.randint(side + 1, (len(crops), 2), generator=generator).tolist()
        for n, (row, col) in enumerate(corners):
            window = (n, ..., slice(row, row + side), slice(col, col + side))
            images[window] = torch.where(ink[n], 255 - images[window], images[window])
            labels[window] = torch.where(ink[n, 0], 1 + pasted.labels[n], 0)
        classes = ("photograph", *pasted.classes)
        parts.append(replace(crops, name="digits_on_photos", images=images, labels=labels, classes=classes))
    train, test = parts
    return train, test


def draw_streets(rows: int, cols: int, **seeds: range) -> Iterator[tuple[str, list[streets.Scene], Tensor]]:
    """Draw the scenes of "train", then of "test": (split, scenes, their images as uint8 (scene, rgb, row, col)).

    seeds  of a split, in place of those in `STREET_SEEDS`
    """
    for split, of_split in (STREET_SEEDS | seeds).items():
        scenes = [streets.draw(seed, rows, cols) for seed in of_split]
        yield split, scenes, torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).contiguous()


def street_scenes(rows: int, cols: int, **seeds: range) -> tuple[ImageSet, ImageSet]:
    """400 train and 120 test scenes with label maps; `seeds` as in `draw_streets`."""
    parts = []
    for split, scenes, images in draw_streets(rows, cols, **seeds):
        labels = torch.from_numpy(np.stack([scene.labels for scene in scenes])).long()
        parts.append(ImageSet("streets", split, images, labels, streets.CLASSES, *IMAGENET))
    train, test = parts
    return train, test
