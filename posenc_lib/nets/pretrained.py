"""Frozen encoders (pages 02 and 04): the known architectures and their pretrained weights."""
import hashlib
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
import torchvision
from torch import Tensor, nn

from posenc_lib.base.checks import check_choice, one_line
from posenc_lib.base.shapes import Features, Images
from posenc_lib.data.imageset import IMAGENET, ImageSet
from posenc_lib.nets import hooks, weights

SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))   # to -1..1
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))        # unchanged, 0..1
RESNET = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Encoder:
    """A frozen network, the layers whose features are used, and its normalisation.

    stages  names of the layers, shallow to deep
    mean, std  of each colour on the scale 0..1, for `ImageSet.normalise`
    """
    net: nn.Module
    stages: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @torch.no_grad()
    def __call__(self, images: Images, keep: hooks.Keep = Tensor.clone) -> list[Tensor]:
        """Compute the feature maps f (batch, channel, row, col) of each stage, or what `keep` makes of them."""
        with ExitStack() as stack:
            outputs = [stack.enter_context(hooks.captured(self.net, stage, keep)) for stage in self.stages]
            self.net(images)
        return [output[0] for output in outputs]

    def view(self, images: ImageSet) -> ImageSet:
        """The same images, with this network's normalisation."""
        return replace(images, mean=self.mean, std=self.std)


class Coordinates(nn.Module):
    """Append two channels to the image: row and column of each pixel, -1..1.  A control that is given the position."""
    def forward(self, images: Images) -> Features:
        batch, _, rows, cols = images.shape
        row, col = (torch.linspace(-1, 1, n, device=images.device) for n in (rows, cols))
        grid = torch.stack(torch.meshgrid(row, col, indexing="ij")).expand(batch, -1, -1, -1)
        return torch.cat([images, grid], 1)


@dataclass(frozen=True)
class Known:
    """A known architecture: its constructor, its stages, and the normalisation (mean, std) of its weights."""
    build: Callable[[], nn.Module]
    stages: tuple[str, ...]
    normalisation: tuple = IMAGENET


# The stages of VGG-16 and the ResNets are those of the paper and its released code; the others end before a stride.
KNOWN = {
    "vgg16": Known(torchvision.models.vgg16, tuple(f"features.{n}" for n in (3, 8, 15, 22, 29))),
    "resnet18": Known(torchvision.models.resnet18, RESNET),
    "resnet34": Known(torchvision.models.resnet34, RESNET),
    "resnet50": Known(torchvision.models.resnet50, RESNET),
    "resnet152": Known(torchvision.models.resnet152, RESNET),
    "squeezenet1_1": Known(torchvision.models.squeezenet1_1, tuple(f"features.{n}" for n in (1, 4, 7, 12))),
    "mobilenetv2_100": Known(lambda: timm.create_model("mobilenetv2_100", pad_type="same"),
                             tuple(f"blocks.{n}" for n in (0, 1, 2, 4, 6)), SYMMETRIC),
    "hrnet_w32": Known(lambda: timm.create_model("hrnet_w32"), tuple(f"incre_modules.{n}" for n in range(4))),
}


def untrained(name: str) -> Encoder:
    """Build an ImageNet architecture with random weights from torch's global generator.

    "pixels" is the image itself, "coordinates" the image with its row and column channels: both have no weights.
    """
    if name in ("pixels", "coordinates"):
        net = nn.Sequential(OrderedDict(image=nn.Identity() if name == "pixels" else Coordinates()))
        return Encoder(net.eval(), ("image",), *UNIT)
    entry = KNOWN[check_choice("encoder", name, (*KNOWN, "pixels", "coordinates"))]
    return Encoder(entry.build().eval(), entry.stages, *entry.normalisation)


def small_vgg(net: nn.Module) -> Encoder:
    """Wrap a `classifiers.vgg` as an encoder; a stage is the ReLU that ends a block."""
    return Encoder(net.eval(), tuple(f"features.{n}" for n in (5, 12, 19, 26)), *IMAGENET)


def parse_encoders(pretrained: str, root: Path | str, otherwise: Sequence[str] = ()) -> dict[str, str]:
    """Parse the encoders of a page, "resnet18,vgg16=FILE.safetensors" -> architecture: file, "" for `weights_file`.

    FILE is an absolute path or relative to weights/ under the data root.  An empty string gives `otherwise`; if that is
    empty too, the architectures whose weights are under the data root.
    """
    if not pretrained:
        return dict.fromkeys(otherwise or [name for name in KNOWN if weights_file(name, root).is_file()], "")
    files = {}
    for entry in pretrained.split(","):
        name, _, file = entry.partition("=")
        path = Path(root) / "weights" / file
        if file and not path.is_file():
            raise FileNotFoundError(f"weights: {path}, requested for {name}, does not exist; give the path of a "
                                    f".safetensors state dict, or {name} alone for its ImageNet weights")
        files[check_choice("pretrained", name, tuple(KNOWN))] = str(path) if file else ""
    return files


