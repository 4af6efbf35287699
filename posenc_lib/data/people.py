"""Image sets whose labels are boxes of people, behind one door as in `data`: `load(name, root)`.  For page 07.

Always there:         streets      drawn scenes, 1,200 to train on and the 120 test scenes of `data`
Under the data root:  camvid       its layout as in `data`, people from the label maps
                      citypersons  pictures in cityscapes/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png; people in
                                   citypersons/anno_{train,val}.mat, the benchmark's own, or where that is not there in
                                   citypersons/{train,val}.json or {train,val}_gt.json
                      any other name   NAME/{train,test}/*.jpg and NAME/{train,test}.json, `val` where there is no test
The json files have the COCO layout: images (id, file_name or im_name, width and height or neither) and annotations
(image_id, bbox; category_id, iscrowd, ignore and vis_ratio or not).

Labels are `shapes.Boxes`, float32 (image, person, 6) in pixels of the stored picture.  A row is

    left, top, width, height   of the full body, from the picture's left upper corner, hidden parts included
    visible                    share 0..1 of the person that is seen; 1 where a set does not say
    ignore                     1: neither to be found nor a mistake if found (riders, groups, crowds); else 0

and a picture's rows beyond its people are nan.  Every split has as many rows.  Pictures without people are kept.
A picture of another shape is scaled to fit, never cut, and centred on a canvas of the mean colour; boxes move along.
A box that reaches out of its picture is cut to it, and `visible` stays as annotated.  Boxes of no area in the picture
are left out, and one warning a file counts them.  All else that is wrong with a file is an error of one sentence.

Source of what is ignored: Zhang, Benenson, Schiele, "CityPersons", CVPR 2017: only class 1, pedestrians, counts.
"""
import json
import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from scipy.io import loadmat
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from posenc_lib.base.progress import bar
from posenc_lib.data import bundled, registry
from posenc_lib.data import files as data
from posenc_lib.data.imageset import IMAGENET, ImageSet, Splits, StandIn
from posenc_lib.run import inputs
from posenc_lib.run.config import Workspace

SCENES = range(1200)                          # seeds of the streets to train on: boxes say less than label maps
PEDESTRIAN = 1                                # of CityPersons' classes
COUNTED = ("person", "pedestrian")            # categories of a json file that are people to be found,
IGNORED = ("ignore", "ignore region", "rider", "sitting person", "other person", "people group", "group of people",
           "people", "crowd")                 # people or the like that are not; all others are passed over
MEAN = tuple(round(255 * colour) for colour in IMAGENET[0])
Row = list                                    # of numbers: left, top, width, height, visible, ignore
Part = tuple[Tensor, list[np.ndarray], str]   # pictures, people (person, 6) of each, and what they were read from


class Shot(NamedTuple):
    """A picture's file, its (rows, cols) where the annotations say them, and the people in it."""
    picture: Path
    shape: tuple[int, int] | None
    people: list[Row]


def load(name: str, root: Path | str, *, size: int | data.Rectangle | None = None) -> Splits:
    """Train and test images of a set, each with the boxes of its people; validation is empty.

    name    streets, camvid, citypersons, or a folder of pictures under `root` with its json files
    root    the data root; streets do not look at it
    size    (rows, cols) in pixels, or the side of square pictures; None is the set's own: streets (64, 128), camvid
            (180, 240), citypersons (512, 1024), folders 256
    FileNotFoundError or ValueError in one sentence when the set is missing, damaged or incomplete, or has nobody to
    find.  The test of citypersons is its val, for its own test has no public labels.
    """
    root = Path(root)
    if name == "streets":
        parts = _streets(*data.sides_of(name, size, (64, 128)))
    elif name == "camvid":
        parts = _camvid(root, data.sides_of(name, size, (180, 240)))
    elif name == "citypersons":
        parts = _citypersons(root, data.sides_of(name, size, (512, 1024)))
    else:
        parts = _folder(name, root, data.sides_of(name, size, 256))
    for split, (_, people, source) in parts.items():
        if not any((rows[:, 5] == 0).any() for rows in people):
            raise ValueError(f"{name}: nobody is to be found in the {len(people)} {split} pictures of {source}; give "
                             "pictures with people who are not to be ignored")
    return _splits(name, parts)


