"""Frozen encoders of pages 02 and 04."""
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
    """A frozen network to read from (pages 02 and 04); `encoders.build_encoder` builds it.

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
        check_choice("padding_mode", self.padding_mode, (*PADDING_MODES, "none"))
        check_choice("run_with", self.run_with, (*PADDING_MODES, "none", None))

    @property
    def label(self) -> str:
        """What figures and tables call it: "small, photographs", "resnet18, ImageNet", "small, random, circular"."""
        if self.net in ("pixels", "coordinates"):
            return self.net
        source = {"imagenet": "ImageNet", "photos": "photographs"}.get(self.source, self.source)
        mode = self.run_with or self.padding_mode
        return f"{self.net}, {source}" + (f", {mode}" if mode != "zeros" else "")


def imagenet_configs(files: dict[str, str], root: Path | str) -> list[EncoderConfig]:
    """The networks of `asked`, to be frozen with their weights."""
    return [EncoderConfig(net=name, source="imagenet", data=fingerprint(name, root, file))
            for name, file in files.items()]


def trained_config(source: str, root: Path | str, *, width: int, crop: int, recipe: Recipe) -> EncoderConfig:
    """A small network that is trained on image set `source` before it is frozen."""
    images = registry.load(source, root, size=crop, validation=0.0).train
    return EncoderConfig(source=source, data=images.fingerprint, width=width, crop=crop, recipe=recipe)


def build_encoder(c: EncoderConfig, seed: int, root: Path | str, file: Path | str = "") -> Encoder:
    """The network that `c` describes, frozen; random starts and training draw from `seed`.

    root, file   where weights and image sets lie, see `pretrained`
    A network made here learns to classify the images of its set, or to segment them where it has label maps.
    """
    torch.manual_seed(seed)
    if c.net != "small":
        check_choice(f"source of {c.net}", c.source, ("random", "imagenet"))
        encoder = pretrained(c.net, root, file) if c.source == "imagenet" else untrained(c.net)
    else:
        encoder = small_vgg(classifiers.vgg(1, c.width or 64) if c.source == "random" else deepcopy(
            _trained(replace(c, run_with=None), seed, root)))
    mode = c.run_with or c.padding_mode
    if mode != "zeros" or c.net == "small":   # as they come, others have zeros, those too that cannot be switched
        _padded(encoder.net, mode)
    return encoder


@lru_cache(maxsize=8)   # one network is read under several paddings
def _trained(c: EncoderConfig, seed: int, root: Path | str) -> nn.Module:
    train = registry.load(c.source, root, size=c.crop, validation=0.0).train
    net = classifiers.vgg(len(train.classes), c.width or 64, task="classify" if train.labels.ndim == 1 else "segment")
    training.fit(_padded(net, c.padding_mode), train, _cross_entropy, c.recipe or Recipe(), seed=seed)
    return net


def _padded(net: nn.Module, mode: str) -> nn.Module:
    return remove_padding(net) if mode == "none" else set_padding_mode(net, mode)


def _cross_entropy(net: nn.Module, images: Tensor, labels: Tensor, _: Draws) -> Tensor:
    return cross_entropy(net(images), labels, ignore_index=imageset.VOID)
