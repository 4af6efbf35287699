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
from posenc_lib.data import IMAGENET, ImageSet, Trainable
from posenc_lib.draws import Draws
from posenc_lib.padding import remove_padding, set_padding_mode
from posenc_lib.shapes import Features, Images, Labels, Latents

SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))   # to -1..1
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))        # 0..1 as it is
RESNET = ("layer1", "layer2", "layer3", "layer4")
KEPT = 2 * 2 ** 30   # bytes of features of one image set that are kept: 2 GiB are 930 pictures of VGG-16


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
    return _filled(known(name), name, root, file)


def check(files: dict[str, str], root: Path | str) -> None:
    """Raise now what `pretrained` would raise later, for each architecture: its file ("" is `weights_file`).

    Every file is read, compared with its architecture, and let go; what has to be downloaded is downloaded, into
    torch's cache.  No network is built but on the meta device, where it has shapes and no values.
    """
    for name, file in files.items():
        with torch.device("meta"):
            encoder = known(name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")   # which is the point here
            _filled(encoder, name, root, file)


def _filled(encoder: Encoder, name: str, root: Path | str, file: Path | str) -> Encoder:
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


def fill(backbone: nn.Module, name: str, root: Path | str) -> None:
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


def stacked(encoder: Encoder, images: ImageSet, *, side: int = 28, batch: int = 32,
            device: torch.device | str | None = None) -> tuple[Float[Tensor, "image channel {side} {side}"], list[int]]:
    """The features of all stages, resized to one grid and stacked by channel; and how many channels each stage has.

    device  where they are put; None is where the network is, or where the images are if it has no parameters
    In half precision where it reaches: one image of VGG-16 takes 2.3 MB.  Bilinear, with the corners aligned, as in the
    released code.  Source: ICLR 2020, Sec. 3.1.
    """
    images, kept, channels = encoder.view(images), torch.empty(0), []
    for index in progress.quiet(torch.arange(len(images)).split(batch), "features"):
        full, channels = _stacked(encoder, images, index, side)
        half = full.half()
        if not len(kept):
            kept = torch.empty(len(images), *full.shape[1:], dtype=half.dtype, device=device or full.device)
        part = half if half.isfinite().all() else full   # a random ResNet-152 goes beyond half precision
        kept = kept.to(torch.promote_types(kept.dtype, part.dtype))
        kept[index[0]:index[-1] + 1] = part.to(kept.device)
    return kept, channels


@dataclass(frozen=True, eq=False)
class Reading(Trainable):
    """The stacked features of an image set, as `training.fit` takes them; see `reading`.

    images  normalised as the encoder wants them
    kept    (image, channel, side, side) what `stacked` gave; None: the encoder is run on every batch
    use     numbers of the channels that are read; None is all
    A batch is float32, where the images are; its labels are those of the images.
    """
    encoder: Encoder
    images: ImageSet
    side: int
    kept: Tensor | None = None
    use: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def on_device(self) -> bool:   # a frozen network in each step keeps a GPU busy without being captured
        return self.kept is not None

    def only(self, use: Tensor) -> "Reading":
        """Of these channels alone, as `chosen` numbers them."""
        return replace(self, use=use)

    def to(self, device: torch.device | str) -> "Reading":
        kept, use = (None if tensor is None else tensor.to(device) for tensor in (self.kept, self.use))
        return replace(self, images=self.images.to(device), kept=kept, use=use)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        device = self.images.images.device
        index = index.to(device)
        if self.kept is None:
            f = _stacked(self.encoder, self.images, index, self.side)[0].to(device)
        else:
            f = self.kept[index]
        return (f if self.use is None else f[:, self.use.to(device)]).float(), self.images.labels[index]


def reading(encoder: Encoder, images: ImageSet, *, side: int = 28, limit: int = KEPT) -> tuple[Reading, list[int]]:
    """The stacked features of an image set, where the images are, and how many channels each stage has.

    limit  bytes of features, in half precision, up to which they are computed once and kept.  Beyond that nothing is
           kept: the frozen network runs on every batch, in every epoch.

    The paper's 10,553 training pictures would be 24 GB of VGG-16 and 63 GB of ResNet-152, in fifteen epochs 158,000
    pictures through a network of 31 and 23 GFLOP a picture: by arithmetic 1 to 2 minutes a readout at 50 TFLOP/s, in
    which the pictures take 1.6 GB (uint8, 224 pixels) and a batch of 32 less than 4 GB.
    """
    images = encoder.view(images)
    one, channels = _stacked(encoder, images, torch.arange(1), side)
    if 2 * one.numel() * len(images) > limit:
        return Reading(encoder, images, side), channels
    return Reading(encoder, images, side, stacked(encoder, images, side=side, device=images.images.device)[0]), channels


def _stacked(encoder: Encoder, images: ImageSet, index: Tensor, side: int = 28) -> tuple[Features, list[int]]:
    """Features of some of the images, of all stages, in full precision, on the network's device; channels of each."""
    pixels, _ = images.batch(index.to(images.images.device))
    features = encoder(pixels.to(_device(encoder, pixels.device)))
    return torch.cat([resized(f, side) for f in features], 1), [f.shape[1] for f in features]


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


def _device(encoder: Encoder, otherwise: torch.device) -> torch.device:
    """Where a network computes; one without parameters, such as `Coordinates`, wherever its images are."""
    return next((p.device for p in encoder.net.parameters()), otherwise)


def resized(f: Features, side: int) -> Tensor:
    return interpolate(f, (side, side), mode="bilinear", align_corners=True)


def pooled(encoder: Encoder, images: ImageSet, grid: int, *, batch: int = 90,
           device: torch.device | str | None = None) -> tuple[list[Tensor], Labels, Tensor]:
    """Every image in every cell of a grid x grid canvas: z (canvas, channel) of each stage, location, and image number.

    device  where they are put; None is where the network is, or where the images are if it has no parameters
    The empty cells are the mean colour, 0 after normalisation, as in the released code of ICCV 2021.
    """
    latents: list[list[Latents]] = [[] for _ in encoder.stages]
    images = encoder.view(images)
    runs_on = _device(encoder, images.images.device)
    device = device or runs_on
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(grid ** 2))
    for part in progress.quiet(pairs.split(batch), "latents"):
        number, location = part.unbind(1)
        pixels, _ = images.batch(number.to(images.images.device))
        for kept, f in zip(latents, encoder(canvas.place(pixels.to(runs_on), location.to(runs_on), grid)), strict=True):
            kept.append(models.gap(f).to(device))
    return [torch.cat(kept) for kept in latents], pairs[:, 1].to(device), pairs[:, 0].to(device)
