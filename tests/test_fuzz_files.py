"""Damaged images, COCO files and Parquet tables: what is in them, or one sentence that names them; never a traceback.

HYPOTHESIS_PROFILE=thorough tries a thousand of each; --hypothesis-show-statistics counts what is read and refused.
"""
import io
import json
import re
import warnings
from copy import deepcopy

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from posenc_lib.data import files, registry

fuzzed = settings(max_examples=settings.default.max_examples * 10 // 3, deadline=None,
                  suppress_health_check=[HealthCheck.function_scoped_fixture])
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 28, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)


# ------------------------------------------------------------------------------------------ damage to bytes

def flip(content: bytes, at: int, more: bytes) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << more[0] % 8]) + content[at + 1:]


def overwrite(content: bytes, at: int, more: bytes) -> bytes:
    return content[:at] + more + content[at + len(more):]


def insert(content: bytes, at: int, more: bytes) -> bytes:
    return content[:at] + more + content[at:]


def remove(content: bytes, at: int, more: bytes) -> bytes:
    return content[:at] + content[at + more[0] % 40 + 1:]


def cut(content: bytes, at: int, more: bytes) -> bytes:
    return content[:at]


NUMBERS = [b"\0", b"\xff", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80", b"99999", b"-1"]
PLACES = st.integers(0, 10_000) | st.integers(0, 80) | st.integers(-80, -1)   # headers are at the start or at the end
DAMAGE = st.lists(st.tuples(st.sampled_from([flip, overwrite, insert, remove, cut]), PLACES,
                            st.sampled_from(NUMBERS) | st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


def damaged(content: bytes, changes) -> bytes:
    for change, at, more in changes:
        if content:
            content = change(content, at % len(content), more)
    return content


# ------------------------------------------------------------------------------------------ images

def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[ExifTags.Base.Orientation] = 6
FRAMES = {"save_all": True, "append_images": [IMAGE.transpose(Image.Transpose.ROTATE_180)]}
SOUND = {
    "PNG": [encoded(IMAGE, "PNG", exif=EXIF), encoded(IMAGE.quantize(9), "PNG", transparency=bytes(range(9))),
            encoded(Image.fromarray(PIXELS[..., 0] * np.uint16(257)), "PNG")],
    "JPEG": [encoded(IMAGE, "JPEG", exif=EXIF), encoded(IMAGE.convert("CMYK"), "JPEG"),
             encoded(IMAGE, "JPEG", progressive=True)],
    "GIF": [encoded(IMAGE, "GIF"), encoded(IMAGE, "GIF", **FRAMES)],
    "TIFF": [encoded(IMAGE, "TIFF", exif=EXIF), encoded(IMAGE, "TIFF", compression="tiff_lzw"),
             encoded(IMAGE.convert("1"), "TIFF", compression="group4"), encoded(IMAGE.convert("F"), "TIFF")],
    "WebP": [encoded(IMAGE, "WebP", exif=EXIF), encoded(IMAGE, "WebP", lossless=True),
             encoded(IMAGE, "WebP", **FRAMES)],
    "BMP": [encoded(IMAGE, "BMP"), encoded(IMAGE.quantize(9), "BMP"), encoded(IMAGE.convert("1"), "BMP")],
    "PPM": [encoded(IMAGE, "PPM"), encoded(IMAGE.convert("1"), "PPM"), b"P2 4 3 65535\n" + b" 777" * 12],
}


@pytest.mark.filterwarnings("ignore")   # Pillow's, of what it mends itself
@pytest.mark.parametrize("kind", SOUND)
@fuzzed
@given(st.data())
def test_a_damaged_image_is_read_or_refused_in_one_sentence(kind, data):
    content = damaged(data.draw(st.sampled_from(SOUND[kind])), data.draw(DAMAGE))
    try:
        image = files.read_rgb(content, "row 1 of it")
    except ValueError as error:
        assert re.fullmatch(r"data: row 1 of it (cannot be read as an image|is too large|has|is 32-bit) [^\n]+; "
                            r"[^;\n]+", str(error)), error
        event("refused")
    else:
        event("read")
        assert image.mode == "RGB" and files.stack([image], (8, 8)).shape == (1, 3, 8, 8)


# ------------------------------------------------------------------------------------------ COCO

COCO = {"info": {"year": 2024}, "licenses": [],
        "images": [{"id": 1, "file_name": "1.png", "width": 28, "height": 24}, {"id": 5, "file_name": "2.png"}],
        "categories": [{"id": 3, "name": "person", "supercategory": "none"}, {"id": 4, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 10, 12], "area": 120, "iscrowd": 0,
                         "segmentation": [[1, 2, 11, 2, 11, 14]]},
                        {"id": 2, "image_id": 5, "category_id": 3, "bbox": [0.5, 3, 8, 9.5], "vis_ratio": 0.5},
                        {"id": 3, "image_id": 5, "category_id": 4, "bbox": [0, 0, 5, 5]}]}
ODD = st.sampled_from([None, True, False, "", "0", "1", "person", "1.png", [], {}, [[]], -1, 0, 1, 5, 3.0, 0.5, -0.0,
                       float("nan"), float("inf"), 1e308, -1e308, 10 ** 400, "\ud800", "a" * 300, "../2.png", "/", ".",
                       {"id": 1}, [1, 2, 3], ["1", "2", "3", "4"], {"counts": "a", "size": [2, 2]}, "http://a/1.png"])


def inside(content) -> list[tuple]:
    """The places of all values in a JSON document: (container, key)."""
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    return [place for key in keys for place in ((content, key), *inside(content[key]))]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    for split in ("train", "val"):
        (root / "mine" / split).mkdir(parents=True)
        for name in ("1.png", "2.png"):
            IMAGE.save(root / "mine" / split / name)
        (root / "mine" / f"{split}.json").write_text(json.dumps(COCO))
    return root


def is_read_or_refused(root) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "mine: .* boxes of .* have no area")
            boxes = registry.load("mine", root, boxes=True, size=24, validation=0.0).train.labels
    except (ValueError, FileNotFoundError) as error:
        assert re.fullmatch(rf"(mine|data): [^\n]*{root}/mine/(train|val)[^\n]*; [^\n]+", str(error)), error
        event("refused")
    else:
        event("read")
        found = boxes[~boxes[..., 0].isnan()]
        assert found.isfinite().all() and (found[:, 2:4] > 0).all() and len(found)
        assert (found[:, :2] >= 0).all() and (found[:, :2] + found[:, 2:4] <= 24.001).all()


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(["replace", "replace", "remove", "repeat"]), st.integers(0, 200), ODD),
                min_size=1, max_size=3))
