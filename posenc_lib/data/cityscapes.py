"""Cityscapes (Cordts et al., CVPR 2016): 19 classes by torchvision's list, fine annotations.

Its validation images are the test set here, since the labels of its own test set are not public.  At the default size
of 512x1024, half of the original, its 3,475 images take 5.5 GB of memory and their label maps 14.6 GB; at full size
they take 22 GB and 58 GB.
"""
from pathlib import Path

from torchvision.datasets import Cityscapes

from posenc_lib.data.files import Rectangle, list_files
from posenc_lib.data.imageset import VOID, ImageSet
from posenc_lib.data.label_maps import Pair, read_pairs

URL = "https://www.cityscapes-dataset.com"
_EVALUATED = sorted((c for c in Cityscapes.classes if c.train_id not in (-1, 255)), key=lambda c: c.train_id)
CLASSES = tuple(c.name for c in _EVALUATED)   # in the order of their train_id
LABELS = {c.id % 256: c.train_id if c in _EVALUATED else VOID for c in Cityscapes.classes}   # by the id in a file


def read(root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """Training and test images, labelled by train_id; ids that Cityscapes does not evaluate are `VOID`."""
    pairs = {split: _list_pairs(root / "cityscapes", split) for split in ("train", "val")}
    return read_pairs("cityscapes", pairs, size, LABELS, CLASSES)


def _list_pairs(folder: Path, split: str) -> list[Pair]:
    """The image and label map files of a split, sorted by path."""
    advice = (f"register at {URL}, and unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip in {folder}")
    images, maps = folder / "leftImg8bit" / split, folder / "gtFine" / split
    for part in (images, maps):
        if not part.is_dir():
            raise FileNotFoundError(f"cityscapes: {part} is not a folder; {advice}")
    ending = "_leftImg8bit.png"
    pairs = [(file, maps / file.parent.relative_to(images) / file.name.replace(ending, "_gtFine_labelIds.png"))
             for file in list_files(images) if file.name.endswith(ending)]
    if not pairs:
        raise FileNotFoundError(f"cityscapes: {images} has no CITY/*{ending}; {advice}")
    missing = [label_map for _, label_map in pairs if not label_map.is_file()]
    if missing:
        raise FileNotFoundError(f"cityscapes: {len(missing)} of {len(pairs)} {split} images have no label map, the "
                                f"first is {missing[0]}; {advice}")
    return pairs
