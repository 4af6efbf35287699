"""Frozen networks to read from: what there is, its weights, and the features of a set, computed once (pages 02 and 04).

A frozen network is asked about many times, so its features are kept, not computed anew in every epoch.
"""
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from posenc_lib import canvas, data, hooks, models, progress, training
from posenc_lib.config import EncoderConfig, Recipe, choose, reason
from posenc_lib.data import IMAGENET, ImageSet
from posenc_lib.draws import Draws
from posenc_lib.padding import remove_padding, set_padding_mode
from posenc_lib.shapes import Features, Images, Labels, Latents

SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))   # to -1..1
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))        # 0..1 as it is
RESNET = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Encoder:
    """A network, the layers that are read, and how it wants its pictures.

    stages  names of the layers, shallow to deep
    mean, std  of each colour, what `ImageSet.normalise` takes away and divides by
    """
    net: nn.Module
    stages: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @torch.no_grad()
    def __call__(self, images: Images) -> list[Tensor]:
        """f (batch, channel, row, col) of each stage"""
        with ExitStack() as stack:
            outputs = [stack.enter_context(hooks.captured(self.net, stage)) for stage in self.stages]
            self.net(images)
        return [output[0] for output in outputs]

    def view(self, images: ImageSet) -> ImageSet:
        """The same pictures, to be normalised as this network was trained."""
        return replace(images, mean=self.mean, std=self.std)


class Coordinates(nn.Module):
    """The image, and on two more channels the row and the column of each pixel, -1..1: position given, not found."""
    def forward(self, images: Images) -> Features:
        batch, _, rows, cols = images.shape
        row, col = (torch.linspace(-1, 1, n, device=images.device) for n in (rows, cols))
        grid = torch.stack(torch.meshgrid(row, col, indexing="ij")).expand(batch, -1, -1, -1)
        return torch.cat([images, grid], 1)


@dataclass(frozen=True)
class Known:
    build: Callable[[], nn.Module]
    stages: tuple[str, ...]
    normalisation: tuple = IMAGENET


# The stages of VGG-16 and the ResNets are the paper's and the released code's; the others' end where a stride begins.
KNOWN = {
    "vgg16": Known(torchvision.models.vgg16, tuple(f"features.{n}" for n in (3, 8, 15, 22, 29))),
    "resnet18": Known(torchvision.models.resnet18, RESNET),
    "resnet50": Known(torchvision.models.resnet50, RESNET),
    "resnet152": Known(torchvision.models.resnet152, RESNET),
    "squeezenet1_1": Known(torchvision.models.squeezenet1_1, tuple(f"features.{n}" for n in (1, 4, 7, 12))),
    "mobilenetv2_100": Known(lambda: timm.create_model("mobilenetv2_100", pad_type="same"),
                             tuple(f"blocks.{n}" for n in (0, 1, 2, 4, 6)), SYMMETRIC),
    "hrnet_w32": Known(lambda: timm.create_model("hrnet_w32"), tuple(f"incre_modules.{n}" for n in range(4))),
}


def known(name: str) -> Encoder:
    """An ImageNet architecture as it is built, with random weights from torch's global generator.

    "pixels" is the image itself and "coordinates" the image with its rows and columns: nothing there is learned.
    """
    if name in ("pixels", "coordinates"):
        net = nn.Sequential(OrderedDict(image=nn.Identity() if name == "pixels" else Coordinates()))
        return Encoder(net.eval(), ("image",), *UNIT)
    entry = KNOWN[choose("encoder", name, (*KNOWN, "pixels", "coordinates"))]
    return Encoder(entry.build().eval(), entry.stages, *entry.normalisation)


def small(net: nn.Module) -> Encoder:
    """A `models.vgg` to read from, after the ReLU that ends each block."""
    return Encoder(net.eval(), tuple(f"features.{n}" for n in (5, 12, 19, 26)), *IMAGENET)


