"""What an experiment is: frozen dataclasses, the three profiles, and the digest that names a run everywhere.

Every default cites where it comes from.  "authors' code" is the released training script of the ICCV 2021 paper.
"""
import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from math import cos, inf, pi
from pathlib import Path

import torch
from torch import nn

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


def reason(error: BaseException) -> str:
    """What an error says, in one line: its kind and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@dataclass(frozen=True)
class Workspace:
    """Where a page reads and writes, and on what it computes.

    profile    smoke (wiring, seconds), quick (a laptop, minutes), paper (the papers' schedules, a GPU)
    data_root  folder of data sets; "" is $POSENC_DATA, else `data/` beside the library
    out        folder for records, figures and checkpoints; "" is the project's own
    cluster    where runs go (`cluster.FORMS`); "" is $POSENC_CLUSTER, else this process
    minutes    a slice of time for runs, which begins when this is made; inf is as long as it takes
    until      when runs stop, in seconds since the epoch: at the end of `minutes` or at $POSENC_UNTIL, by which
               run_all.sh gives all pages one slice, whichever comes first
    """
    profile: str = "quick"
    data_root: str = ""
    out: str = ""
    cluster: str = ""
    minutes: int | float = inf
    until: float = field(init=False, compare=False)

    def __post_init__(self):
        choose("profile", self.profile, PROFILES)
        if not self.minutes > 0:
            raise ValueError(f"minutes: {self.minutes} was asked for; give a number above 0, fractions included")
        until = min(time.time() + 60 * self.minutes, float(os.environ.get("POSENC_UNTIL") or inf))
        object.__setattr__(self, "until", until)

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
        """The GPU where there is one, else the CPU.

        From then on float32 is float32 in a GPU's convolutions, too.  By default cuDNN may round what goes into them to
        ten bits (TF32), and latents that have to be the same, a circular network's in every cell, are so no longer.
        `training.fit` is no slower for it: on a GPU it computes in bfloat16.
        """
        torch.backends.cudnn.allow_tf32 = False
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def on_file(self) -> bool:
        """True where nothing is run, and what is on file is shown: the papers' schedules, and no GPU for them."""
        return self.profile == "paper" and self.device.type != "cuda"


def _on_device(optimizer: torch.optim.Optimizer, capturable: bool) -> torch.optim.Optimizer:
    """A capturable optimizer's learning rates as tensors: a captured number would never change."""
    for group in optimizer.param_groups if capturable else ():
        group["lr"] = torch.tensor(group["lr"], device="cuda")
    return optimizer


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

    def groups(self, model: nn.Module) -> list[dict]:
        """The parameters, in groups whose learning rate is `scale` times the epoch's."""
        return [{"params": list(model.parameters()), "scale": 1.0}]

    def optimizer(self, parameters: Iterable[nn.Parameter] | list[dict], *,
                  capturable: bool = False) -> torch.optim.Optimizer:
        """capturable  for a CUDA graph: all of its state, the learning rates too, is on the device."""
        return _on_device(torch.optim.Adam(parameters, lr=self.learning_rate, betas=self.betas, fused=True,
                                           capturable=capturable), capturable)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate


@dataclass(frozen=True, kw_only=True)
class _Sgd(Recipe):
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def optimizer(self, parameters: Iterable[nn.Parameter] | list[dict], *,
                  capturable: bool = False) -> torch.optim.Optimizer:
        return _on_device(torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum,
                                          weight_decay=self.weight_decay, fused=True), capturable)


@dataclass(frozen=True, kw_only=True)
class SgdRecipe(_Sgd):
    """Stochastic gradient descent.  Defaults are the released code of the ICLR 2020 paper (whose text agrees on the
    epochs, momentum and weight decay, and leaves out the rest).

    drop  the epoch, counted from 0, from which on the learning rate is a tenth
    """
    epochs: int = 15
    batch_size: int = 32
    drop: int = 10
    flip: bool = False

    def rate(self, epoch: int) -> float:
        return self.learning_rate * (0.1 if epoch >= self.drop else 1)


@dataclass(frozen=True, kw_only=True)
class CosineRecipe(_Sgd):
    """Stochastic gradient descent, its rate rising over `warmup` epochs, then falling to 0 along half a cosine.

    Defaults are what is usual for a ResNet-18 on CIFAR; the ICCV 2021 paper states no schedule for AugShift.
    """
    epochs: int = 200
    batch_size: int = 128
    weight_decay: float = 5e-4
    warmup: int = 0

    def rate(self, epoch: int) -> float:
        if epoch < self.warmup:
            return self.learning_rate * (epoch + 1) / (self.warmup + 1)
        return self.learning_rate * (1 + cos(pi * (epoch - self.warmup) / (self.epochs - self.warmup))) / 2