def _splits(name: str, parts: dict[str, Part]) -> Splits:
    """Every split with as many rows of boxes; validation is empty."""
    boxes = pad_sequence([torch.from_numpy(rows).float() for _, people, _ in parts.values() for rows in people],
                         batch_first=True, padding_value=math.nan).split([len(part[0]) for part in parts.values()])
    train, test = (ImageSet(name, split, images, labels, ("person",), *IMAGENET)
                   for (split, (images, _, _)), labels in zip(parts.items(), boxes, strict=True))
    return Splits(train, train.take(torch.arange(0), "validation"), test)


def load_for(workspace: Workspace, name: str, **options) -> Splits:
    """`load` for a page, as `data.load_for`; a few streets stand in for a set that is not here."""
    return inputs.load_for(workspace, name, loader=load, instead=_stand_in, **options)


def _stand_in(name: str, *, size: int | data.Rectangle | None = None) -> StandIn:
    return StandIn(*_splits("streets", _streets(*data.sides_of(name, size, (64, 128)), **bundled.FEW)))


def unit(name: str, rows: int) -> float:
    """Pixels of a picture `rows` high that make one of CityPersons' pixels, whose pictures have 1024 rows.

    Three times as many on streets, where people stand nearer: nearly all are 120 to 535 of 1024 rows high, in
    CityPersons most are 40 to 200.
    """
    return rows / 1024 * (3 if name == "streets" else 1)


def _streets(rows: int, cols: int, **seeds: range) -> dict[str, Part]:
    """Scenes, their riders to be ignored; the test ones, and the first 400 to train on, are those of `data`."""
    seeds = {"train": SCENES} | seeds
    return {split: (images, [_array([[*p.box, p.visible, p.kind != "person"] for p in s.people]) for s in scenes],
                    "streets") for split, scenes, images in bundled.scenes_of(rows, cols, **seeds)}


def _camvid(root: Path, size: data.Rectangle) -> dict[str, Part]:
    """The pictures of `data`; a box around each connected component, also by corners, of pedestrian in a label map.

    So people who overlap become one box, and one whom a pole cuts in two becomes two.  `visible` is 1 for all, for the
    maps do not say what is hidden.  To be ignored: components of bicyclist, and those lower than a 40th of the picture.
    """
    def people(labels: np.ndarray) -> np.ndarray:
        rows = []
        for kind in ("pedestrian", "bicyclist"):
            components, _ = ndimage.label(labels == data.CAMVID.index(kind), np.ones((3, 3)))
            for down, across in ndimage.find_objects(components):
                width, height = across.stop - across.start, down.stop - down.start
                ignore = kind == "bicyclist" or height < size[0] / 40
                rows.append([across.start, down.start, width, height, 1, ignore])
        return _array(rows)

    splits = registry.load("camvid", root, size=size, validation=0.0)
    return {part.split: (part.images, [people(labels) for labels in part.labels.numpy()], str(root / "camvid"))
            for part in (splits.train, splits.test)}


