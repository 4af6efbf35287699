"""CityPersons (Zhang, Benenson, Schiele, CVPR 2017): boxes of people in the images of Cityscapes.

Boxes come from citypersons/anno_{train,val}.mat, the benchmark's own files, or else from citypersons/{train,val}.json
or {train,val}_gt.json in the layout of COCO.  As in the benchmark, only class 1, pedestrians, is to be detected, and
the rest is ignored.  Its validation images are the test set here, since the labels of its own test set are not public.
"""
import math
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from posenc_lib.data import cityscapes
from posenc_lib.data.coco import read_boxes
from posenc_lib.data.files import Rectangle
from posenc_lib.data.imageset import ImageSet
from posenc_lib.data.people import Annotated, checked_row, read_images

URL = "https://github.com/cvgroup-njust/CityPersons"
PEDESTRIAN = 1


def read(root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """Training and test images; a .mat file is preferred, since only it has the boxes of the visible parts."""
    folder = root / "citypersons"
    annotations = {}
    for split in ("train", "val"):
        files = [folder / file for file in (f"anno_{split}.mat", f"{split}.json", f"{split}_gt.json")]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise FileNotFoundError(f"citypersons: {folder} has none of {', '.join(file.name for file in files)}; put "
                                    f"anno_train.mat and anno_val.mat there, from the folder annotations of {URL}")
        annotated = (_read_matlab(file, f"anno_{split}_aligned") if file.suffix == ".mat" else
                     read_boxes("citypersons", file))
        images = root / "cityscapes" / "leftImg8bit" / split
        annotated = [image._replace(file=images / _city(image.file) / image.file.name) for image in annotated]
        annotations["train" if split == "train" else "test"] = file, annotated
    return read_images("citypersons", annotations, size, f"register at {cityscapes.URL}, and unpack "
                       f"leftImg8bit_trainvaltest.zip in {root / 'cityscapes'}")


def _city(file: Path) -> str:
    return file.name.partition("_")[0]


def _read_matlab(file: Path, variable: str) -> list[Annotated]:
    """One of the benchmark's files: a cell array with a struct per image, whose `bbs` is an array (box, 10).

    A row is class, left, top, width, height, instance, and left, top, width, height of the visible part.
    """
    try:
        cells = np.atleast_1d(loadmat(file, simplify_cells=True)[variable])
        tables = [(Path(cell["im_name"]), np.asarray(cell["bbs"], np.float64).reshape(-1, 10)) for cell in cells]
    except Exception as error:   # scipy raises many kinds for a damaged file
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"citypersons: {file} cannot be read as the benchmark's {variable} ({reason}); download it "
                         "again") from None
    annotated = []
    for image, table in tables:
        people = []
        for n, (kind, left, top, width, height, _, _, _, *visible_size) in enumerate(table.tolist()):
            visible = min(math.prod(visible_size) / (width * height), 1.0) if width and height else 0.0
            where = f"citypersons: box {n} of {image.name} in {file}"
            people.append(checked_row(where, (left, top, width, height), visible, kind != PEDESTRIAN))
        annotated.append(Annotated(image, None, people))
    return annotated