@dataclass(frozen=True, kw_only=True)
class PolyRecipe(_Sgd):
    """Stochastic gradient descent, its rate falling to 0 as (1 - epoch / epochs)^0.9; for segmenters (page 06).

    adamw           AdamW with the same decay instead, which learns more in few steps
    backbone_scale  the rate of `model.backbone` is so many times the rest's: 0.1 for a pretrained one
    Defaults are those of the released ICCV 2021 code, which lowers the rate from step to step: 30,000 steps, in 300
    epochs here.
    """
    epochs: int = 300
    epoch_steps: int | None = 100
    batch_size: int = 16
    power: float = 0.9
    adamw: bool = False
    backbone_scale: float = 0.1
    flip: bool = False   # the loss mirrors images together with their label maps

    def groups(self, model: nn.Module) -> list[dict]:
        backbone = list(model.backbone.parameters())
        others = [p for p in model.parameters() if all(p is not q for q in backbone)]
        return [{"params": backbone, "scale": self.backbone_scale}, {"params": others, "scale": 1.0}]

    def optimizer(self, parameters: Iterable[nn.Parameter] | list[dict], *,
                  capturable: bool = False) -> torch.optim.Optimizer:
        if not self.adamw:
            return super().optimizer(parameters, capturable=capturable)
        return _on_device(torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay,
                                            fused=True, capturable=capturable), capturable)

    def rate(self, epoch: int) -> float:
        return self.learning_rate * (1 - epoch / self.epochs) ** self.power


@dataclass(frozen=True, kw_only=True)
class PlacementConfig:
    """One cell of Table 1 (ICCV 2021), or of one of page 03's controls.  Defaults are the authors' protocol.

    data         fingerprint of the image set, so that other data are another experiment
    task         "location": in which cell was the image placed?  "image": what does it show?
    head         "gapnet": 3x3 convolution, then GAP.  "permutenet": GAP, shuffle, linear
    permutation  of the channels, see `models.Shuffle`; it has no meaning for "gapnet"
    width        channels of the first stage; None is the network's own (ResNet-18: 64, and 8 times as many at its end;
                 NIN: 192)
    fill         colour of the empty canvas: "mean" is 0 after normalisation, as in the authors' code; "black" is black
    classes      labels left after merging neighbours (see `canvas.merge`); None merges nothing
    test_images  how many test images are tried, each in every cell; None is all of them
    revision     raised by hand when a change changes this experiment's numbers.  2: tested in one random cell an image
                 after each epoch, in all cells at the end; images outside the merged classes are left out of the set
    """
    profile: str
    dataset: str
    data: str
    task: str = "location"
    head: str = "gapnet"
    permutation: str = "none"
    backbone: str = "resnet18"
    width: int | None = None
    padding_mode: str = "zeros"
    grid: int = 3
    fill: str = "mean"
    classes: int | None = None
    test_images: int | None = None
    recipe: Recipe = Recipe()
    revision: int = 2

    def __post_init__(self):
        choose("task", self.task, ("location", "image"))
        choose("head", self.head, ("gapnet", "permutenet"))
        choose("padding_mode", self.padding_mode, PADDING_MODES)
        choose("fill", self.fill, ("mean", "black"))
        if self.task == "location" and self.classes == self.grid ** 2:   # merging nothing: the same experiment
            object.__setattr__(self, "classes", None)


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
    "quick": {"pieces": 2, "seeds": 5, "width": 16, "train_crop": 48,
              "recipe": Recipe(epochs=1, epoch_steps=60, batch_size=24)},
    "paper": {"pieces": 2, "seeds": 10, "recipe": Recipe(epochs=20, epoch_steps=100)},
}


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """A frozen network to read from (pages 02 and 04); `encoders.make` builds it.

    net           "pixels", "coordinates", "small" (`models.vgg`), or a name of `encoders.KNOWN`
    source        where its weights come from: "random", "imagenet", or the image set that it is trained on here
    data          fingerprint of that set, or of the file of weights
    width         channels of the first block of the small network (64 in VGG-16)
    padding_mode  of its convolutions, also while it is trained; "none" is without padding
    run_with      another padding mode, or "none", that its frozen weights are run with; None is its own
    crop          pixels a side of the pictures that it is trained on
    """
    net: str = "small"
    source: str = "random"
    data: str = ""
    width: int | None = None
    padding_mode: str = "zeros"
    run_with: str | None = None
    crop: int | None = None
    recipe: Recipe | None = None

    def __post_init__(self):
        choose("padding_mode", self.padding_mode, (*PADDING_MODES, "none"))
        choose("run_with", self.run_with, (*PADDING_MODES, "none", None))

    @property
    def label(self) -> str:
        """What figures and tables call it: "small, photographs", "resnet18, ImageNet", "small, random, circular"."""
        if self.net in ("pixels", "coordinates"):
            return self.net
        source = {"imagenet": "ImageNet", "photos": "photographs"}.get(self.source, self.source)
        mode = self.run_with or self.padding_mode
        return f"{self.net}, {source}" + (f", {mode}" if mode != "zeros" else "")


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """Readouts of all target maps from one frozen network: a cell of the ICLR 2020 paper's tables, or a control.

    data      fingerprint of the pictures read
    size      pixels a side of the pictures, and of the maps drawn
    stage     read this stage of the network alone, counted from 1; None is all of them
    channels  read so many of its channels, drawn at random; None is all of them
    kernel, depth, padding, hidden   see `models.Readout`
    """
    profile: str
    dataset: str
    data: str
    size: int = 224
    train_images: int | None = None
    test_images: int | None = None
    encoder: EncoderConfig = EncoderConfig()
    stage: int | None = None
    channels: int | None = None
    kernel: int = 3
    depth: int = 1
    padding: int = 0
    hidden: int | None = None
    recipe: Recipe = SgdRecipe()
    revision: int = 1


