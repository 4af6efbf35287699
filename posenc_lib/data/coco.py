"""Boxes of people from JSON files in the layout of COCO (Lin et al., ECCV 2014).

A file has the lists images (id; file_name or im_name; optionally width and height), annotations (image_id, bbox;
optionally category_id, iscrowd, ignore and vis_ratio) and optionally categories (id, name).  It is read here rather
than with pycocotools, which does not check a file and fails on a damaged one without naming the entry.
"""
import json
from pathlib import Path

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
    """The images of a JSON file with their boxes; without categories, every annotation is a person."""
    content = _read_json(name, file)
    images: dict[int | str, Annotated] = {}
    entry = "categories"
    try:
        categories = {category["id"]: str(category["name"]).lower() for category in content.get("categories") or ()}
        for n, image in enumerate(content["images"]):
            entry = f"image {n}"
            if image["id"] in images:
                raise ValueError(f"{name}: {file} has two images with the id {image['id']!r}; give each its own")
            size = (image["height"], image["width"]) if "height" in image else None
            images[image["id"]] = Annotated(Path(image.get("im_name") or image["file_name"]), size, [])
        for n, annotation in enumerate(content["annotations"]):
            entry = f"annotation {n}"
            if annotation["image_id"] not in images:
                raise ValueError(f"{name}: {entry} of {file} belongs to the image {annotation['image_id']!r}, which is "
                                 "not listed there; list the image or remove the annotation")
            category = categories[annotation["category_id"]] if categories else "person"
            if category in DETECTED + IGNORED:
                ignore = category in IGNORED or bool(annotation.get("iscrowd") or annotation.get("ignore"))
                visible = annotation.get("vis_ratio", 1)
                row = checked_row(name, f"{entry} of {file}", annotation["bbox"], visible, ignore)
                images[annotation["image_id"]].people.append(row)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name}: {entry} of {file} is not in the layout of COCO ({type(error).__name__}: {error}); "
                         "correct it") from None
    return list(images.values())


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