def _citypersons(root: Path, size: data.Rectangle) -> dict[str, Part]:
    """A .mat file is preferred, for it is the benchmark's own and has the visible boxes."""
    folder, listed = root / "citypersons", {}
    for split, ours in (("train", "train"), ("val", "test")):
        files = [folder / file for file in (f"anno_{split}.mat", f"{split}.json", f"{split}_gt.json")]
        file = next((f for f in files if f.is_file()), None)
        if file is None:
            raise FileNotFoundError(f"citypersons: none of {', '.join(f.name for f in files)} is in {folder}; put "
                                    "anno_train.mat and anno_val.mat there, from the folder annotations of "
                                    "https://github.com/cvgroup-njust/CityPersons")
        shots = _matlab(file, f"anno_{split}_aligned") if file == files[0] else _coco("citypersons", file)
        cities = root / "cityscapes" / "leftImg8bit" / split
        listed[ours] = file, [shot._replace(picture=cities / shot.picture.name.partition("_")[0] / shot.picture.name)
                              for shot in shots]
    return _read("citypersons", listed, size, "register at https://www.cityscapes-dataset.com, and unpack "
                 f"leftImg8bit_trainvaltest.zip in {root / 'cityscapes'}")


def _folder(name: str, root: Path, size: data.Rectangle) -> dict[str, Part]:
    folder, listed = root / name, {}
    if not folder.is_dir():
        raise FileNotFoundError(f"people: no image set {name!r}: it is none of streets, camvid, citypersons, and "
                                f"{folder} is no folder; put train/, train.json, test/ and test.json there, or give "
                                "another name or --data")
    for split in ("train", "test" if (folder / "test.json").is_file() else "val"):
        file = folder / f"{split}.json"
        if not file.is_file():
            raise FileNotFoundError(f"{name}: {file} is not there; put the boxes of the {split} pictures there, in the "
                                    "COCO layout")
        shots = [shot._replace(picture=folder / split / shot.picture) for shot in _coco(name, file)]
        listed["train" if split == "train" else "test"] = file, shots
    return _read(name, listed, size, "put every picture there")


def _array(people: list[Row]) -> np.ndarray:
    return np.array(people, np.float64).reshape(-1, 6)


def _row(name: str, at: str, box, visible, ignore) -> Row:
    """As numbers, each finite and `visible` in 0..1."""
    try:
        row = [float(number) for number in (*box, visible, ignore)]
    except (TypeError, ValueError, OverflowError):
        row = []
    if len(row) != 6 or not all(map(math.isfinite, row)) or not 0 <= row[4] <= 1:
        raise ValueError(f"{name}: {at} has the box {box!r}, of which the share {visible!r} is visible; give four "
                         "finite numbers (left, top, width, height) and a share in 0..1")
    return row


def _matlab(file: Path, variable: str) -> list[Shot]:
    """One of the benchmark's files: a cell of a struct a picture, its `bbs` (box, 10) unsigned whole numbers.

    A row of it is class, left, top, width, height, instance, and left, top, width, height of the visible part.
    """
    try:
        cell = np.atleast_1d(loadmat(file, simplify_cells=True)[variable])
        found = [(Path(one["im_name"]), np.asarray(one["bbs"], np.float64).reshape(-1, 10)) for one in cell]
    except Exception as error:   # scipy raises whatever comes up
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"citypersons: {file} cannot be read as the benchmark's {variable} ({reason}); download it "
                         "again") from None
    shots = []
    for picture, boxes in found:
        shots.append(Shot(picture, None, []))
        for n, (kind, left, top, width, height, _, _, _, *seen) in enumerate(boxes.tolist()):
            share = min(math.prod(seen) / (width * height), 1.0) if width and height else 0.0
            at, box = f"box {n} of {picture.name} in {file}", (left, top, width, height)
            shots[-1].people.append(_row("citypersons", at, box, share, kind != PEDESTRIAN))
    return shots