def weights_file(name: str, root: Path | str) -> Path:
    """Path of an architecture's ImageNet weights under the data root."""
    return Path(root) / "weights" / f"{name}-imagenet.safetensors"


def pretrained(name: str, root: Path | str, file: Path | str = "") -> Encoder:
    """Load an architecture of `KNOWN` with its ImageNet weights, or with those of `file`, a .safetensors state dict.

    The ImageNet weights are those of `weights_file`; if it does not exist, torchvision's own, downloaded and checked by
    their hash.  FileNotFoundError if neither is available, ValueError for a damaged file or another architecture's.
    """
    return _load(untrained(name), name, root, file)


def check_weights(files: dict[str, str], root: Path | str) -> None:
    """Raise now what `pretrained` would raise later, for each architecture: its file ("" for `weights_file`).

    Reads every file, compares it with its architecture and discards it; downloads go to torch's cache.  Networks are
    built on the meta device only, with shapes and no values.
    """
    for name, file in files.items():
        with torch.device("meta"):
            encoder = untrained(name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")   # intended here
            _load(encoder, name, root, file)


def _load(encoder: Encoder, name: str, root: Path | str, file: Path | str) -> Encoder:
    path = Path(file) if file else weights_file(name, root)
    if file or path.is_file() or name not in torchvision.models.list_models():
        load_weights(encoder.net, path)
        return encoder
    try:
        encoder.net.load_state_dict(download_weights(torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]))
    except (OSError, HTTPException) as error:   # without a network, an OSError
        raise FileNotFoundError(f"weights: {path} does not exist, and torchvision's {name} could not be downloaded "
                                f"({error}); put a .safetensors state dict of {name} there") from None
    except (RuntimeError, ValueError, UnpicklingError) as error:   # the last for a file that contains code
        raise ValueError(f"weights: the download of torchvision's {name} is damaged ({one_line(error)}); try again, or "
                         f"put a .safetensors state dict of {name} at {path}") from None
    return encoder


def load_imagenet_backbone(backbone: nn.Module, name: str, root: Path | str) -> None:
    """Fill the backbone of a larger network with an architecture's ImageNet weights (`pretrained`).

    ValueError if they lack a tensor of the backbone or its shape differs; the backbone is then unchanged.
    """
    state = pretrained(name, root).net.state_dict()
    missing = [layer for layer, tensor in backbone.state_dict().items()
               if layer not in state or state[layer].shape != tensor.shape]
    if missing:
        raise ValueError(f"weights: those of {name} lack {missing[0]} and {len(missing) - 1} more tensors of the "
                         "backbone; use weights of the same network")
    backbone.load_state_dict(state, strict=False)


def download_weights(weights: torchvision.models.WeightsEnum) -> dict[str, Tensor]:
    """Load torchvision's own weights, downloaded or from torch's cache; both are checked by their hash.

    OSError or HTTPException if the download fails; RuntimeError or ValueError if the file is damaged, which is then
    removed from the cache.
    """
    refuse_damaged(*cached_download(weights.url))
    return weights.get_state_dict(check_hash=True, weights_only=True, progress=False)


def cached_download(url: str) -> tuple[Path, str]:
    """The file in torch.hub's cache for a URL, and the beginning of its SHA-256 as the name states it ("" if not)."""
    file = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    stated = re.search(r"-([0-9a-f]{8,})\.", file.name)
    return file, stated[1] if stated else ""


def refuse_damaged(file: Path, sha256: str) -> None:
    """Remove a file, with a ValueError, if it exists and its SHA-256 does not begin with `sha256`."""
    if file.is_file() and not (actual := hashlib.sha256(file.read_bytes()).hexdigest()).startswith(sha256):
        file.unlink()
        raise ValueError(f"{file} had the SHA-256 {actual[:12]}... instead of {sha256[:12]}..., and was removed")


def fingerprint(name: str, root: Path | str, file: Path | str = "") -> str:
    """12 hexadecimal digits of the file that `pretrained` would read; for torchvision's own weights, their name."""
    path = Path(file) if file else weights_file(name, root)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "IMAGENET1K_V1"


def load_weights(model: nn.Module, path: Path | str) -> nn.Module:
    """Load a state dict of the model's own architecture; returns the model, in evaluation mode.

    path  .safetensors, or saved by torch.save, also by a trainer, see `weights.read` and `weights.load`
    FileNotFoundError if the file does not exist; ValueError if it is damaged or of another architecture.
    Half-precision weights are widened.  No code in a file is run.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist; put a .safetensors state dict of "
                                f"{type(model).__name__} there")
    return weights.load(model, weights.read(path), path)
