"""Frozen encoders of pages 02 and 04: their configuration, and how they are built and trained."""
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.data import imageset, registry
from posenc_lib.nets import classifiers
from posenc_lib.nets.padding import PADDING_MODES, remove_padding, set_padding_mode
from posenc_lib.nets.pretrained import Encoder, fingerprint, pretrained, small_vgg, untrained
from posenc_lib.run import training
from posenc_lib.run.config import Recipe


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """A frozen network whose features are read (pages 02 and 04); `build_encoder` builds it.

    net           "pixels", "coordinates", "small" (`classifiers.vgg`), or a key of `pretrained.KNOWN`
    source        origin of its weights: "random", "imagenet", or the name of the image set it is trained on here
    data          fingerprint of that image set, or of the weights file
    width         channels of the small network's first block (64 in VGG-16)
    padding_mode  padding mode of its convolutions, also during training; "none" is no padding
    run_with      padding mode, or "none", in which the frozen network runs instead; None keeps `padding_mode`
    crop          side in pixels of the images it is trained on
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
        check_choice("padding_mode", self.padding_mode, (*PADDING_MODES, "none"))
        check_choice("run_with", self.run_with, (*PADDING_MODES, "none", None))

    @property
    def key(self) -> str:
        """Short name in rows of results: "small/photos", "small/random/circular", "resnet18/imagenet", "pixels"."""
        if self.net in ("pixels", "coordinates"):
            return self.net
        mode = self.run_with or self.padding_mode
        return "/".join([self.net, self.source] + ([mode] if mode != "zeros" else []))


def encoder_of(values: dict) -> EncoderConfig:
    """Return the configuration that a record describes, `record.config["encoder"]`."""
    recipe = values["recipe"]
    if recipe:
        recipe = Recipe(**{**recipe, "betas": tuple(recipe["betas"])})
    return EncoderConfig(**{**values, "recipe": recipe})


def imagenet_configs(files: dict[str, str], root: Path | str) -> list[EncoderConfig]:
    """Return the configuration of each ImageNet network in `files`, architecture -> weights file (`parse_encoders`)."""
    return [EncoderConfig(net=name, source="imagenet", data=fingerprint(name, root, file))
            for name, file in files.items()]


def trained_config(source: str, root: Path | str, *, width: int, crop: int, recipe: Recipe) -> EncoderConfig:
    """Return the configuration of a small network trained on image set `source` before it is frozen."""
    images = registry.load(source, root, size=crop, validation=0.0).train
    return EncoderConfig(source=source, data=images.fingerprint, width=width, crop=crop, recipe=recipe)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator inside the block and restore its state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def build_encoder(c: EncoderConfig, seed: int, root: Path | str, file: Path | str = "") -> Encoder:
    """Build the frozen network that `c` describes; initial weights and training draw from `seed`.

    root, file   where weights and image sets are, see `pretrained`
    The small network learns to classify the images of its set, or to segment them if the set has label maps.
    """
    with seeded(seed):
        if c.net != "small":
            check_choice(f"source of {c.net}", c.source, ("random", "imagenet"))
            encoder = pretrained(c.net, root, file) if c.source == "imagenet" else untrained(c.net)
        elif c.source == "random":
            encoder = small_vgg(classifiers.vgg(1, c.width or 64))
        else:
            encoder = small_vgg(deepcopy(_trained(replace(c, run_with=None), seed, root)))
    mode = c.run_with or c.padding_mode
    if mode != "zeros" or c.net == "small":   # other networks come with zero padding, which some cannot switch
        _set_padding(encoder.net, mode)
    encoder.net.to(memory_format=torch.channels_last)   # half the time on a CPU
    return encoder


@lru_cache(maxsize=8)   # one network is read under several padding modes
def _trained(c: EncoderConfig, seed: int, root: Path | str) -> nn.Module:
    train = registry.load(c.source, root, size=c.crop, validation=0.0).train
    net = classifiers.vgg(len(train.classes), c.width or 64, task="classify" if train.labels.ndim == 1 else "segment")
    training.fit(_set_padding(net, c.padding_mode), train, _cross_entropy, c.recipe or Recipe(), seed=seed)
    return net


def _set_padding(net: nn.Module, mode: str) -> nn.Module:
    return remove_padding(net) if mode == "none" else set_padding_mode(net, mode)


def _cross_entropy(net: nn.Module, images: Tensor, labels: Tensor, _: Draws) -> Tensor:
    return cross_entropy(net(images), labels, ignore_index=imageset.VOID)
