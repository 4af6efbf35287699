"""The image sets that are always there: made from what comes with the packages, or drawn; no disk, no network.

digits    scikit-learn's handwritten digits, 1,797 real images, 10 classes
photos    six photographs bundled with scikit-image and scikit-learn, as crops
digits_on_photos  digits pasted on such crops, with a map that labels every pixel
streets   drawn street scenes (`posenc_lib.streets`), with a map that labels every pixel
"""
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from posenc_lib.base.shapes import Pixels
from posenc_lib.data import streets
from posenc_lib.data.imageset import IMAGENET, SPLIT_SEED, ImageSet

FEW = {"train": range(24), "test": range(10_000, 10_012)}        # as a stand-in
STREETS = {"train": range(400), "test": range(10_000, 10_120)}   # the seeds that the scenes are drawn with


def digits(size: int) -> tuple[ImageSet, ImageSet]:
    """8x8 digits of 17 grey levels, enlarged by repetition; 1,297 train and 500 test, drawn by class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    if size % 8:
        raise ValueError(f"digits: size {size} was asked for; the images are 8x8, so give a multiple of 8")
    grey, labels = load_digits(return_X_y=True)
    grey = (grey.reshape(-1, 1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    pixels = torch.from_numpy(grey.repeat(size // 8, axis=2).repeat(size // 8, axis=3)).repeat(1, 3, 1, 1)
    parts = train_test_split(np.arange(len(labels)), test_size=500, stratify=labels, random_state=SPLIT_SEED)
    mean, std = float(grey.mean() / 255), float(grey.std() / 255)
    labels = torch.from_numpy(labels).long()
    whole = ImageSet("digits", "", pixels, labels, tuple("0123456789"), (mean,) * 3, (std,) * 3)
    return tuple(whole.take(torch.from_numpy(np.sort(p)), s) for p, s in zip(parts, ("train", "test"), strict=True))


def photographs() -> dict[str, Pixels]:
    """The bundled photographs, whole: name -> uint8 (1, 3, row, col), between 300 and 640 pixels a side."""
    import skimage.data
    from sklearn.datasets import load_sample_images
    china, flower = load_sample_images().images
    arrays = {"astronaut": skimage.data.astronaut(), "cat": skimage.data.chelsea(), "coffee": skimage.data.coffee(),
              "rocket": skimage.data.rocket(), "china": china, "flower": flower}
    return {name: torch.from_numpy(a.copy()).permute(2, 0, 1)[None] for name, a in arrays.items()}


def photos(size: int) -> tuple[ImageSet, ImageSet]:
    """64 train and 16 test crops of each photograph, labelled by photograph.

    Train crops lie in the left three quarters of a photograph, test crops in the right quarter, so none overlap.
    """
    draw = torch.Generator().manual_seed(SPLIT_SEED)
    parts: dict[str, list[Tensor]] = {"train": [], "test": []}
    for photo in photographs().values():
        rows, cols = photo.shape[-2:]
        border = cols * 3 // 4
        if size > min(rows, cols - border):
            raise ValueError(f"photos: crops of {size} pixels were asked for; the largest that fits is {cols - border}")
        for split, n, first, end in (("train", 64, 0, border), ("test", 16, border, cols)):
            for _ in range(n):
                row = int(torch.randint(rows - size + 1, (), generator=draw))
                col = int(torch.randint(first, end - size + 1, (), generator=draw))
                parts[split].append(photo[0, :, row:row + size, col:col + size])
    names = tuple(photographs())
    return tuple(ImageSet("photos", split, torch.stack(crops), torch.arange(6).repeat_interleave(len(crops) // 6),
                          names, *IMAGENET) for split, crops in parts.items())


def digits_on_photos(size: int) -> tuple[ImageSet, ImageSet]:
    """A digit, half as large, anywhere on a crop of a photograph, in its negative colours; labels 1 + digit, else 0."""
    if size % 16:
        raise ValueError(
            f"digits_on_photos: size {size} was asked for; the digits are 8x8 and half as large, so give a "
            "multiple of 16"
        )
    draw, side = torch.Generator().manual_seed(SPLIT_SEED), size // 2
    parts = []
    for crops, written in zip(photos(size), digits(side), strict=True):
        ink = written.images[:len(crops)] > 127                             # (image, rgb, side, side)
        pixels, labels = crops.images.clone(), torch.zeros(len(crops), size, size, dtype=torch.long)
        for n, (row, col) in enumerate(torch.randint(side + 1, (len(crops), 2), generator=draw).tolist()):
            there = (n, ..., slice(row, row + side), slice(col, col + side))
            pixels[there] = torch.where(ink[n], 255 - pixels[there], pixels[there])
            labels[there] = torch.where(ink[n, 0], 1 + written.labels[n], 0)
        classes = ("photograph", *written.classes)
        parts.append(replace(crops, name="digits_on_photos", images=pixels, labels=labels, classes=classes))
    return tuple(parts)


def scenes_of(rows: int, cols: int, **seeds: range) -> Iterator[tuple[str, list[streets.Scene], Tensor]]:
    """Of "train" and "test": scenes, each of its own seed, and their pictures (scene, rgb, row, col).

    seeds  of a split, in place of `STREETS`, which has 400 to train on and 120 to test
    """
    for split, of_split in (STREETS | seeds).items():
        scenes = [streets.draw(seed, rows, cols) for seed in of_split]
        yield split, scenes, torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).contiguous()


def street_scenes(rows: int, cols: int, **seeds: range) -> tuple[ImageSet, ImageSet]:
    """Scenes of rows x cols pixels with a class or `VOID` for every pixel; `seeds` as in `scenes_of`."""
    parts = []
    for split, scenes, images in scenes_of(rows, cols, **seeds):
        labels = torch.from_numpy(np.stack([scene.labels for scene in scenes])).long()
        parts.append(ImageSet("streets", split, images, labels, streets.CLASSES, *IMAGENET))
    return tuple(parts)
