"""Data sets whose labels are boxes of people, for pedestrian detection (page 07).

Labels are `shapes.Boxes`, float32 (image, person, 6) in pixels of the image as it is loaded.  A row is

    left, top, width, height   of the full body including hidden parts, from the top left corner of the image
    visible                    visible fraction of the person, 0..1; 1 if a data set does not annotate it
    ignore                     1 if detecting it counts neither as correct nor as an error (riders, crowds); else 0

Images have different numbers of people, so rows are padded with nan.  Images without people are kept.

An image is scaled to fit, never cropped, and centred on a canvas of the mean colour; its boxes move with it.  Boxes
are clipped to the image, and `visible` stays as annotated.  Boxes that have no area within the image are left out, with
one warning per file.  Anything else that is wrong with a file raises an error of one sentence.
"""
import math
import warnings
from os.path import isfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from posenc_lib.base.progress import bar
from posenc_lib.data import bundled, camvid
from posenc_lib.data.files import Rectangle, read_rgb
from posenc_lib.data.imageset import IMAGENET, ImageSet

TRAIN_SCENES = range(1200)   # seeds; more than for segmentation, since boxes carry less information than label maps
MEAN_COLOUR = tuple(round(255 * colour) for colour in IMAGENET[0])


class Annotated(NamedTuple):
    """An image file and its annotations.

    size    (rows, cols) if the annotations give it
    people  a row of six numbers per box
    """
    file: Path
    size: Rectangle | None
    people: list[list[float]]


class Part(NamedTuple):
    """One split: its images, the boxes (person, 6) of each image, and what they were read from."""
    images: Tensor
    people: list[np.ndarray]
    source: str


def image_sets(name: str, parts: dict[str, Part]) -> tuple[ImageSet, ImageSet]:
    """Training and test images, their boxes padded to the same number of rows.

    Raises ValueError if a split has nobody to detect.
    """
    for split, part in parts.items():
        if not any((rows[:, 5] == 0).any() for rows in part.people):
            raise ValueError(f"{name}: the {len(part.people)} {split} images of {part.source} have no people to "
                             "detect; give images with people that are not marked as ignored")
    boxes = [torch.from_numpy(rows).float() for part in parts.values() for rows in part.people]
    padded = pad_sequence(boxes, batch_first=True, padding_value=math.nan)
    labels = padded.split([len(part.images) for part in parts.values()])
    train, test = [ImageSet(name, split, part.images, of_split, ("person",), *IMAGENET)
                   for (split, part), of_split in zip(parts.items(), labels, strict=True)]
    return train, test


def unit(name: str, rows: int) -> float:
    """Pixels of an image with `rows` rows per pixel of CityPersons, whose images have 1024 rows.

    Three times that for streets, where people are nearer: nearly all are 120 to 535 of 1024 rows high, while in
    CityPersons most are 40 to 200.
    """
    return rows / 1024 * (3 if name == "streets" else 1)


def read_streets(rows: int, cols: int, **seeds: range) -> tuple[ImageSet, ImageSet]:
    """Drawn scenes, whose riders are ignored; the test scenes and the first 400 training scenes have label maps, too.

    seeds  of a split, in place of `TRAIN_SCENES` and the test seeds of `bundled`
    """
    parts = {}
    for split, scenes, images in bundled.draw_streets(rows, cols, **{"train": TRAIN_SCENES} | seeds):
        people = [to_array([[*person.box, person.visible, person.kind != "person"] for person in scene.people])
                  for scene in scenes]
        parts[split] = Part(images, people, "streets")
    return image_sets("streets", parts)


