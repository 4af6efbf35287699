"""Location decoded from every stage of frozen networks: configuration, one run, and the list of runs."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from torch import Tensor

from posenc_lib.data import registry
from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.experiments import posenet_readout
from posenc_lib.experiments.encoders import (
    EncoderConfig,
    build_encoder,
    encoder_of,
    imagenet_configs,
    trained_config,
)
from posenc_lib.measure import features
from posenc_lib.nets.pretrained import Encoder
from posenc_lib.run import decoding, training
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import Record


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """Heads that decode location from each stage of one frozen network: supplement S1 of ICCV 2021, page 04.

    data      fingerprint of the images placed
    canvases  number of training canvases; half as many are tested.  Every image is in every cell
    channels  number of channels that the head "few_channels" reads from every stage
    recipe    of the heads; the paper states none
    revision  raised by hand whenever a change alters this experiment's numbers.  2: the ridge penalty is chosen on
              images that the fit has not seen
    """
    profile: str
    dataset: str
    data: str
    encoder: EncoderConfig = EncoderConfig()
    grid: int = 3
    canvases: int = 900
    channels: int = 8
    recipe: Recipe = Recipe(epochs=1, epoch_steps=200, batch_size=128, learning_rate=1e-2, flip=False)
    revision: int = 2


DECODING = {
    "smoke": {"canvases": 50, "recipe": Recipe(epochs=1, epoch_steps=5, batch_size=32, flip=False)},
    "quick": {"canvases": 240, "recipe": Recipe(
        epochs=1, epoch_steps=100, batch_size=64, learning_rate=2e-2, flip=False)},
    "paper": {"canvases": 20000, "recipe": Recipe(
        epochs=1, epoch_steps=2000, batch_size=128, learning_rate=1e-2, flip=False)},
}
GRIDS = {"smoke": (3, 5), "quick": (3, 5, 7), "paper": (3, 5, 7)}   # cells per side
PADS_DIFFERENTLY = ("mobilenetv2_100",)   # whose padding mode cannot be switched


class Plan(NamedTuple):
    """The frozen networks of page 04, by what they are for, and the runs: every network in every grid."""
    trained: list[EncoderConfig]             # the small networks trained here, then ImageNet networks
    untrained: list[EncoderConfig]           # the small network, then the ImageNet architectures, with random weights
    circular: list[EncoderConfig]            # small networks under circular padding, which cannot hold location
    imagenet_circular: list[EncoderConfig]   # ImageNet networks whose convolutions are switched to circular padding
    configs: list[DecodingConfig]

    @property
    def imagenet(self) -> list[EncoderConfig]:
        return [c for c in self.trained if c.source == "imagenet"]

    @property
    def judged(self) -> dict[str, list[EncoderConfig]]:
        """The networks that stand for the paper's, by what that was trained for.

        Classification: the ImageNet ResNet-18; without it, the other ImageNet networks; without any, the small one.
        """
        segments = [c for c in self.trained if _segments(c)]
        photographs = [c for c in self.trained if c not in segments and c not in self.imagenet]
        resnet18 = [c for c in self.imagenet if c.net == "resnet18"]
        return {"classification": resnet18 or self.imagenet or photographs, "segmentation": segments}

    @property
    def random_twin(self) -> dict[str, str]:
        """The key of each trained network, with that of the same network with random weights."""
        untrained = {c.net: c.key for c in self.untrained}
        return {c.key: untrained[c.net] for c in self.trained}


def _segments(c: EncoderConfig) -> bool:
    return c.source not in ("random", "imagenet") and registry.find(c.source).labels == "label maps"


def plan(profile: str, dataset: str, data: str, files: Mapping[str, str], root: Path | str, *,
         scenes: str = "digits_on_photos", grids: Sequence[int] = (3, 5, 7)) -> Plan:
    """List the frozen networks of page 04 and its runs.

    data    fingerprint of the images placed
    files   ImageNet networks and their weights, see `pretrained.parse_encoders`
    root    folder of image sets and weights
    scenes  image set on which a small network learns to segment
    """
    small = posenet_readout.READOUT[profile]["small"]
    random = EncoderConfig(width=small["width"])
    photographs, segments = (trained_config(name, root, **small) for name in ("photos", scenes))
    imagenet = imagenet_configs(dict(files), root)
    trained, untrained = [photographs, segments, *imagenet], [random, *(EncoderConfig(net=c.net) for c in imagenet)]
    circular = [replace(photographs, run_with="circular"), replace(random, padding_mode="circular")]
    imagenet_circular = [replace(c, run_with="circular") for c in imagenet if c.net not in PADS_DIFFERENTLY]
    configs = [DecodingConfig(profile=profile, dataset=dataset, data=data, encoder=c, grid=grid,
                              channels=min(8, small["width"]), **DECODING[profile])
               for c in (*trained, *untrained, *circular, *imagenet_circular) for grid in grids]
    return Plan(trained, untrained, circular, imagenet_circular, configs)


def config_of(record: Record) -> DecodingConfig:
    """Return the configuration of a recorded run."""
    values = {name: value for name, value in record.config.items() if name != "class"}
    recipe = Recipe(**{**values["recipe"], "betas": tuple(values["recipe"]["betas"])})
    return DecodingConfig(**{**values, "encoder": encoder_of(values["encoder"]), "recipe": recipe})


def recorded_plan(runs: Sequence[Record]) -> tuple[Plan, list[Record]]:
    """Sort recorded runs by what their networks are for, as `plan` would.  -> plan, its runs

    Of several small networks that learned to segment, the one trained longest counts; runs of the others are left out.
    """
    configs = {record.digest: config_of(record) for record in runs}
    encoders = list(dict.fromkeys(c.encoder for c in configs.values()))
    plain = [c for c in encoders if c.key.count("/") == 1]
    segmenters = sorted(filter(_segments, plain), key=lambda c: c.recipe.epochs * c.recipe.epoch_steps)
    left_out = segmenters[:-1]
    untrained = [c for c in plain if c.source == "random"]
    imagenet = [c for c in plain if c.source == "imagenet"]
    photographs = [c for c in plain if c not in segmenters + untrained + imagenet]
    circular = [c for c in encoders if c not in plain and c.net == "small"]
    imagenet_circular = [c for c in encoders if c not in plain and c.source == "imagenet"]
    kept = [record for record in runs if configs[record.digest].encoder not in left_out]
    return Plan(photographs + segmenters[-1:] + imagenet, untrained, circular, imagenet_circular,
                list(dict.fromkeys(configs[record.digest] for record in kept))), kept


def n_images(c: DecodingConfig) -> tuple[int, int]:
    """Numbers of training and test images, if there are as many.  Each is placed in every cell."""
    train = ceil(c.canvases / c.grid ** 2)
    return train, ceil(train / 2)


@dataclass(frozen=True)
class Inputs:
    """What runs read besides their configuration.

    splits  images that are placed on canvases
    root    folder of image sets and weights
    files   ImageNet networks and their weights, see `pretrained.parse_encoders`
    Equal for equal `root` and `device`: a configuration identifies images and weights by their fingerprints.
    """
    splits: Splits = field(compare=False)
    root: Path
    files: Mapping[str, str] = field(compare=False)
    device: torch.device


class PooledLatents(NamedTuple):
    """Pooled latents of canvases, every image in every cell.

    z         (canvas, channel) of each stage
    location  (canvas,) the cell that holds the image
    number    (canvas,) which image it is
    """
    z: list[Tensor]
    location: Int[Tensor, " canvas"]
    number: Int[Tensor, " canvas"]


class NetworkLatents(NamedTuple):
    """Pooled latents of one frozen network on training and test canvases, and the cells that each stage
    distinguishes."""
    train: PooledLatents
    test: PooledLatents
    n_distinguishable: list[int]


def distinguishable_cells(encoder: Encoder, images: ImageSet, grid: int) -> list[int]:
    """Count for each stage the cells in which one image has different latents, see `n_distinguishable_cells`."""
    latents, _, _ = features.pooled_latents(encoder, images.take(slice(0, 1)), grid)
    return [decoding.n_distinguishable_cells(z) for z in latents]


def compute_latents(c: DecodingConfig, seed: int, inputs: Inputs) -> NetworkLatents:
    """Build the frozen network and run it on training and test canvases."""
    encoder = build_encoder(c.encoder, seed, inputs.root, inputs.files.get(c.encoder.net, ""))
    encoder.net.to(inputs.device)
    n_train, n_test = n_images(c)
    train, test = (PooledLatents(*features.pooled_latents(encoder, images, c.grid))
                   for images in (inputs.splits.train.subsample(n_train), inputs.splits.test.subsample(n_test)))
    return NetworkLatents(train, test, distinguishable_cells(encoder, inputs.splits.test, c.grid))


@cache
def _imagenet_latents(c: DecodingConfig, inputs: Inputs) -> NetworkLatents:
    """Latents of a network with ImageNet weights, which all seeds share."""
    return compute_latents(c, 0, inputs)


def ridge_between_cells(train: PooledLatents, test: PooledLatents, grid: int) -> tuple[float, float]:
    """Regress row and column on the latents in half of the cells, a checkerboard.  -> R2 on those and on the others

    train, test  of one stage.  R2 is on test images.  The ridge penalty is chosen by cross-validation between images,
    because each image is in every cell.
    """
    (z, location, number), (z_test, location_test, _) = (
        (part.z[-1].cpu().numpy(), part.location.cpu().numpy(), part.number.cpu().numpy()) for part in (train, test))
    fitted_cell = np.array([(n // grid + n % grid) % 2 == 0 for n in range(grid ** 2)])
    position = np.array([divmod(n, grid) for n in range(grid ** 2)], dtype=float)   # (cell, 2)
    fitted, fitted_test = fitted_cell[location], fitted_cell[location_test]
    z, target, number = z[fitted], position[location][fitted], number[fitted]
    folds = list(GroupKFold(min(5, len(np.unique(number)))).split(z, groups=number))
    r2 = {alpha: np.mean([Ridge(alpha).fit(z[part], target[part]).score(z[rest], target[rest]) for part, rest in folds])
          for alpha in [10.0 ** n for n in range(-2, 6)]}
    ridge = Ridge(max(r2, key=r2.get)).fit(z, target)
    seen, between = (float(ridge.score(z_test[part], position[location_test][part]))
                     for part in (fitted_test, ~fitted_test))
    return seen, between


def run(c: DecodingConfig, seed: int, checkpoint: training.Checkpoint | Path | None = None, *,
        inputs: Inputs) -> dict:
    """Decode location from one frozen network.  -> results of the record

    layers                for each stage and head: layer, head, channels, accuracy, and its ceiling (0..1)
    r2_seen, r2_between   of row and column, see `ridge_between_cells`
    A seed determines the heads and, unless it has ImageNet weights, the network.
    """
    latents = (_imagenet_latents(c, inputs) if c.encoder.source == "imagenet" else compute_latents(c, seed, inputs))
    train, test = latents.train, latents.test
    rows = decoding.decode(train.z, train.location, test.z, test.location, cells=c.grid ** 2, recipe=c.recipe,
                           seed=seed, few=c.channels, checkpoint=checkpoint)
    for row in rows:
        row["ceiling"] = latents.n_distinguishable[row["layer"] - 1] / c.grid ** 2
    width = train.z[-1].shape[1]
    last = [PooledLatents([decoding.standardize(part.z, train.z)[:, -width:]], part.location, part.number)
            for part in (train, test)]
    r2_seen, r2_between = ridge_between_cells(*last, c.grid)
    return {"layers": rows, "r2_seen": r2_seen, "r2_between": r2_between}


def accuracy_frame(runs: Sequence[Record]) -> pd.DataFrame:
    """Tabulate runs, a row per seed, network, grid, stage and head, with accuracy and ceiling in percent."""
    frame = pd.DataFrame([{"network": c.encoder.key, "grid": c.grid, "seed": run.seed, **row}
                          for run in runs for c in [config_of(run)] for row in run.results["layers"]])
    frame[["accuracy", "ceiling"]] *= 100
    return frame


def ridge_frame(runs: Sequence[Record]) -> pd.DataFrame:
    """Tabulate R2 of the ridge regressions, a row per seed, network, grid and half of the cells."""
    return pd.DataFrame([{"network": c.encoder.key, "grid": c.grid, "seed": run.seed, "cells": cells,
                          "R2": run.results[name]}
                         for run in runs for c in [config_of(run)]
                         for cells, name in (("learned", "r2_seen"), ("between", "r2_between"))])
