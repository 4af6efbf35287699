"""Configuration: workspace, training recipes, and the digest that identifies a run everywhere.

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


def _find_project() -> Path:
    """The checkout that contains the library; for an installed library, the one around the current folder, else that
    folder: nothing is written or looked for between the packages of an environment.
    """
    def is_project(folder: Path) -> bool:
        return (folder / "run_all.sh").is_file() and (folder / "records").is_dir()

    checkout = Path(__file__).resolve().parents[2]
    if is_project(checkout):
        return checkout
    here = Path.cwd()
    return next(filter(is_project, (here, *here.parents)), here)


PROJECT = _find_project()
PROFILES = ("smoke", "quick", "paper")


def describe(config) -> dict:
    """A configuration as plain values: its class name under "class", and every field."""
    return {"class": type(config).__name__, **asdict(config)}


def digest(config) -> str:
    """12 hexadecimal digits that identify a configuration (or its description), independent of field order."""
    description = config if isinstance(config, dict) else describe(config)
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def device_type() -> str:
    """"cuda" if there is a GPU and $POSENC_DEVICE does not forbid it, else "cpu".

    ValueError if $POSENC_DEVICE is neither cpu nor cuda, or is cuda without a GPU.
    """
    requested = check_choice("POSENC_DEVICE", os.environ.get("POSENC_DEVICE", ""), ("", "cpu", "cuda"))
    available = torch.cuda.is_available()
    if requested == "cuda" and not available:
        raise ValueError("POSENC_DEVICE: cuda was requested, but torch finds no GPU; unset it, or set it to cpu")
    return "cuda" if available and requested != "cpu" else "cpu"


@dataclass(frozen=True)
class Workspace:
    """Where a page reads and writes, and which device it computes on.

    The project is the checkout of the library, or the current folder of an installed one.

    profile    smoke (wiring, seconds), quick (a laptop, minutes), paper (the papers' schedules, a GPU)
    data_root  folder of data sets; "" means $POSENC_DATA, else `data/` in the project
    out        folder for records, figures and checkpoints; "" means the project itself
    cluster    where runs execute (`cluster.FORMS`); "" means $POSENC_CLUSTER, else this process
    minutes    time budget for runs, counted from construction; inf is unlimited
    until      time at which runs stop, in seconds since the epoch: the end of `minutes` or $POSENC_UNTIL, with which
               run_all.sh gives all pages a common deadline, whichever comes first
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
            raise ValueError(f"minutes: {self.minutes} is not a positive number; give one, fractions included")
        until = min(time.time() + 60 * self.minutes, float(os.environ.get("POSENC_UNTIL") or inf))
        object.__setattr__(self, "until", until)

    @property
    def data(self) -> Path:
        return Path(self.data_root or os.environ.get("POSENC_DATA") or PROJECT / "data").expanduser()

    @property
    def root(self) -> Path:
        return Path(self.out or PROJECT).expanduser()

    def records(self, experiment: str, profile: str | None = None) -> Path:
        """records/<profile>/<experiment>.jsonl; reference runs, of "paper" and "cpu", are always the project's own."""
        root = PROJECT if profile in ("paper", "cpu") else self.root
        return root / "records" / (profile or self.profile) / f"{experiment}.jsonl"

    @property
    def figures(self) -> Path:
        return self.root / "figures" / self.profile

    def checkpoint(self, config, seed: int) -> Path:
        """The checkpoint from which a run of this configuration and seed resumes."""
        return self.root / "build" / "checkpoints" / f"{digest(config)}-{seed}.pt"

    @property
    def device(self) -> torch.device:
        """The GPU if there is one and $POSENC_DEVICE does not say "cpu", else the CPU.

        Turns TF32 off for convolutions: by default cuDNN may round their inputs to ten bits, and latents that must be
        equal, those of a circular network in all cells, no longer are.  `training.fit` is not slowed down, because on a
        GPU it computes in bfloat16.
        """
        torch.backends.cudnn.allow_tf32 = False
        return torch.device(device_type())

    @property
    def is_reference(self) -> bool:
        """True if the runs of this profile are the reference runs: there is no other run to show beside them."""
        return self.profile == "paper"

    @property
    def on_file(self) -> bool:
        """True if nothing is run and recorded results are shown: the papers' schedules without a GPU."""
        return self.profile == "paper" and self.device.type != "cuda"


def _on_device(optimizer: torch.optim.Optimizer, capturable: bool) -> torch.optim.Optimizer:
    """Keep a capturable optimizer's learning rates in tensors: a captured Python number could never change."""
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
        """Parameter groups; a group's learning rate is `scale` times that of the epoch."""
        return [{"params": list(model.parameters()), "scale": 1.0}]

    def optimizer(self, parameters: Iterable[nn.Parameter] | list[dict], *,
                  capturable: bool = False) -> torch.optim.Optimizer:
        """capturable  for CUDA graphs: all state, including the learning rates, lives on the device."""
        return _on_device(torch.optim.Adam(parameters, lr=self.learning_rate, betas=self.betas, fused=True,
                                           capturable=capturable), capturable)

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
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
    """Stochastic gradient descent.  Defaults are the released code of the ICLR 2020 paper (the text agrees on
    epochs, momentum and weight decay, and does not state the rest).

    drop  epoch, counted from 0, from which the learning rate is divided by 10
    """
    epochs: int = 15
    batch_size: int = 32
    drop: int = 10
    flip: bool = False

    def rate(self, epoch: int) -> float:
        return self.learning_rate * (0.1 if epoch >= self.drop else 1)


@dataclass(frozen=True, kw_only=True)
class CosineRecipe(_Sgd):
    """Stochastic gradient descent with linear warm-up over `warmup` epochs and cosine decay to 0.

    Defaults are customary for a ResNet-18 on CIFAR; the ICCV 2021 paper states no schedule for AugShift.
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
    """Stochastic gradient descent with polynomial decay, (1 - epoch / epochs)^0.9; for segmenters (page 06).

    adamw           use AdamW with the same decay instead, which learns more in few steps
    backbone_scale  learning rate of `model.backbone` relative to the rest: 0.1 for a pretrained backbone
    Defaults are those of the released ICCV 2021 code, which decays per step over 30,000 steps; here per epoch over 300
    epochs.
    """
    epochs: int = 300
    epoch_steps: int | None = 100
    batch_size: int = 16
    power: float = 0.9
    adamw: bool = False
    backbone_scale: float = 0.1
    flip: bool = False   # the loss mirrors images together with their label maps

    def groups(self, model: nn.Module) -> list[dict]:
        backbone = list(model.get_submodule("backbone").parameters())
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


SEEDS = {"smoke": 1, "quick": 3, "paper": 3}
