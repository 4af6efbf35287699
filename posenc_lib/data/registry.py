"""Every image set by its name: `load(name, root)` gives train, validation and test as tensors."""
from pathlib import Path

import torch

from posenc_lib.data import bundled
from posenc_lib.data.files import CIFAR, Rectangle, _camvid, _cifar, _cityscapes, _folder, _side, sides_of
from posenc_lib.data.imageset import SPLIT_SEED, Splits, StandIn

NAMES = ("digits", "photos", "digits_on_photos", "streets", *CIFAR, "camvid", "cityscapes")


def load(name: str, root: Path | str, *, size: int | Rectangle | None = None, validation: float = 0.1) -> Splits:
    """Train, validation and test images of a set.

    name        digits, photos, digits_on_photos, streets, cifar10, cifar100, camvid, cityscapes, or a folder of images
                under `root`
    root        the data root; the embedded sets do not look at it
    size        pixels: the side of the square images, or (rows, cols), which digits, photos, digits_on_photos and CIFAR
                refuse.
                An image from a file is scaled to cover that, and its centre cut out; a label map likewise, not blurred.
                None is the set's own: digits 16, photos and digits_on_photos 64, streets (64, 128), CIFAR 32,
                cityscapes (512, 1024), camvid and folders 224
    validation  part of the training images kept apart to choose with, 0 for none; drawn with a fixed seed
    FileNotFoundError or ValueError in one sentence when the set is missing, damaged or incomplete.

    Cityscapes' val is the test here, for its own test has no public labels.  At (512, 1024) its 3,475 pictures take
    5.5 GB of memory and their maps 14.6 GB; at the full (1024, 2048) it is 22 GB and 58 GB.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"data: validation={validation} of the training images; give a part in [0, 1)")
    root = Path(root)
    if name == "digits":
        train, test = bundled.digits(_side(name, size, 16))
    elif name == "photos":
        train, test = bundled.photos(_side(name, size, 64))
    elif name == "digits_on_photos":
        train, test = bundled.digits_on_photos(_side(name, size, 64))
    elif name == "streets":
        train, test = bundled.street_scenes(*sides_of(name, size, (64, 128)))
    elif name in CIFAR:
        train, test = _cifar(name, root, None if size is None else (_side(name, size, 32),) * 2)
    elif name == "camvid":
        train, test = _camvid(root, sides_of(name, size, 224))
    elif name == "cityscapes":
        train, test = _cityscapes(root, sides_of(name, size, (512, 1024)))
    elif not (root / name).is_dir():
        raise FileNotFoundError(
            f"data: no image set {name!r}: it is none of {', '.join(NAMES)}, and {root / name} is no "
            "folder; put images under its train/ and test/, or give another name or --data"
        )
    else:
        train, test = _folder(name, root, sides_of(name, size, 224))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    n = round(validation * len(train))
    return Splits(train.take(order[n:].sort().values), train.take(order[:n].sort().values, "validation"), test)


def stand_in(name: str, *, size: int | Rectangle | None = None, validation: float = 0.1) -> StandIn:
    """Embedded images, as large as those of a set that is not here: digits for CIFAR, a few streets for label maps,
    photographs for a folder.  Nothing of them is held out."""
    if name in CIFAR:
        train, test = bundled.digits(_side(name, size, 32))
    elif name in ("camvid", "cityscapes"):
        train, test = bundled.street_scenes(*sides_of(name, size, 224), **bundled.FEW)
    else:
        train, test = bundled.photos(min(sides_of(name, size, 112)))
    return StandIn(train, train.take(slice(0, 0), "validation"), test)
