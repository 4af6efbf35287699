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

from posenc_lib.base.checks import check_choice

PROJECT = Path(__file__).resolve().parents[2]
PROFILES = ("smoke", "quick", "paper")


def describe(config) -> dict:
    """A configuration as plain values: the name of its class, as "class", and every field."""
    return {"class": type(config).__name__, **asdict(config)}


def digest(config) -> str:
    """The 12 hexadecimal digits that name a configuration (or its description), whatever the order of its fields."""
    description = config if isinstance(config, dict) else describe(config)
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
        check_choice("profile", self.profile, PROFILES)
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

    def records(self, experiment: str, profile: str | None = None) -> Path:
        """records/<profile>/<experiment>.jsonl; reference runs are always the project's own."""
        root = PROJECT if profile == "paper" else self.root
        return root / "records" / (profile or self.profile) / f"{experiment}.jsonl"

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


SEEDS = {"smoke": 2, "quick": 3, "paper": 3}