@dataclass(frozen=True, kw_only=True)
class ScratchConfig:
    """A small network trained from scratch to label pixels: ICLR 2020, Table 5.  The paper states no schedule.

    network  source, its fingerprint, width, padding mode, crop and recipe
    window   trained on the window that a map without padding covers; else its map is resized to the whole picture
    """
    profile: str
    network: EncoderConfig
    window: bool = False
    revision: int = 1


# What a profile changes of the released protocol.  "small" is the network made here: its width, crops and schedule are
# choices of this book, and so are those of "scratch", for Table 5.  A folder of pictures is read at the paper's size.
_FOLDER = {"size": 224, "train_images": 128, "test_images": 64}
READOUT = {
    "smoke": {"photos": {"size": 80, "train_images": 8, "test_images": 4}, "folder": _FOLDER, "hidden": 2,
              "recipe": SgdRecipe(epochs=1, batch_size=8),
              "small": {"width": 2, "crop": 80, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=8, flip=False)},
              "scratch": {"width": 2, "crop": 96, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=4, flip=False)}},
    "quick": {"photos": {"size": 80, "train_images": 64, "test_images": 40}, "folder": _FOLDER, "hidden": 8,
              "recipe": SgdRecipe(batch_size=8),
              "small": {"width": 8, "crop": 80, "recipe": Recipe(epochs=1, epoch_steps=60, batch_size=16, flip=False)},
              "scratch": {"width": 8, "crop": 96, "recipe": Recipe(epochs=1, epoch_steps=40, batch_size=8,
                                                                   learning_rate=4e-3, flip=False)}},
    "paper": {"photos": {"size": 112}, "folder": {"size": 224}, "hidden": None, "recipe": SgdRecipe(),
              "small": {"width": 64, "crop": 112, "recipe": Recipe(epochs=20, epoch_steps=100, flip=False)},
              "scratch": {"width": 64, "crop": 224, "recipe": Recipe(epochs=20, epoch_steps=100, batch_size=16,
                                                                     flip=False)}},
}


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """Heads that tell the location from each layer of one frozen network: supplement S1 of ICCV 2021, page 04.

    data      fingerprint of the images placed
    canvases  how many are seen in training; half as many in test.  Every image is in every cell
    channels  of the control that gives every layer equally many, drawn at random
    recipe    of the heads; the text states none
    """
    profile: str
    dataset: str
    data: str
    encoder: EncoderConfig = EncoderConfig()
    grid: int = 3
    canvases: int = 900
    channels: int = 8
    recipe: Recipe = Recipe(epochs=1, epoch_steps=200, batch_size=128, learning_rate=1e-2, flip=False)
    revision: int = 2   # 2: the ridge's penalty is chosen on other images


DECODING = {
    "smoke": {"canvases": 200, "recipe": Recipe(epochs=1, epoch_steps=5, batch_size=32, flip=False)},
    "quick": {},
    "paper": {"canvases": 20000, "recipe": Recipe(
        epochs=1, epoch_steps=2000, batch_size=128, learning_rate=1e-2, flip=False)},
}