def asked(pretrained: str, root: Path | str, otherwise: Sequence[str] = ()) -> dict[str, str]:
    """What a page is asked to read: "resnet18,vgg16=FILE.safetensors" -> architecture: file, "" for `weights_file`.

    FILE lies under the data root's weights/, or is an absolute path.  Asked for nothing, it is `otherwise`; without
    that, the architectures whose weights lie under the data root.
    """
    if not pretrained:
        return dict.fromkeys(otherwise or [name for name in KNOWN if weights_file(name, root).is_file()], "")
    files = {}
    for entry in pretrained.split(","):
        name, _, file = entry.partition("=")
        path = Path(root) / "weights" / file
        if file and not path.is_file():
            raise FileNotFoundError(f"weights: {path} was asked for {name} and is not there; give the path of a "
                                    f".safetensors state dict, or {name} alone for its ImageNet weights")
        files[choose("pretrained", name, tuple(KNOWN))] = str(path) if file else ""
    return files


def weights_file(name: str, root: Path | str) -> Path:
    """Where the ImageNet weights of an architecture lie under the data root."""
    return Path(root) / "weights" / f"{name}-imagenet.safetensors"


def pretrained(name: str, root: Path | str, file: Path | str = "") -> Encoder:
    """An architecture of `KNOWN` with its ImageNet weights, or with those of `file`, a .safetensors state dict.

    The weights are read from `weights_file`; where that is not there, torchvision downloads its own and checks their
    hash.  FileNotFoundError when neither is to be had, ValueError for a damaged file or another architecture's.
    """
    encoder = known(name)
    path = Path(file) if file else weights_file(name, root)
    if not file and not path.is_file() and name in torchvision.models.list_models():
        try:
            encoder.net.load_state_dict(downloaded(torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]))
        except (OSError, HTTPException) as error:   # no network is an OSError
            raise FileNotFoundError(f"weights: {path} is not there, and torchvision's {name} could not be downloaded "
                                    f"({error}); put a .safetensors state dict of {name} at that path") from None
        except (RuntimeError, ValueError, UnpicklingError) as error:   # the last for one that holds code
            raise ValueError(f"weights: torchvision's {name} came damaged ({reason(error)}); try again, or put a "
                             f".safetensors state dict of it at {path}") from None
        return encoder
    models.load_weights(encoder.net, path)
    return encoder


def downloaded(weights: torchvision.models.WeightsEnum) -> dict[str, Tensor]:
    """torchvision's own weights, from the network or from torch's cache, whose file is checked as the download is.

    OSError or HTTPException when they do not come, RuntimeError or ValueError when they come or lie there damaged; a
    damaged file is taken away.
    """
    refuse_damaged(*kept(weights.url))
    return weights.get_state_dict(check_hash=True, weights_only=True, progress=False)


def kept(url: str) -> tuple[Path, str]:
    """The file that torch.hub makes of a download, and how its SHA-256 begins by its name ("": that does not say)."""
    file = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    promised = re.search(r"-([0-9a-f]{8,})\.", file.name)
    return file, promised[1] if promised else ""


def refuse_damaged(file: Path, promised: str) -> None:
    """Take a file away, with a ValueError, if it is there and its SHA-256 does not begin as promised."""
    if file.is_file() and not (found := hashlib.sha256(file.read_bytes()).hexdigest()).startswith(promised):
        file.unlink()
        raise ValueError(f"{file} had the SHA-256 {found[:12]}..., not {promised[:12]}..., and was taken away")


def fingerprint(name: str, root: Path | str, file: Path | str = "") -> str:
    """12 hexadecimal digits of the file that `pretrained` would read; of torchvision's own weights, their name."""
    path = Path(file) if file else weights_file(name, root)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "IMAGENET1K_V1"


def from_files(files: dict[str, str], root: Path | str) -> list[EncoderConfig]:
    """The networks of `asked`, to be frozen with their weights."""
    return [EncoderConfig(net=name, source="imagenet", data=fingerprint(name, root, file))
            for name, file in files.items()]


def to_train(source: str, root: Path | str, *, width: int, crop: int, recipe: Recipe) -> EncoderConfig:
    """A small network that is trained on image set `source` before it is frozen."""
    images = data.load(source, root, size=crop, validation=0.0).train
    return EncoderConfig(source=source, data=images.fingerprint, width=width, crop=crop, recipe=recipe)