def read_camvid(root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """CamVid, with a box around each connected component (8-connectivity) of pedestrian in its label maps.

    So people who overlap become one box, and a person behind a pole becomes two.  `visible` is always 1, since a label
    map does not show what is hidden.  Ignored: components of bicyclist, and those lower than 1/40 of the image.
    """
    def boxes(label_map: np.ndarray) -> np.ndarray:
        rows = []
        for kind in ("pedestrian", "bicyclist"):
            components, _ = ndimage.label(label_map == camvid.CLASSES.index(kind), np.ones((3, 3)))
            for vertical, horizontal in ndimage.find_objects(components):
                width, height = horizontal.stop - horizontal.start, vertical.stop - vertical.start
                ignore = kind == "bicyclist" or height < size[0] / 40
                rows.append([horizontal.start, vertical.start, width, height, 1, ignore])
        return to_array(rows)

    parts = {}
    for part in camvid.read(root, size):
        people = [boxes(label_map) for label_map in part.labels.numpy()]
        parts[part.split] = Part(part.images, people, str(root / "camvid"))
    return image_sets("camvid", parts)


def to_array(people: list[list]) -> np.ndarray:
    """The rows of an image as an array (person, 6), also when there are none."""
    return np.array(people, np.float64).reshape(-1, 6)


def checked_row(where: str, box, visible, ignore) -> list[float]:
    """A row of six finite numbers; ValueError if the annotation at `where` does not give one."""
    try:
        row = [float(number) for number in (*box, visible, ignore)]
    except (TypeError, ValueError, OverflowError):
        row = []
    if not isinstance(box, list | tuple) or len(row) != 6 or not all(map(math.isfinite, row)) or not 0 <= row[4] <= 1:
        raise ValueError(f"{where} has the box {box!r} with the visible fraction {visible!r}; give four finite numbers "
                         "(left, top, width, height) and a fraction in 0..1")
    return row


def read_images(name: str, annotations: dict[str, tuple[Path, list[Annotated]]], size: Rectangle,
                advice: str) -> tuple[ImageSet, ImageSet]:
    """Read the annotated images of two splits, and scale their boxes with them.

    annotations  split -> the annotation file, and what it contains
    advice       how to get a missing image, for the error message
    """
    for file, annotated in annotations.values():
        missing = [image.file for image in annotated if not isfile(image.file)]   # False for impossible names, too
        if missing:
            raise FileNotFoundError(f"{name}: {len(missing)} of the {len(annotated)} images of {file} are missing, the "
                                    f"first is {missing[0]}; {advice}")
    parts = {}
    for split, (file, annotated) in annotations.items():
        images = torch.empty((len(annotated), 3, *size), dtype=torch.uint8)
        people = []
        for n, image in enumerate(bar(annotated, f"{name}: {file.name}")):
            rgb = read_rgb(image.file)
            if image.size is not None and image.size != (rgb.height, rgb.width):
                rows, cols = image.size
                raise ValueError(f"{name}: {image.file} is displayed with {rgb.height}x{rgb.width} pixels, but {file} "
                                 f"says {rows}x{cols}; put the image there that was annotated")
            canvas, boxes = _letterbox(rgb, to_array(image.people), *size)
            images[n] = torch.from_numpy(np.array(canvas)).permute(2, 0, 1)
            people.append(boxes)
        left_out = sum(len(image.people) for image in annotated) - sum(map(len, people))
        if left_out:
            warnings.warn(f"{name}: {left_out} boxes of {file} have no area within their image and are left out",
                          stacklevel=2)
        parts[split] = Part(images, people, str(file))
    return image_sets(name, parts)


def _letterbox(image: Image.Image, people: np.ndarray, rows: int, cols: int) -> tuple[Image.Image, np.ndarray]:
    """Scale an image to fit and centre it: 20x40 in 32x32 fills rows 8 to 24.  Boxes are clipped, then moved along."""
    scale = min(rows / image.height, cols / image.width)
    height, width = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    top, left = (rows - height) // 2, (cols - width) // 2
    canvas = Image.new("RGB", (cols, rows), MEAN_COLOUR)
    canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR), (left, top))
    full = np.array([image.width, image.height])
    start = people[:, :2].clip(0, full)
    end = (people[:, :2] + people[:, 2:4]).clip(0, full)
    has_area = (end > start).all(1)
    scales = np.array([width, height]) / full
    moved = np.hstack([start * scales + (left, top), (end - start) * scales, people[:, 4:]])
    return canvas, moved[has_area]
