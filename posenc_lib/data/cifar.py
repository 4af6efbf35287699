"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), from torchvision's files or from Parquet shards."""
import re
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import calculate_md5, check_integrity

from posenc_lib.base.checks import check_choice, one_line, optional_packages
from posenc_lib.base.shapes import Labels, Pixels
from posenc_lib.data.files import Rectangle, list_files, read_rgb, stack
from posenc_lib.data.imageset import ImageSet

SIDE = 32   # of an image, in pixels
URL = "https://www.cs.toronto.edu/~kriz/cifar.html"


class Variant(NamedTuple):
    """What differs between CIFAR-10 and CIFAR-100.

    dataset        torchvision's class
    n_classes      its labels are 0 to n_classes - 1
    label_columns  possible names of the label column in a Parquet file
    mean, std      as in the authors' code
    """
    dataset: type[CIFAR10]
    n_classes: int
    label_columns: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


VARIANTS = {
    "cifar10": Variant(CIFAR10, 10, ("label",), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": Variant(CIFAR100, 100, ("fine_label", "label"), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def download(name: str, root: Path | str) -> None:
    """Download CIFAR-10 or CIFAR-100 to the data root with torchvision, which verifies the published MD5 sums.

    Raises OSError if the download fails, and ValueError if the archive is damaged; a damaged archive is deleted.
    """
    dataset = VARIANTS[check_choice("download", name, tuple(VARIANTS))].dataset
    archive = Path(root).expanduser() / dataset.filename
    try:
        for train in (True, False):
            dataset(root, train=train, download=True)
    except (OSError, HTTPException, RuntimeError) as error:   # torchvision raises RuntimeError for a wrong MD5 sum
        received = "nothing was received"
        if archive.is_file():
            received = f"{archive.stat().st_size} bytes with MD5 {calculate_md5(archive)} were received"
            if not check_integrity(archive, dataset.tgz_md5):
                archive.unlink()
        exception = ValueError if isinstance(error, RuntimeError) else OSError
        raise exception(f"{name}: the download of {dataset.url} failed ({one_line(error)}; {received}, but the "
                        f"archive's MD5 is {dataset.tgz_md5}); try again, or put the archive at {archive} yourself "
                        "and try again") from None


def read(name: str, root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """Training and test images of "cifar10" or "cifar100"."""
    variant = VARIANTS[name]
    shards, extracted = root / name, root / variant.dataset.base_folder
    if list_files(shards, (".parquet",)):
        parts = {split: _read_parquet(name, files, size) for split, files in _list_shards(name, shards).items()}
    elif extracted.is_dir():
        parts = {split: _read_torchvision(name, root, split, size) for split in ("train", "test")}
    else:
        raise FileNotFoundError(
            f"{name}: neither {shards}/*.parquet nor {extracted} exists; to download it (archive MD5 "
            f"{variant.dataset.tgz_md5}), run: python -c \"from posenc_lib.data import cifar; "
            f"cifar.download('{name}', '{root}')\"")
    classes = tuple(str(n) for n in range(int(max(labels.max() for _, labels in parts.values())) + 1))
    train, test = [ImageSet(name, split, images, labels, classes, variant.mean, variant.std)
                   for split, (images, labels) in parts.items()]
    return train, test


def _read_torchvision(name: str, root: Path, split: str, size: Rectangle) -> tuple[Pixels, Labels]:
    dataset = VARIANTS[name].dataset
    try:
        part = dataset(root, train=split == "train")
    except RuntimeError:
        raise ValueError(f"{name}: files in {root / dataset.base_folder} are missing or do not have their published "
                         "MD5 sums; delete the folder and download it again") from None
    return stack(map(Image.fromarray, part.data), size), torch.tensor(part.targets)


def _list_shards(name: str, folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of both splits, in order.

    As for the `datasets` library, a word in the name of a file, or else of a folder above it, names its split:
    train.parquet, train-00000-of-00004.parquet, plain_text/train/0000.parquet.  The folders above the first such word
    are the name of a configuration, of which there must be only one.
    """
    shards: dict[str, list[Path]] = {"train": [], "test": []}
    configurations = set()
    for file in list_files(folder, (".parquet",)):
        parts = file.relative_to(folder).parts
        words = [next((word for word in re.split("[^a-z]+", part.lower()) if word in shards), None) for part in parts]
        if named := [(n, word) for n, word in enumerate(words) if word]:
            (first, _), (_, split) = named[0], named[-1]
            shards[split].append(file)
            configurations.add("/".join(parts[:first]) or ".")
    if len(configurations) > 1:
        raise ValueError(f"{name}: {folder} has several configurations, {', '.join(sorted(configurations))}; keep the "
                         "files of one of them there")
    for split, files in shards.items():
        totals = {int(match[1]) for file in files if (match := re.search(r"-of-(\d+)", file.name))}
        if numbers := [int(file.stem) for file in files if file.stem.isdecimal()]:
            totals.add(max(numbers) + 1)
        if not files or len(files) < max(totals, default=0):
            raise FileNotFoundError(f"{name}: {folder} has {len(files)} of {max(totals, default='the')} {split} "
                                    "shards; download the missing ones")
        if totals - {len(files)}:
            raise ValueError(f"{name}: {folder} has {len(files)} {split} shards, but by their names there are "
                             f"{' or '.join(map(str, sorted(totals)))}; keep those of one version")
    return shards


def _read_parquet(name: str, shards: list[Path], size: Rectangle) -> tuple[Pixels, Labels]:
    encoded: list[tuple[bytes, str]] = []
    labels: list[int] = []
    for shard in shards:
        images, numbers = _columns(shard, name)
        encoded += [(image, f"row {n} of {shard}") for n, image in enumerate(images)]
        labels += numbers
    if not labels:
        raise ValueError(f"{name}: {shards[0]} has no rows; download it again")

    def decoded() -> Iterator[Image.Image]:
        for content, where in encoded:
            image = read_rgb(content, where)
            if image.size != (SIDE, SIDE):
                raise ValueError(f"{name}: {where} has {image.height}x{image.width} pixels, but images of {name} have "
                                 f"{SIDE}x{SIDE}; put those there")
            yield image
    return stack(decoded(), size), torch.tensor(labels)


def _columns(shard: Path, name: str) -> tuple[list[bytes], list[int]]:
    """The encoded images of a shard, and their labels."""
    with optional_packages("parquet", f"{name}: a Parquet file"):
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    try:
        table = pq.read_table(shard, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name}: {shard} is truncated or not a Parquet file ({one_line(error)}); download it "
                         "again") from None
    n_classes, label_columns = VARIANTS[name].n_classes, VARIANTS[name].label_columns
    image_column = next((column for column in ("img", "image") if column in table.column_names), None)
    label_column = next((column for column in label_columns if column in table.column_names), None)
    if image_column is None or label_column is None:
        raise ValueError(f"{name}: {shard} has the columns {', '.join(table.column_names)}; it needs img or image, and "
                         f"{' or '.join(label_columns)}")
    image_type, label_type = table.schema.field(image_column).type, table.schema.field(label_column).type
    has_bytes = pa.types.is_struct(image_type) and image_type.get_field_index("bytes") >= 0
    if not (has_bytes and pa.types.is_integer(label_type)):
        raise ValueError(f"{name}: {shard} has {image_column} as {image_type} and {label_column} as {label_type}; it "
                         "needs encoded images as struct<bytes: binary, path: string>, and integer labels")
    images = pc.struct_field(table[image_column], "bytes").to_pylist()
    labels = table[label_column].to_pylist()
    for n, (image, label) in enumerate(zip(images, labels, strict=True)):
        if image is None:
            raise ValueError(f"{name}: row {n} of {shard} has no bytes of an image; save the images in the table, not "
                             "only their paths")
        if label is None or not 0 <= label < n_classes:
            raise ValueError(f"{name}: row {n} of {shard} has the label {label}, but those of {name} are 0 to "
                             f"{n_classes - 1}; put images with labels there")
    return images, labels