def _coco(name: str, file: Path) -> list[Shot]:
    """A json file of the COCO layout; without categories in it, every annotation is a person."""
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {file} cannot be read as JSON ({error}); put the whole file there") from None
    lists = [content.get(key) for key in ("images", "annotations")] if isinstance(content, dict) else [None]
    if not all(isinstance(entries, list) for entries in lists):
        raise ValueError(f"{name}: {file} has no lists named images and annotations; put boxes of the COCO layout "
                         "there")
    shots: dict[int | str, Shot] = {}
    at = "categories"
    try:
        kinds = {kind["id"]: str(kind["name"]).lower() for kind in content.get("categories") or ()}
        for n, image in enumerate(lists[0]):
            at = f"image {n}"
            if image["id"] in shots:
                raise ValueError(f"{name}: {file} has two images of the id {image['id']!r}; give each its own")
            shape = (image["height"], image["width"]) if "height" in image else None
            shots[image["id"]] = Shot(Path(image.get("im_name") or image["file_name"]), shape, [])
        for n, one in enumerate(lists[1]):
            at = f"annotation {n}"
            if one["image_id"] not in shots:
                raise ValueError(f"{name}: annotation {n} of {file} is of the image {one['image_id']!r}, which is not "
                                 "listed there; list it or take the annotation away")
            kind = kinds[one["category_id"]] if kinds else COUNTED[0]
            if kind in COUNTED + IGNORED:
                ignore = bool(kind in IGNORED or one.get("iscrowd") or one.get("ignore"))
                shots[one["image_id"]].people.append(
                    _row(name, f"annotation {n} of {file}", one["bbox"], one.get("vis_ratio", 1), ignore))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: {at} of {file} is not as in the COCO layout ({type(error).__name__}: {error}); "
                         "correct it") from None
    return list(shots.values())


def _read(name: str, listed: dict[str, tuple[Path, list[Shot]]], size: data.Rectangle, get: str) -> dict[str, Part]:
    """The pictures at `size`, people moved along, of (annotations, shots); `get` says how to come by a picture."""
    for file, shots in listed.values():
        missing = [shot.picture for shot in shots if not shot.picture.is_file()]
        if missing:
            raise FileNotFoundError(f"{name}: {len(missing)} of the {len(shots)} pictures of {file} are missing, the "
                                    f"first is {missing[0]}; {get}")
    parts = {}
    for split, (file, shots) in listed.items():
        images, people = torch.empty((len(shots), 3, *size), dtype=torch.uint8), []
        for n, (picture, shape, rows) in enumerate(bar(shots, f"{name}: {file.name}")):
            with data.opened(picture, str(picture)) as image:
                rgb = image.convert("RGB")
            if shape is not None and shape != (rgb.height, rgb.width):
                raise ValueError(f"{name}: {picture} is {rgb.height}x{rgb.width} pixels, and {file} says "
                                 f"{shape[0]}x{shape[1]}; put the picture there that its boxes were drawn on")
            canvas, moved = _fitted(rgb, _array(rows), *size)
            images[n] = torch.from_numpy(np.array(canvas)).permute(2, 0, 1)
            people.append(moved)
        left_out = sum(len(shot.people) for shot in shots) - sum(map(len, people))
        if left_out:
            warnings.warn(f"{name}: {left_out} boxes of {file} have no area in their picture and are left out",
                          stacklevel=2)
        parts[split] = images, people, str(file)
    return parts


def _fitted(picture: Image.Image, people: np.ndarray, rows: int, cols: int) -> tuple[Image.Image, np.ndarray]:
    """The whole picture in the middle of a canvas: 20x40 in 32x32 fills the rows 8 to 24.  Boxes cut, then moved."""
    scale = min(rows / picture.height, cols / picture.width)
    height, width = max(1, round(picture.height * scale)), max(1, round(picture.width * scale))
    top, left = (rows - height) // 2, (cols - width) // 2
    canvas = Image.new("RGB", (cols, rows), MEAN)
    canvas.paste(picture.resize((width, height), Image.Resampling.BILINEAR), (left, top))
    whole = np.array([picture.width, picture.height])
    first, last = people[:, :2].clip(0, whole), (people[:, :2] + people[:, 2:4]).clip(0, whole)
    there = (last > first).all(1)
    scales = np.array([width, height]) / whole
    moved = np.hstack([first * scales + (left, top), (last - first) * scales, people[:, 4:]])
    return canvas, moved[there]
