"""Frozen networks to read from: what there is, its weights, and the features of an image set (pages 02 and 04).

Many readouts are fitted to the features of one frozen network, so these are kept where they are few.  Where they would
take more memory than `KEPT`, the network computes them anew for every batch (`reading`).
"""
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
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from posenc_lib.base.checks import check_choice, one_line
from posenc_lib.base.shapes import Features, Images
from posenc_lib.data.imageset import IMAGENET, ImageSet
from posenc_lib.nets import hooks
from posenc_lib.nets import pretrained as models

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
    "resnet34": Known(torchvision.models.resnet34, RESNET),
    "resnet50": Known(torchvision.models.resnet50, RESNET),
    "resnet152": Known(torchvision.models.resnet152, RESNET),
    "squeezenet1_1": Known(torchvision.models.squeezenet1_1, tuple(f"features.{n}" for n in (1, 4, 7, 12))),
    "mobilenetv2_100": Known(lambda: timm.create_model("mobilenetv2_100", pad_type="same"),
                             tuple(f"blocks.{n}" for n in (0, 1, 2, 4, 6)), SYMMETRIC),
    "hrnet_w32": Known(lambda: timm.create_model("hrnet_w32"), tuple(f"incre_modules.{n}" for n in range(4))),
}


def untrained(name: str) -> Encoder:
    """An ImageNet architecture as it is built, with random weights from torch's global generator.

    "pixels" is the image itself and "coordinates" the image with its rows and columns: nothing there is learned.
    """
    if name in ("pixels", "coordinates"):
        net = nn.Sequential(OrderedDict(image=nn.Identity() if name == "pixels" else Coordinates()))
        return Encoder(net.eval(), ("image",), *UNIT)
    entry = KNOWN[check_choice("encoder", name, (*KNOWN, "pixels", "coordinates"))]
    return Encoder(entry.build().eval(), entry.stages, *entry.normalisation)


def small_vgg(net: nn.Module) -> Encoder:
    """A `models.vgg` to read from, after the ReLU that ends each block."""
    return Encoder(net.eval(), tuple(f"features.{n}" for n in (5, 12, 19, 26)), *IMAGENET)


def parse_encoders(pretrained: str, root: Path | str, otherwise: Sequence[str] = ()) -> dict[str, str]:
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
        files[check_choice("pretrained", name, tuple(KNOWN))] = str(path) if file else ""
    return files


def weights_file(name: str, root: Path | str) -> Path:
    """Where the ImageNet weights of an architecture lie under the data root."""
    return Path(root) / "weights" / f"{name}-imagenet.safetensors"


def pretrained(name: str, root: Path | str, file: Path | str = "") -> Encoder:
    """An architecture of `KNOWN` with its ImageNet weights, or with those of `file`, a .safetensors state dict.

    The weights are read from `weights_file`; where that is not there, torchvision downloads its own and checks their
    hash.  FileNotFoundError when neither is to be had, ValueError for a damaged file or another architecture's.
    """
    return _filled(untrained(name), name, root, file)


def check_weights(files: dict[str, str], root: Path | str) -> None:
    """Raise now what `pretrained` would raise later, for each architecture: its file ("" is `weights_file`).

    Every file is read, compared with its architecture, and let go; what has to be downloaded is downloaded, into
    torch's cache.  No network is built but on the meta device, where it has shapes and no values.
    """
    for name, file in files.items():
        with torch.device("meta"):
            encoder = untrained(name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")   # which is the point here
            _filled(encoder, name, root, file)


def _filled(encoder: Encoder, name: str, root: Path | str, file: Path | str) -> Encoder:
    path = Path(file) if file else weights_file(name, root)
    if not file and not path.is_file() and name in torchvision.models.list_models():
        try:
            encoder.net.load_state_dict(download_weights(torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]))
        except (OSError, HTTPException) as error:   # no network is an OSError
            raise FileNotFoundError(f"weights: {path} is not there, and torchvision's {name} could not be downloaded "
                                    f"({error}); put a .safetensors state dict of {name} at that path") from None
        except (RuntimeError, ValueError, UnpicklingError) as error:   # the last for one that holds code
            raise ValueError(f"weights: torchvision's {name} came damaged ({one_line(error)}); try again, or put a "
                             f".safetensors state dict of it at {path}") from None
        return encoder
    models.load_weights(encoder.net, path)
    return encoder


def load_imagenet_backbone(backbone: nn.Module, name: str, root: Path | str) -> None:
    """Fill the backbone of a larger network with the ImageNet weights of an architecture (`pretrained`).

    ValueError where those lack a tensor of the backbone's or have another shape; the backbone is then as it was.
    """
    state = pretrained(name, root).net.state_dict()
    missing = [layer for layer, tensor in backbone.state_dict().items()
               if layer not in state or state[layer].shape != tensor.shape]
    if missing:
        raise ValueError(f"weights: those of {name} lack {missing[0]} and {len(missing) - 1} more of the backbone's; "
                         "give weights of that very network")
    backbone.load_state_dict(state, strict=False)


def download_weights(weights: torchvision.models.WeightsEnum) -> dict[str, Tensor]:
    """torchvision's own weights, from the network or from torch's cache, whose file is checked as the download is.

    OSError or HTTPException when they do not come, RuntimeError or ValueError when they come or lie there damaged; a
    damaged file is taken away.
    """
    refuse_damaged(*cached_download(weights.url))
    return weights.get_state_dict(check_hash=True, weights_only=True, progress=False)


def cached_download(url: str) -> tuple[Path, str]:
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


def load_weights(model: nn.Module, path: Path | str) -> nn.Module:
    """Fill `model` from a .safetensors file of its own architecture; returns the model, in evaluation mode.

    FileNotFoundError when the file is missing; ValueError when it is cut off or fits another architecture.
    Half-precision weights are widened.  No pickle is read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} was asked for and is not there; put a .safetensors state dict of "
                                f"{type(model).__name__} at that path")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"weights: {path} is damaged or no safetensors file ({error}); download it again") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        there, wanted = set(weights), set(model.state_dict())
        odd = sorted(there ^ wanted)[:3] or ["the shapes of its tensors"]
        raise ValueError(f"weights: {path} does not fit {type(model).__name__}: it has {len(there)} tensors, the model "
                         f"{len(wanted)}; they differ in {', '.join(odd)}") from None
    return model.eval()
