"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), from torchvision's files or from Parquet shards."""
import re
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import calculate_md5, check_integrity

from posenc_lib.base.checks import check_choice, one_line, optional_packages
from posenc_lib.base.shapes import Labels, Pixels
from posenc_lib.data.files import Rectangle, decode, stack
from posenc_lib.data.imageset import ImageSet

URL = "https://www.cs.toronto.edu/~kriz/cifar.html"


class Variant(NamedTuple):
    """What differs between CIFAR-10 and CIFAR-100.

    dataset        torchvision's class
    label_columns  possible names of the label column in a Parquet file
    mean, std      as in the authors' code
    """
    dataset: type[CIFAR10]
    label_columns: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


VARIANTS = {
    "cifar10": Variant(CIFAR10, ("label",), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": Variant(CIFAR100, ("fine_label", "label"), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
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
    if any(shards.rglob("*.parquet")):
        parts = {split: _read_parquet(shards, split, variant.label_columns, size) for split in ("train", "test")}
    elif extracted.is_dir():
        parts = {split: _read_torchvision(name, root, split, size) for split in ("train", "test")}
    else:
        raise FileNotFoundError(
            f"{name}: neither {shards}/*.parquet nor {extracted} exists; to download it (archive MD5 "
            f"{variant.dataset.tgz_md5}), run: python -c \"from posenc_lib.data import cifar; "
            f"cifar.download('{name}', '{root}')\"")
    n_classes = int(parts["train"][1].max()) + 1
    classes = tuple(str(n) for n in range(n_classes))
    return tuple(ImageSet(name, split, images, labels, classes, variant.mean, variant.std)
                 for split, (images, labels) in parts.items())


def _read_torchvision(name: str, root: Path, split: str, size: Rectangle) -> tuple[Pixels, Labels]:
    dataset = VARIANTS[name].dataset
    try:
        part = dataset(root, train=split == "train")
    except RuntimeError:
        raise ValueError(f"{name}: files in {root / dataset.base_folder} are missing or do not have their published "
                         "MD5 sums; delete the folder and download it again") from None
    return stack(map(Image.fromarray, part.data), size), torch.tensor(part.targets)


def _read_parquet(folder: Path, split: str, label_columns: tuple[str, ...], size: Rectangle) -> tuple[Pixels, Labels]:
    """Shards named as on the Hugging Face hub, {split}-00000-of-00004.parquet, with an image and a label column."""
    shards = sorted(folder.rglob(f"{split}*.parquet"))
    totals = {int(match[1]) for shard in shards if (match := re.search(r"-of-(\d+)", shard.name))} or {len(shards)}
    if not shards or totals != {len(shards)}:
        raise FileNotFoundError(f"{folder.name}: {folder} has {len(shards)} of {max(totals) or 'the'} {split} "
                                "shards; download the missing ones")
    encoded: list[bytes] = []
    labels: list[int] = []
    for shard in shards:
        images, numbers = _columns(shard, folder.name, label_columns)
        encoded += images
        labels += numbers
    return decode(encoded, size, str(folder)), torch.tensor(labels)


def _columns(shard: Path, name: str, label_columns: tuple[str, ...]) -> tuple[list[bytes], list[int]]:
    """The encoded images of a shard, and their labels."""
    with optional_packages("parquet", f"{name}: a Parquet file"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        table = pq.read_table(shard)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}: {shard} is truncated or not a Parquet file ({reason}); download it again") from None
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
    images = table[image_column].combine_chunks().field("bytes").to_pylist()
    return images, table[label_column].to_pylist()
