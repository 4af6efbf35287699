"""What an experiment is: frozen dataclasses, the three profiles, and the digest that names a run everywhere.

Every default cites where it comes from.  "authors' code" is the released training script of the ICCV 2021 paper.
"""
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

PROJECT = Path(__file__).resolve().parent.parent
PROFILES = ("smoke", "quick", "paper")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def describe(config) -> dict:
    """A configuration as plain values: the name of its class, as "experiment", and every field."""
    return {"experiment": type(config).__name__, **asdict(config)}


def digest(config) -> str:
    """The 12 hexadecimal digits that name a configuration (or its description), whatever the order of its fields."""
    description = config if isinstance(config, dict) else describe(config)
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def choose(name: str, asked, choices):
    """`asked` if it is one of `choices`, else one sentence that says what there is."""
    if asked not in choices:
        raise ValueError(f"{name}: {asked!r} was asked for, but there are only {', '.join(map(repr, choices))}")
    return asked


@dataclass(frozen=True)
class Workspace:
    """Where a page reads and writes, and on what it computes.

    profile    smoke (wiring, seconds), quick (a laptop, minutes), paper (the papers' schedules, a GPU)
    data_root  folder of data sets; "" is $POSENC_DATA, else `data/` beside the library
    out        folder for records, figures and checkpoints; "" is the project's own
    """
    profile: str = "quick"
    data_root: str = ""
    out: str = ""

    def __post_init__(self):
        choose("profile", self.profile, PROFILES)

    @property
    def data(self) -> Path:
        return Path(self.data_root or os.environ.get("POSENC_DATA") or PROJECT / "data").expanduser()

    @property
    def root(self) -> Path:
        return Path(self.out or PROJECT).expanduser()

    def records(self, claim: str, profile: str | None = None) -> Path:
        """The file of one claim's results: records/<profile>/<claim>.jsonl.  Reference runs are the project's own."""
        root = PROJECT if profile == "paper" else self.root
        return root / "records" / (profile or self.profile) / f"{claim}.jsonl"

    @property
    def figures(self) -> Path:
        return self.root / "figures" / self.profile

    def checkpoint(self, config, seed: int) -> Path:
        """The file that a run of this configuration and seed goes on from after a kill."""
        return self.root / "build" / "checkpoints" / f"{digest(config)}-{seed}.pt"

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.  Defaults are the authors' code for GAPNet and PermuteNet.

    epochs       passes; the networks are evaluated after each
    epoch_steps  optimiser steps a pass; None is one pass over the training set
    flip         mirror each image left to right with probability 1/2, before it is placed
    """
    epochs: int = 20
    epoch_steps: int | None = None
    batch_size: int = 48
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    flip: bool = True


@dataclass(frozen=True, kw_only=True)
class PlacementConfig:
    """One cell of Table 1 (ICCV 2021), or of one of page 03's controls.  Defaults are the authors' protocol.

    data         fingerprint of the image set, so that other data are another experiment
    task         "location": in which cell was the image placed?  "image": what does it show?
    head         "gapnet": 3x3 convolution, then GAP.  "permutenet": GAP, shuffle, linear
    permutation  of the channels, see `models.Shuffle`; it has no meaning for "gapnet"
    width        channels of the first stage; the last has 8 times as many (64 in the paper)
    fill         colour of the empty canvas: "mean" is 0 after normalisation, as in the authors' code; "black" is black
    classes      labels left after merging neighbours (see `canvas.merge`); None merges nothing
    test_images  how many test images are tried, each in every cell; None is all of them
    revision     raised by hand when a change of the library changes this experiment's numbers
    """
    profile: str
    dataset: str
    data: str
    task: str = "location"
    head: str = "gapnet"
    permutation: str = "none"
    backbone: str = "resnet18"
    width: int = 64
    padding_mode: str = "zeros"
    grid: int = 3
    fill: str = "mean"
    classes: int | None = None
    test_images: int | None = None
    recipe: Recipe = Recipe()
    revision: int = 1

    def __post_init__(self):
        choose("task", self.task, ("location", "image"))
        choose("head", self.head, ("gapnet", "permutenet"))
        choose("padding_mode", self.padding_mode, PADDING_MODES)
        choose("fill", self.fill, ("mean", "black"))


# What a profile changes of the authors' protocol.  One seed is one initialisation and one order of the images.
PLACEMENT = {
    "smoke": {"width": 8, "test_images": 6, "recipe": Recipe(epochs=2, epoch_steps=1, batch_size=8)},
    "quick": {"width": 8, "test_images": 100,
              "recipe": Recipe(epochs=2, epoch_steps=100, batch_size=24, learning_rate=2e-3)},
    "paper": {},
}
SEEDS = {"smoke": 2, "quick": 3, "paper": 3}


@dataclass(frozen=True, kw_only=True)
class PaddingConfig:
    """One network whose feature maps page 01 looks at, under every padding mode.  The paper states no set-up.

    data     fingerprint of the pictures, and of the training crops
    net      "random", "trained" to tell photographs apart, or "imagenet": SqueezeNet 1.1 with weights from a file
    trained  the padding mode it was trained with; None for a random one
    weights  fingerprint of the file of weights
    width    channels of ResNet-18's first stage (64 in its source)
    crop     pixels a side that the network is given
    context  pixels of real surroundings on each side, for the control: at least the reach of the deepest layer (109
             for ResNet-18, by arithmetic), and a multiple of its stride (16)
    """
    profile: str
    dataset: str
    data: str
    net: str = "random"
    trained: str | None = None
    weights: str = ""
    width: int = 64
    crop: int = 128
    context: int = 112
    recipe: Recipe | None = None
    revision: int = 1

    def __post_init__(self):
        choose("net", self.net, ("random", "trained", "imagenet"))
        choose("trained", self.trained, (*PADDING_MODES, None))


# What a profile changes; "pieces" is how many are cut from each photograph, at most 2; "train_crop" is the side of the
# crops to train on, 64 where it is not said.  No schedule is the paper's.
PADDING = {
    "smoke": {"pieces": 1, "seeds": 2, "width": 16, "crop": 64, "train_crop": 48,
              "recipe": Recipe(epochs=1, epoch_steps=2, batch_size=8)},
    "quick": {"pieces": 2, "seeds": 3, "width": 16, "train_crop": 48,
              "recipe": Recipe(epochs=1, epoch_steps=60, batch_size=24)},
    "paper": {"pieces": 2, "seeds": 10, "recipe": Recipe(epochs=20, epoch_steps=100)},
}
