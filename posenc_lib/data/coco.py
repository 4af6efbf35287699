"""Boxes of people from JSON files in the layout of COCO (Lin et al., ECCV 2014).

A file has the lists images (id; file_name or im_name; optionally width and height), annotations (image_id, bbox;
optionally category_id, iscrowd, ignore and vis_ratio) and optionally categories (id, name).  The ids of annotations are
not used, so they need not differ.  A file is read here rather than with pycocotools, which does not check it and fails
on a damaged one without naming the entry.
"""
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posenc_lib.base.checks import one_line
from posenc_lib.data.files import Rectangle
from posenc_lib.data.imageset import ImageSet
from posenc_lib.data.people import Annotated, checked_row, read_images

DETECTED = ("person", "pedestrian")   # categories of people to detect; categories in neither tuple are skipped
IGNORED = ("ignore", "ignore region", "rider", "sitting person", "other person", "people group", "group of people",
           "people", "crowd")


def read_folder(name: str, root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """NAME/{train,test}/*.jpg with the boxes of NAME/{train,test}.json; `val` if there is no test.json."""
    folder = root / name
    annotations = {}
    for split in ("train", "test" if (folder / "test.json").is_file() else "val"):
        file = folder / f"{split}.json"
        if not file.is_file():
            raise FileNotFoundError(f"{name}: {file} does not exist; put the boxes of the {split} images there, in the "
                                    "layout of COCO")
        annotated = [image._replace(file=folder / split / image.file) for image in read_boxes(name, file)]
        annotations["train" if split == "train" else "test"] = file, annotated
    return read_images(name, annotations, size, "put every image there")


def read_boxes(name: str, file: Path) -> list[Annotated]:
    """The images of a JSON file with their boxes; without categories, every annotation is a person.

    ValueError, which names the entry, for a file that does not say which boxes are people to detect.
    """
    content = _read_json(name, file)
    categories = _read_categories(name, file, content)
    images: dict[int | str, Annotated] = {}
    for n, image in enumerate(content["images"]):
        with _entry(f"{name}: image {n} of {file}") as where:
            if image["id"] in images:
                raise ValueError(f"{name}: {file} has two images with the id {image['id']!r}; give each its own")
            size = image.get("height"), image.get("width")
            if size != (None, None) and not all(isinstance(side, int | float) for side in size):
                raise ValueError(f"{where} has the height {size[0]!r} and the width {size[1]!r}; give both as numbers "
                                 "of pixels, or neither")
            images[image["id"]] = Annotated(Path(image.get("im_name") or image["file_name"]),
                                            None if size == (None, None) else size, [])
    for n, annotation in enumerate(content["annotations"]):
        with _entry(f"{name}: annotation {n} of {file}") as where:
            if annotation["image_id"] not in images:
                raise ValueError(f"{where} belongs to the image {annotation['image_id']!r}, which is not listed there; "
                                 "list the image or remove the annotation")
            kind = annotation.get("category_id")
            if kind not in categories:
                raise ValueError(f"{where} has the category {kind!r}, which is not listed there; list the category or "
                                 "remove the annotation")
            if categories[kind] in DETECTED + IGNORED:
                marked = [_flag(where, annotation, key) for key in ("iscrowd", "ignore")]
                row = checked_row(where, annotation["bbox"], annotation.get("vis_ratio", 1),
                                  categories[kind] in IGNORED or any(marked))
                images[annotation["image_id"]].people.append(row)
    return list(images.values())


@contextmanager
def _entry(where: str) -> Iterator[str]:
    """Read the entry at `where` of a file inside; what is missing or of another type is a ValueError that names it."""
    try:
        yield where
    except KeyError as error:
        advice = "; pycocotools.mask.toBbox gives that of a segmentation" if error.args == ("bbox",) else ""
        raise ValueError(f"{where} has no {error}; add it{advice}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{where} is not in the layout of COCO ({one_line(error)}); correct it") from None


def _read_categories(name: str, file: Path, content: dict) -> dict[int | str | None, str]:
    """The names of the categories in lower case, by id; without a list, the only category is that of people."""
    categories = {}
    with _entry(f"{name}: the list of categories of {file}") as where:
        for category in content.get("categories") or ():
            if category["id"] in categories:
                raise ValueError(f"{where} has two with the id {category['id']!r}; give each its own")
            categories[category["id"]] = str(category["name"]).strip().lower()
        if categories and not set(DETECTED) & set(categories.values()):
            raise ValueError(f"{where} has {', '.join([*categories.values()][:5])}, but none of {', '.join(DETECTED)}; "
                             f"name the category of the people to detect {DETECTED[0]}")
    if categories:
        return categories
    with _entry(f"{name}: the list of annotations of {file}"):
        used = {annotation.get("category_id") for annotation in content["annotations"]}
    if len(used) > 1:
        raise ValueError(f"{name}: {file} has annotations of {len(used)} categories, but no list of categories that "
                         "says which of them is a person; add it")
    return dict.fromkeys(used, DETECTED[0])


def _flag(where: str, annotation: dict, key: str) -> bool:
    value = annotation.get(key)
    if value not in (None, 0, 1):
        raise ValueError(f"{where} has {key} {value!r}; give 0 or 1")
    return bool(value)


def _read_json(name: str, file: Path) -> dict:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {file} cannot be read as JSON ({error}); put the complete file there") from None
    lists = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in lists):
        raise ValueError(f"{name}: {file} has no lists called images and annotations; put a file in the layout of COCO "
                         "there")
    return content
