"""Page 05's methods on ImageNet, or on any folder of images by class, streamed from disk, in as many processes as
torchrun starts.  `python -m posenc_lib augshift --help` explains how to run it.
"""
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from posenc_lib.base.checks import one_line
from posenc_lib.base.draws import Draws
from posenc_lib.data import imageset
from posenc_lib.data.files import class_of, is_left_behind, list_files, read_rgb
from posenc_lib.data.imageset import IMAGENET, ImageSet
from posenc_lib.experiments import augshift
from posenc_lib.experiments.augshift import AugShiftConfig
from posenc_lib.run import records, training
from posenc_lib.run.config import CosineRecipe

CURVE = (8, 16, 32, 40, 48, 64)   # the shifts of supplement S2, in pixels
MARGIN = 16                       # true pixels on each side of a test image of 224, as in antialiased-cnns


@dataclass(frozen=True, kw_only=True)
class ImageNetConfig(AugShiftConfig):
    """As on page 05, with the side of the network's input in pixels."""
    size: int = 224


@dataclass(frozen=True)
class Streamed(imageset.Trainable, Dataset):
    """Images that `workers` processes read from files as needed, with the views of a method stacked into one tensor.

    A batch is (image, view, rgb, row, col), normalised, and labels (image,).  The random scale, mirroring and shifts of
    an image depend only on the epoch's seed and the image's index, not on the process or worker that reads it.
    """
    on_device = False

    folder: ImageFolder
    config: ImageNetConfig
    workers: int = 0
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.folder)

    def to(self, device: torch.device | str) -> "Streamed":
        return replace(self, device=device)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        number, seed = key
        image, label = self.folder[number]
        size, reach = self.config.size, self.config.shift
        with torch.random.fork_rng(devices=[]):   # torchvision's transforms draw from the global generator
            torch.manual_seed(seed * len(self) + number)
            pixels = v2.Compose([v2.RandomResizedCrop(size + 2 * reach, antialias=True), v2.RandomHorizontalFlip(),
                                 v2.PILToTensor()])(image)[None]
            draws = Draws(seed=int(torch.randint(2 ** 62, ())))
        seen = augshift.views(self.config, pixels, draws, fill="true", side=size)
        return torch.cat(seen), label

    def batches(self, indices: Iterable[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        keys = [[(number, seed) for number in index.tolist()] for index in indices]
        pinned = torch.device(self.device).type == "cuda"
        for pixels, labels in _read_batches(self, batch_sampler=keys, num_workers=self.workers, pin_memory=pinned):
            seen = pixels.flatten(0, 1).to(self.device, non_blocking=True)
            part = ImageSet("", "", seen, labels.repeat_interleave(pixels.shape[1]), (), *IMAGENET)
            yield part.normalise(seen).unflatten(0, pixels.shape[:2]), labels.to(self.device)


def _read_batches(images: Dataset, **options) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of a DataLoader with these options; ValueError, in one sentence, for an image that cannot be read."""
    try:
        yield from DataLoader(images, **options)
    except ValueError as error:   # one of a worker contains its traceback, and ends with the sentence
        raise ValueError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from None


@torch.no_grad()
def evaluate(net: torch.nn.Module, folder: ImageFolder, size: int, device: torch.device, *, workers: int = 0,
             batch: int = 250, everything: bool = True) -> dict[str, float]:
    """Top-1 accuracy on the centre crops of all test images, and consistency; each process evaluates its part, and the
    sums are added up.

    everything  Cons.8 and Cons.16 between true windows of a larger image, as in antialiased-cnns (Zhang, 2019), and the
                curve of supplement S2 with a black border; top-1 alone if False
    """
    margin = MARGIN * size // 224
    folder.transform = v2.Compose([v2.Resize(size + 2 * margin, antialias=True), v2.CenterCrop(size + 2 * margin),
                                   v2.PILToTensor()])
    shifts = [(n, "true") for n in (8, 16) if n <= margin] + [(n, "constant") for n in CURVE] if everything else []
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    own = list(range(rank, len(folder), processes))
    batches = _read_batches(torch.utils.data.Subset(folder, own), batch_size=batch, num_workers=workers)
    totals = torch.zeros(2 + len(shifts), dtype=torch.float64, device=device)
    for number, (pixels, labels) in enumerate(batches):
        part = ImageSet("", "", pixels, labels, (), *IMAGENET).to(device)
        centre = replace(part, images=part.images[..., margin:margin + size, margin:margin + size])
        unshifted = torch.zeros(len(part), 2, dtype=torch.long, device=device)
        scores = [1, (augshift.predict(net, centre, unshifted)[0] == part.labels).double().mean()]
        for reach, fill in shifts:
            images, side = (part, size) if fill == "true" else (centre, None)
            seed = number * processes + rank
            scores.append(augshift.consistency(net, images, reach, fill, side=side, seed=seed)["consistency"])
        totals += len(part) * torch.tensor(scores, dtype=torch.float64, device=device)
    if processes > 1:
        distributed.all_reduce(totals)
    top1, *consistencies = (totals[1:] / totals[0]).tolist()
    return {"top1": top1, **{f"consistency_{n}_{fill}": value
                             for (n, fill), value in zip(shifts, consistencies, strict=True)}}


class ImagesByClass(ImageFolder):
    """torchvision's ImageFolder, except that `data.files` says what is an image or a class, and decodes the images."""

    def __init__(self, root: Path):
        super().__init__(root, loader=read_rgb)

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        classes = [name for name in super().find_classes(directory)[0] if not is_left_behind(name)]
        if not classes:
            raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
        return classes, {name: n for n, name in enumerate(classes)}

    @staticmethod
    def make_dataset(directory: str, class_to_idx: dict[str, int], **_) -> list[tuple[str, int]]:
        labelled = [(file, class_of(file, Path(directory))) for file in list_files(Path(directory))]
        if empty := sorted(set(class_to_idx) - {label for _, label in labelled}):
            raise FileNotFoundError(f"Found no image of the classes {', '.join(empty)}.")
        return [(str(file), class_to_idx[label]) for file, label in labelled if label]


def open_folder(root: Path, split: str) -> ImagesByClass:
    """Open a folder of images by class; FileNotFoundError in one sentence if it does not exist or a class has no
    image."""
    try:
        return ImagesByClass(root / split)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"imagenet: {root / split} does not hold images by class ({error}); --data names the "
                                "folder of train/CLASS/*.jpg and val/CLASS/*.jpg") from None


def configure(root: Path, c: ImageNetConfig, epochs: int, batch_size: int, learning_rate: float) -> ImageNetConfig:
    """Complete `c` for the images under `root`: their fingerprint (of names and labels) and a recipe of full batches.

    FileNotFoundError or ValueError, in one sentence, for images, numbers, a method or a network that cannot work.
    """
    train, test = open_folder(root, "train"), open_folder(root, "val")
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(f"imagenet: train and val in {root} have different classes, such as "
                         f"{', '.join(differing[:3])}; give both the same class folders")
    if not 1 <= batch_size <= len(train):
        raise ValueError(f"imagenet: a batch size of {batch_size} does not fit {len(train)} training images; give 1 to "
                         f"{len(train)}")
    if epochs < 1 or c.shift < 0 or c.size < 1:
        raise ValueError(f"imagenet: {epochs} epochs, shifts of {c.shift} and images of {c.size} pixels are not "
                         "possible; give at least 1, 0 and 1")
    names = sorted((split, Path(file).name, label) for split, part in (("train", train), ("val", test))
                   for file, label in part.samples)
    recipe = CosineRecipe(epochs=epochs, epoch_steps=len(train) // batch_size, batch_size=batch_size, weight_decay=1e-4,
                          learning_rate=learning_rate, warmup=min(5, epochs - 1), flip=False)
    c = replace(c, data=sha256(repr(names).encode()).hexdigest()[:12], recipe=recipe)
    _check_network(c, len(train.classes))   # here, not hours later
    return c


def _check_network(c: ImageNetConfig, classes: int) -> None:
    """ValueError if the network cannot be built, or cannot train on images of `c.size` pixels."""
    with torch.device("meta"):
        augshift.build(c, classes)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    views = len(augshift.METHODS[c.method].views)
    images = torch.zeros(views * min(2, max(1, c.recipe.batch_size // processes)), 3, c.size, c.size)
    net = augshift.initialise(c, classes, seed=0).train()
    try:
        with torch.random.fork_rng(devices=[]):
            z, logits = net(images)
            augshift.objective(c, net, images.chunk(views), torch.zeros(len(images) // views, dtype=torch.long))
    except Exception as error:   # of timm's code, of any type
        raise ValueError(f"imagenet: {c.backbone} with {c.method} cannot train on images of {c.size} pixels: "
                         f"{one_line(error)}; choose another --size or --arch") from error
    if z.ndim != 2 or logits.shape != (len(images), classes):
        raise ValueError(f"imagenet: {c.backbone} gives latents of shape {tuple(z.shape)} and logits of shape "
                         f"{tuple(logits.shape)} for {len(images)} images; choose a --arch that gives (image, channel) "
                         f"and (image, {classes})")


def run(c: ImageNetConfig, seed: int, root: Path, workers: int, checkpoint: Path) -> dict:
    """Train and evaluate one network; every process returns the same results."""
    train, test = open_folder(root, "train"), open_folder(root, "val")
    net = augshift.initialise(c, len(train.classes), seed)

    def loss(net, images, labels, _):
        return augshift.objective(c, net, images.unbind(1), labels)

    def score(net, everything=False):
        device = next(net.parameters()).device
        return evaluate(net, test, c.size, device, workers=workers, everything=everything)

    history = training.fit(net, Streamed(train, c, workers), loss, c.recipe, seed=seed, evaluate=score,
                           checkpoint=checkpoint)
    return {**score(net, everything=True), "losses": [h["loss"] for h in history]}


def scores(path: Path) -> pd.DataFrame:
    """Top-1, Cons.8 and Cons.16 (true surroundings), in percent, of the runs of `run` in a records file.

    Columns: dataset, backbone, method, seed, recipe.epochs, measure ("top1", "cons8", "cons16"), value.  Page 05's own
    runs are in the same file and are skipped.
    """
    runs = [record for record in records.load(path) if record.config["class"] == ImageNetConfig.__name__]
    if not runs:
        return pd.DataFrame()
    names = {"top1": "top1", "consistency_8_true": "cons8", "consistency_16_true": "cons16"}
    frame = records.to_frame(runs)
    keys = ["dataset", "backbone", "method", "seed", "recipe.epochs"]
    frame = frame.melt(keys, [name for name in names if name in frame], "measure")
    return frame.assign(measure=frame["measure"].replace(names), value=100 * frame["value"])