def test_a_coco_file_of_odd_values_is_read_or_refused_in_one_sentence(people, changes):
    content = deepcopy(COCO)
    for change, place, odd in changes:
        places = inside(content)
        container, key = places[place % len(places)]
        if change == "replace":
            container[key] = deepcopy(odd)
        elif change == "remove":
            del container[key]
        elif isinstance(container, list):
            container.insert(key, deepcopy(container[key]))
    (people / "mine" / "train.json").write_text(json.dumps(content))
    is_read_or_refused(people)


@fuzzed
@given(DAMAGE)
def test_a_damaged_coco_file_is_read_or_refused_in_one_sentence(people, changes):
    (people / "mine" / "train.json").write_bytes(damaged(json.dumps(COCO).encode(), changes))
    is_read_or_refused(people)


# ------------------------------------------------------------------------------------------ Parquet

def table(**options) -> bytes:
    image = encoded(Image.fromarray(PIXELS // 32 * 32).resize((32, 32)), "PNG")
    rows = pa.table({"img": pa.array([{"bytes": image, "path": f"{n}.png"} for n in range(6)]), "label": [0, 1, 2] * 2})
    file = io.BytesIO()
    pq.write_table(rows, file, **options)
    return file.getvalue()


TABLES = [table(), table(compression="none"), table(compression="zstd"), table(use_dictionary=False),
          table(data_page_version="2.0", compression="gzip")]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    (root / "cifar10").mkdir()
    (root / "cifar10" / "test.parquet").write_bytes(TABLES[0])
    return root


@fuzzed
@given(st.sampled_from(TABLES), DAMAGE)
def test_a_damaged_table_is_read_or_refused_in_one_sentence(shards, content, changes):
    (shards / "cifar10" / "train.parquet").write_bytes(damaged(content, changes))
    try:
        train = registry.load("cifar10", shards, validation=0.0).train
    except ValueError as error:
        assert re.fullmatch(r"(cifar10|data): [^\n]*train\.parquet[^\n]*; [^\n]+", str(error)), error
        event("refused")
    else:
        event("read")
        assert train.images.shape[1:] == (3, 32, 32) and train.labels.min() >= 0 and train.labels.max() < 10