def make(c: EncoderConfig, seed: int, root: Path | str, file: Path | str = "") -> Encoder:
    """The network that `c` describes, frozen; random starts and training draw from `seed`.

    root, file   where weights and image sets lie, see `pretrained`
    A network made here learns to classify the images of its set, or to segment them where it has label maps.
    """
    torch.manual_seed(seed)
    if c.net != "small":
        choose(f"source of {c.net}", c.source, ("random", "imagenet"))
        encoder = pretrained(c.net, root, file) if c.source == "imagenet" else known(c.net)
    else:
        encoder = small(models.vgg(1, c.width or 64) if c.source == "random" else deepcopy(
            _trained(replace(c, run_with=None), seed, root)))
    mode = c.run_with or c.padding_mode
    if mode != "zeros" or c.net == "small":   # as they come, others have zeros, those too that cannot be switched
        _padded(encoder.net, mode)
    return encoder


@lru_cache(maxsize=8)   # one network is read under several paddings
def _trained(c: EncoderConfig, seed: int, root: Path | str) -> nn.Module:
    train = data.load(c.source, root, size=c.crop, validation=0.0).train
    net = models.vgg(len(train.classes), c.width or 64, task="classify" if train.labels.ndim == 1 else "segment")
    training.fit(_padded(net, c.padding_mode), train, _cross_entropy, c.recipe or Recipe(), seed=seed)
    return net


def _padded(net: nn.Module, mode: str) -> nn.Module:
    return remove_padding(net) if mode == "none" else set_padding_mode(net, mode)


def _cross_entropy(net: nn.Module, images: Tensor, labels: Tensor, _: Draws) -> Tensor:
    return cross_entropy(net(images), labels, ignore_index=data.VOID)


def stacked(encoder: Encoder, images: ImageSet, *, side: int = 28,
            batch: int = 32) -> tuple[Float[Tensor, "image channel {side} {side}"], list[int]]:
    """The features of all stages, resized to one grid and stacked by channel; and how many channels each stage has.

    In half precision where it reaches, on the device of the network: one image of VGG-16 takes 2.3 MB.  Bilinear, with
    the corners aligned, as in the released code.  Source: ICLR 2020, Sec. 3.1.
    """
    rows, channels, images = [], [], encoder.view(images)
    device = _device(encoder, images)
    for index in progress.quiet(torch.arange(len(images)).split(batch), "features"):
        features = encoder(images.batch(index.to(images.images.device))[0].to(device))
        channels = [f.shape[1] for f in features]
        full = torch.cat([resized(f, side) for f in features], 1)
        half = full.half()
        rows.append(half if half.isfinite().all() else full)   # a random ResNet-152 goes beyond half precision
    return torch.cat(rows), channels


def chosen(channels: Sequence[int], stage: int | None = None, n: int | None = None, *, seed: int = 0) -> Tensor:
    """Numbers of the stacked channels that a readout is given.

    channels  how many each stage has, as `stacked` says
    stage     this one alone, counted from 1; None is all
    n         so many of them, drawn by `seed`; None is all
    """
    number = torch.arange(sum(channels))
    if stage:
        number = number.split(list(channels))[stage - 1]
    if n:
        number = number[torch.randperm(len(number), generator=torch.Generator().manual_seed(seed))[:n]]
    return number


def _device(encoder: Encoder, images: ImageSet) -> torch.device:
    return next((p.device for p in encoder.net.parameters()), images.images.device)


def resized(f: Features, side: int) -> Tensor:
    return interpolate(f, (side, side), mode="bilinear", align_corners=True)


def pooled(encoder: Encoder, images: ImageSet, grid: int, *, batch: int = 90) -> tuple[list[Tensor], Labels, Tensor]:
    """Every image in every cell of a grid x grid canvas: z (canvas, channel) of each stage, location, and image number.

    The empty cells are the mean colour, 0 after normalisation, as in the released code of ICCV 2021.
    """
    latents: list[list[Latents]] = [[] for _ in encoder.stages]
    images = encoder.view(images)
    device = _device(encoder, images)
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(grid ** 2))
    for part in progress.quiet(pairs.split(batch), "latents"):
        number, location = part.unbind(1)
        pixels, _ = images.batch(number.to(images.images.device))
        for kept, f in zip(latents, encoder(canvas.place(pixels.to(device), location.to(device), grid)), strict=True):
            kept.append(models.gap(f))
    return [torch.cat(kept) for kept in latents], pairs[:, 1].to(device), pairs[:, 0].to(device)
