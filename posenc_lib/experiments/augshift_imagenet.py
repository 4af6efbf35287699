"""Page 05's methods on ImageNet, or on any folder of images by class, read as they are needed; over as many processes
as torchrun starts.  `python -m posenc_lib augshift --help` says how it is run.
"""
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from posenc_lib.base.draws import Draws
from posenc_lib.data import imageset
from posenc_lib.data.imageset import IMAGENET, ImageSet
from posenc_lib.experiments import augshift
from posenc_lib.experiments.augshift import AugShiftConfig
from posenc_lib.run import training
from posenc_lib.run.config import CosineRecipe

CURVE = (8, 16, 32, 40, 48, 64)   # of supplement S2, in pixels
MARGIN = 16                       # true pixels on each side of a test image of 224, as antialiased-cnns has them


@dataclass(frozen=True, kw_only=True)
class ImageNetConfig(AugShiftConfig):
    """As on page 05; size is the pixels a side of what the network sees."""
    size: int = 224


@dataclass(frozen=True)
class Streamed(imageset.Trainable, Dataset):
    """Images read from files as they are needed, by `workers` processes; what a method sees of them, as one tensor.

    A batch is (image, view, rgb, row, col), normalised, and labels (image,).  The random scale, the mirror and the
    windows of an image depend on the epoch's seed and its number alone, not on which process or worker reads it.
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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * len(self) + number)
            pixels = v2.Compose([v2.RandomResizedCrop(size + 2 * reach, antialias=True), v2.RandomHorizontalFlip(),
                                 v2.PILToTensor()])(image)[None]
            draws = Draws(seed=int(torch.randint(2 ** 62, ())))
        seen = augshift.views(self.config, pixels, draws, fill="true", side=size)
        return torch.cat(seen), label

    def batches(self, indices: Iterable[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        keys = [[(number, seed) for number in index.tolist()] for index in indices]
        loader = DataLoader(self, batch_sampler=keys, num_workers=self.workers, persistent_workers=False,
                            pin_memory=torch.device(self.device).type == "cuda")
        for pixels, labels in loader:
            seen = pixels.flatten(0, 1).to(self.device, non_blocking=True)
            part = ImageSet("", "", seen, labels.repeat_interleave(pixels.shape[1]), (), *IMAGENET)
            yield part.normalise(seen).unflatten(0, pixels.shape[:2]), labels.to(self.device)


@torch.no_grad()
def examine(net: torch.nn.Module, folder: ImageFolder, size: int, device: torch.device, *, workers: int = 0,
            batch: int = 250, everything: bool = True) -> dict[str, float]:
    """Top-1 of the middle of every test image, and consistency; each process takes its part, the sums are shared.

    everything  Cons.8 and Cons.16 between true windows of a larger image, as antialiased-cnns (Zhang, 2019) has them,
                and the curve of supplement S2 with black where nothing is known; else top-1 alone
    """
    margin = MARGIN * size // 224
    folder.transform = v2.Compose([v2.Resize(size + 2 * margin, antialias=True), v2.CenterCrop(size + 2 * margin),
                                   v2.PILToTensor()])
    asked = [(n, "true") for n in (8, 16) if n <= margin] + [(n, "zeros") for n in CURVE] if everything else []
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    mine = list(range(rank, len(folder), processes))
    loader = DataLoader(torch.utils.data.Subset(folder, mine), batch, num_workers=workers)
    totals = torch.zeros(2 + len(asked), dtype=torch.float64, device=device)
    for number, (pixels, labels) in enumerate(loader):
        part = ImageSet("", "", pixels, labels, (), *IMAGENET).to(device)
        middle = replace(part, images=part.images[..., margin:margin + size, margin:margin + size])
        still = torch.zeros(len(part), 2, dtype=torch.long, device=device)
        scores = [1, (augshift.predict(net, middle, still)[0] == part.labels).double().mean()]
        for reach, fill in asked:
            seen = part if fill == "true" else middle
            scores.append(augshift.consistency(net, seen, reach, fill, side=size if fill == "true" else None,
                                               seed=number * processes + rank)["agreement"])
        totals += len(part) * torch.tensor(scores, dtype=torch.float64, device=device)
    if processes > 1:
        distributed.all_reduce(totals)
    top1, *agreements = (totals[1:] / totals[0]).tolist()
    return {"top1": top1, **{f"agreement_{n}_{fill}": a for (n, fill), a in zip(asked, agreements, strict=True)}}


def opened(root: Path, split: str) -> ImageFolder:
    """torchvision's ImageFolder; FileNotFoundError in one sentence when there is none, or a class without an image."""
    try:
        return ImageFolder(root / split)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"imagenet: {root / split} does not hold images by class ({error}); --data names the "
                                "folder of train/CLASS/*.jpg and val/CLASS/*.jpg") from None


def configure(root: Path, c: ImageNetConfig, epochs: int, batch_size: int, learning_rate: float) -> ImageNetConfig:
    """`c` for the images under `root`: their fingerprint (of names and labels) and a recipe of whole batches.

    FileNotFoundError or ValueError in one sentence for images, numbers, a method or a network that cannot be.
    """
    train, test = opened(root, "train"), opened(root, "val")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(f"imagenet: {root} has not the same classes in train and val; they differ in "
                         f"{', '.join(odd[:3])}")
    if not 1 <= batch_size <= len(train):
        raise ValueError(f"imagenet: a batch of {batch_size} was asked for, of {len(train)} training images; give "
                         f"1 to {len(train)}")
    if epochs < 1 or c.shift < 0 or c.size < 1:
        raise ValueError(f"imagenet: {epochs} epochs, shifts of {c.shift} and images of {c.size} pixels were asked "
                         "for; give at least 1, 0 and 1")
    names = sorted((split, Path(file).name, label) for split, part in (("train", train), ("val", test))
                   for file, label in part.samples)
    recipe = CosineRecipe(epochs=epochs, epoch_steps=len(train) // batch_size, batch_size=batch_size, weight_decay=1e-4,
                          learning_rate=learning_rate, warmup=min(5, epochs - 1), flip=False)
    c = replace(c, data=sha256(repr(names).encode()).hexdigest()[:12], recipe=recipe)
    with torch.device("meta"):
        augshift.build(c, len(train.classes))
    return c


def run(c: ImageNetConfig, seed: int, root: Path, workers: int, checkpoint: Path) -> dict:
    """Train and examine one network; every process returns the same results."""
    train, test = opened(root, "train"), opened(root, "val")
    torch.manual_seed(seed)
    net = augshift.build(c, len(train.classes))

    def loss(net, images, labels, _):
        return augshift.objective(c, net, images.unbind(1), labels)

    def look(net, everything=False):
        device = next(net.parameters()).device
        return examine(net, test, c.size, device, workers=workers, everything=everything)

    history = training.fit(net, Streamed(train, c, workers), loss, c.recipe, seed=seed, evaluate=look,
                           checkpoint=checkpoint)
    return {**look(net, everything=True), "losses": [h["loss"] for h in history]}
