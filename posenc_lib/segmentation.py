"""Segmenters: DeepLabv3 on a ResNet, how it is trained, and what an attack on its channels does to every image.

Built up by hand in page 06.  Source: Islam et al., ICCV 2021, Sec. 4.2; released code for what the text leaves open.
"""
import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import timm
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torchvision.models.segmentation.deeplabv3 import ASPP

from posenc_lib import canvas, data, encoders, metrics, progress, training
from posenc_lib.config import PADDING_MODES, PolyRecipe, choose
from posenc_lib.draws import Draws, Dropout
from posenc_lib.padding import set_padding_mode
from posenc_lib.shapes import Features, Images, LabelMaps

Low = Float[Tensor, "batch low_channel low_row low_col"]   # layer1's map, beside the deeper f
BACKBONES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
STAGES = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")


# The released code keeps its best score as a NumPy number beside the weights.
_SCALARS = [(np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
            np._core.multiarray.scalar, np.dtype, type(np.dtype(np.float64)), codecs.encode]


def _aspp(channels: int, rates: Sequence[int], head: int) -> ASPP:
    """torchvision's, with a dropout that draws from the run's own generator."""
    aspp = ASPP(channels, list(rates), head)
    aspp.project[-1] = Dropout(aspp.project[-1].p)
    return aspp


class _Plus(nn.Module):
    """The head of DeepLabv3+: ASPP enlarged to an early map, beside a few channels of that map."""
    def __init__(self, channels: int, low_channels: int, num_classes: int, rates: Sequence[int], head: int):
        super().__init__()
        low = min(48, low_channels)
        self.project = nn.Sequential(nn.Conv2d(low_channels, low, 1, bias=False), nn.BatchNorm2d(low), nn.ReLU())
        self.aspp = _aspp(channels, rates, head)
        self.classifier = nn.Sequential(nn.Conv2d(head + low, head, 3, padding=1, bias=False), nn.BatchNorm2d(head),
                                        nn.ReLU(), nn.Conv2d(head, num_classes, 1))

    def forward(self, f: Features, low: Low) -> Tensor:
        enlarged = interpolate(self.aspp(f), tuple(low.shape[-2:]), mode="bilinear", align_corners=False)
        return self.classifier(torch.cat([self.project(low), enlarged], 1))


class Segmenter(nn.Module):
    """DeepLabv3: a dilated ResNet, atrous spatial pyramid pooling (ASPP), logits enlarged to the image.

        images (batch, rgb, row, col) -> f (batch, channel, f_row, f_col) -> logits (batch, label, row, col)

    name           "resnet18", "resnet34" or "resnet50"
    width          channels of the first stage, 64 in the source.  Given one, the network is a small one of basic
                   blocks without max-pool, so that a circular network stays exactly shift-invariant.  None is the
                   source's own network
    output_stride  pixels of the image a pixel of f, 8 or 16; the authors' is 16, torchvision's 8
    rates          dilations of ASPP: the authors' at stride 16; (12, 24, 36) is torchvision's, at 8
    head           channels of ASPP, 256 in the source
    plus           DeepLabv3+: the head also reads layer1, for what is thin; one of the networks of the released code
    Parameters are named and ordered as torchvision's.  Random weights, from torch's global generator.
    """
    def __init__(self, name: str, num_classes: int, *, width: int | None = None, output_stride: int = 16,
                 rates: tuple[int, ...] = (6, 12, 18), head: int = 256, plus: bool = False):
        super().__init__()
        blocks = BACKBONES[choose("segmenter", name, tuple(BACKBONES))]
        choose("output_stride", output_stride, (8, 16))
        if width is None:
            self.backbone = timm.create_model(name, output_stride=output_stride, num_classes=0, global_pool="")
        elif width % 2:
            raise ValueError(f"segmenter: width {width} was asked for; give an even number")
        else:   # timm counts the stride of the max-pool that is taken out here
            self.backbone = ResNet(BasicBlock, blocks, output_stride=2 * output_stride, num_classes=0, global_pool="",
                                   zero_init_last=False, stem_type="deep", stem_width=width // 2,
                                   channels=tuple(width * n for n in (1, 2, 4, 8)))
            self.backbone.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.backbone.maxpool = nn.Identity()
        channels, low = (self.backbone.feature_info[n]["num_chs"] for n in (-1, 1))
        self.classifier = _Plus(channels, low, num_classes, rates, head) if plus else nn.Sequential(
            _aspp(channels, rates, head), nn.Conv2d(head, head, 3, padding=1, bias=False), nn.BatchNorm2d(head),
            nn.ReLU(), nn.Conv2d(head, num_classes, 1))

    def features(self, images: Images, layer: str = "layer4") -> tuple[Features, Low | None]:
        """f, what `layer` of the backbone puts out (ASPP reads the last one's), and layer1's map if it is passed."""
        x, low = images, None
        for stage in STAGES[:STAGES.index(choose("layer", layer, STAGES)) + 1]:
            x = getattr(self.backbone, stage)(x)
            low = x if stage == "layer1" else low
        return x, low

    def decode(self, f: Features, low: Low | None, size: tuple[int, int],
               layer: str = "layer4") -> Float[Tensor, "batch label shown_row shown_col"]:
        """The rest of the way: logits of `size` from what `features` gave, f changed or not."""
        low = f if layer == "layer1" else low
        for stage in STAGES[STAGES.index(choose("layer", layer, STAGES)) + 1:]:
            f = getattr(self.backbone, stage)(f)
            low = f if stage == "layer1" else low
        logits = self.classifier(f, low) if isinstance(self.classifier, _Plus) else self.classifier(f)
        return interpolate(logits, size, mode="bilinear", align_corners=False)

    def forward(self, images: Images) -> Float[Tensor, "batch label row col"]:
        return self.decode(*self.features(images), tuple(images.shape[-2:]))


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """One network of page 06, how it is trained, and how its channels are ranked and removed.

    data          fingerprint of the image set
    net, width, output_stride, rates, head, plus   see `Segmenter`; the defaults are the authors'
    weights       "" starts at random; "imagenet" the backbone from ImageNet; else the fingerprint of a checkpoint
    mirrored      whether training mirrors half of the images, as the authors' did
    balance       a class that makes up a share p of the pixels weighs p^-balance in the loss; 0 weighs all alike
    crop          rows and columns of the windows that training sees; None is the whole image
    jitter        brightness, contrast and saturation are each multiplied by 1 - jitter .. 1 + jitter
    layer         whose channels are ranked and removed
    rank_images, test_images   how many train images rank, and how many test images are attacked; None is all
    shares        of the channels that are removed; 100 / 2048 is the authors' script, 300 / 2048 their folder's name
    draws         random sets of channels a share, and as many of matched strength
    """
    profile: str
    dataset: str
    data: str
    net: str = "resnet50"
    width: int | None = None
    output_stride: int = 16
    rates: tuple[int, ...] = (6, 12, 18)
    head: int = 256
    plus: bool = False
    padding_mode: str = "zeros"
    weights: str = ""
    mirrored: bool = True
    balance: float = 0.0
    crop: tuple[int, int] | None = None
    jitter: float = 0.5
    layer: str = "layer4"
    rank_images: int | None = None
    test_images: int | None = None
    shares: tuple[float, ...] = (100 / 2048, 300 / 2048, 1000 / 2048)
    draws: int = 20
    recipe: PolyRecipe = field(default_factory=PolyRecipe)
    revision: int = 1

    def __post_init__(self):
        choose("padding_mode", self.padding_mode, PADDING_MODES)
        choose("layer", self.layer, STAGES)


# What a profile changes, for streets and for other sets; "size" is the rows and columns of the pictures, and "seeds"
# how many networks where that is not the profile's number.  The small network and its schedule are choices of this
# book; "paper" is the released script's, from a backbone for ImageNet.
# The released 30,000 steps of 16 are 161 passes over Cityscapes' 2,975 images.  Over CamVid's 367 they would be 1,308:
# there it is 200 passes of 23 steps, 4,600 in all, some more than Cityscapes gets, at the same rates, which fall to 0
# likewise.  "small" (`-p network small`) is for enough networks for a verdict in minutes on a GPU: the 1,000 steps of 8
# of "quick" are 22 passes over CamVid; it gets 100.
_SMALL = {"net": "resnet18", "plus": True, "rates": (1, 2, 3), "balance": 0.3, "jitter": 0.0}
_FAST = {"learning_rate": 1e-2, "adamw": True, "backbone_scale": 1.0}
SEGMENTER = {
    "smoke": {"streets": {**_SMALL, "size": (32, 64), "width": 2, "output_stride": 8, "head": 4, "rank_images": 8,
                          "test_images": 6, "draws": 3,
                          "recipe": PolyRecipe(epochs=2, epoch_steps=1, batch_size=4, **_FAST)}},
    "quick": {"streets": {**_SMALL, "size": (64, 128), "width": 16, "head": 24, "rank_images": 100, "test_images": 60,
                          "recipe": PolyRecipe(epochs=20, epoch_steps=20, batch_size=4, **_FAST)},
              "other": {**_SMALL, "size": (120, 160), "width": 16, "head": 48, "rank_images": 150, "test_images": 120,
                        "recipe": PolyRecipe(epochs=20, epoch_steps=50, batch_size=8, **_FAST)}},
    "paper": {"small": {**_SMALL, "size": (120, 160), "width": 32, "head": 96, "seeds": 15,
                        "recipe": PolyRecipe(epochs=100, epoch_steps=23, **_FAST)},
              "camvid": {"size": (360, 480), "weights": "imagenet",
                         "recipe": PolyRecipe(epochs=200, epoch_steps=23)},
              "cityscapes": {"size": (512, 1024), "weights": "imagenet", "crop": (512, 512)}},   # at half size, to fit
}


# Networks that a page can be asked for in place of a profile's; "torchvision" is its DeepLabv3-ResNet50.
_AUTHORS = {"width": None, "output_stride": 16, "rates": (6, 12, 18), "head": 256, "plus": False}
NETWORKS = {**{name: {"net": name, **_AUTHORS} for name in BACKBONES},
            "torchvision": {"net": "resnet50", **_AUTHORS, "output_stride": 8, "rates": (12, 24, 36)}}


def preset(profile: str, dataset: str, network: str = "") -> dict:
    """What `SEGMENTER` has for an image set; the last one there is where it has nothing of its own.

    network  in place of the profile's: one of `NETWORKS`; or "small", which smoke and quick have anyway
    """
    choose("network", network, ("", "small", *NETWORKS))
    sets = SEGMENTER[profile]
    name = next((name for name in (network, dataset) if name in sets), list(sets)[-1])
    return {**sets[name], **NETWORKS.get(network, {})}


def build(c: SegmenterConfig, num_classes: int) -> Segmenter:
    """The network of a configuration, with random weights from torch's global generator."""
    net = Segmenter(c.net, num_classes, width=c.width, output_stride=c.output_stride, rates=c.rates, head=c.head,
                    plus=c.plus)
    return net if c.padding_mode == "zeros" else set_padding_mode(net, c.padding_mode)


def from_imagenet(net: Segmenter, name: str, root: Path | str) -> Segmenter:
    """Fill the backbone with ImageNet weights (`encoders.fill`); returns the network."""
    encoders.fill(net.backbone, name, root)
    return net


def load_checkpoint(net: Segmenter, path: Path | str) -> Segmenter:
    """Fill `net` from a user's file: .safetensors, or what torch.save wrote of a state dict, bare or in a dictionary
    under "model_state" (as the authors' code does), "state_dict" or "model".  Returns it, in evaluation mode.

    Names of DataParallel ("module.") and of the authors' code ("classifier.classifier.") are understood; torchvision's
    auxiliary classifier is left out.  Only tensors and plain values are read (weights_only): a file that holds code
    is refused with a ValueError, as is one that is damaged, or of other classes or another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} was asked for and is not there; give the path of a state dict, "
                                ".safetensors or torch.save's")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with torch.serialization.safe_globals(_SCALARS):
                state = training.read(path)
    except UnpicklingError:
        raise ValueError(f"checkpoint: {path} holds more than tensors and plain values, or is no checkpoint, and is "
                         "refused: reading it could run what is in it; save net.state_dict() alone") from None
    except Exception as error:   # what torch raises on a damaged file depends on where it is damaged
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise ValueError(f"checkpoint: {path} is damaged or no checkpoint ({reason}); copy it again") from None
    for name in ("model_state", "state_dict", "model"):
        state = state.get(name, state) if isinstance(state, dict) else {}
    state = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    wanted = net.state_dict()
    weights = {name.removeprefix("module."): tensor for name, tensor in state.items() if "aux_classifier." not in name}
    weights = {name if name in wanted else name.replace("classifier.classifier.", "classifier."): tensor
               for name, tensor in weights.items()}
    last = list(wanted)[-1]
    if last in weights and weights[last].ndim == 1 and weights[last].shape != wanted[last].shape:
        raise ValueError(f"checkpoint: {path} tells {len(weights[last])} classes apart, and the image set has "
                         f"{len(wanted[last])}; give one that was trained on these classes")
    try:
        net.load_state_dict(weights)
    except RuntimeError:
        odd = sorted(set(weights) ^ set(wanted))[:3] or ["the shapes of its tensors"]
        raise ValueError(f"checkpoint: {path} does not fit this network: it has {len(weights)} tensors, the network "
                         f"{len(wanted)}; they differ in {', '.join(odd)}") from None
    return net.eval()


def class_weights(images: data.ImageSet, balance: float) -> Float[Tensor, " label"]:
    """What each class weighs in the loss: its share of the labelled pixels, to the power -balance; 1 on average over
    pixels, 0 for a class that does not occur.
    """
    labelled = images.labels[images.labels != data.VOID]
    share = labelled.bincount(minlength=len(images.classes)).double() / len(labelled)
    weight = torch.where(share > 0, share.clamp(min=1e-9) ** -balance, 0.0)
    return (weight / (weight * share).sum()).float()


def augment(c: SegmenterConfig, images: Images, labels: LabelMaps, draws: Draws) -> tuple[Tensor, Tensor]:
    """What one step of training sees: a window of the batch, half of it mirrored with its label maps, in other light.

    images  0..1, not normalised
    """
    rows, cols = images.shape[-2:]

    def uniform() -> Tensor:
        return draws(torch.rand, len(images), 1, 1, 1)

    if c.crop is not None:
        for axis, side, limit in zip((-2, -1), c.crop, (rows, cols), strict=True):
            side = min(side, limit)
            window = draws(torch.randint, limit - side + 1, ()) + torch.arange(side, device=images.device)
            images, labels = images.index_select(axis, window), labels.index_select(axis, window)
    if c.mirrored:
        chosen = uniform() < 0.5
        images = torch.where(chosen, images.flip(-1), images)
        labels = torch.where(chosen[:, 0], labels.flip(-1), labels)
    if c.jitter:
        brightness, contrast, saturation = (1 + c.jitter * (2 * uniform() - 1) for _ in range(3))
        images = brightness * images
        average = images.mean((1, 2, 3), keepdim=True)
        images = average + contrast * (images - average)
        grey = images.mean(1, keepdim=True)
        images = (grey + saturation * (images - grey)).clamp(0, 1)
    return images, labels


def objective(c: SegmenterConfig, train: data.ImageSet, weight: Float[Tensor, " label"], net: nn.Module, images: Images,
              labels: LabelMaps, draws: Draws) -> Float[Tensor, ""]:
    """Cross-entropy over the labelled pixels of an augmented batch; `weight` is that of `class_weights`.

    train, weight  on the device of the images, so that no step copies them there
    """
    mean, std = train.per_colour
    images, labels = augment(c, images * std + mean, labels, draws)
    logits = net((images - mean) / std)
    logits = logits.permute(0, 2, 3, 1).flatten(0, 2)                              # classes last: their sums are faster
    return cross_entropy(logits, labels.flatten(), weight=weight, ignore_index=data.VOID)


@dataclass(frozen=True, eq=False)
class Removal:
    """Channels of a feature map to be put out of action.

    channels  their numbers, on any device
    instead   (channel,) what each channel of the layer holds after that; None is zero, as in the authors' code
    inside    a region of `canvas.REGIONS`, if only that part of the map is touched; "" is all of it
    """
    channels: Int[Tensor, " n"]
    instead: Float[Tensor, " channel"] | None = None
    inside: str = ""

    def __call__(self, f: Features) -> Features:
        """A new map; f stays as it is."""
        n = f.shape[1]
        if len(self.channels) and not 0 <= int(self.channels.min()) <= int(self.channels.max()) < n:
            raise ValueError(f"Removal: channels {int(self.channels.min())}..{int(self.channels.max())} were asked "
                             f"for, but the layer has 0..{n - 1}")
        touched = torch.zeros(n, 1, 1, dtype=torch.bool, device=f.device)
        touched[self.channels.to(f.device)] = True
        if self.inside:
            zones = canvas.zones(*f.shape[-2:]).to(f.device)
            touched = touched & torch.isin(zones, torch.tensor(canvas.REGIONS[self.inside], device=f.device))
        value = 0.0 if self.instead is None else self.instead.to(f)[:, None, None]
        return torch.where(touched, value, f)


@torch.no_grad()
def sweep(net: Segmenter, images: data.ImageSet, removals: Sequence[Removal], *, layer: str = "layer4",
          batch: int = 20) -> Int[Tensor, "removal image zone 3 label"]:
    """What is left of a segmentation under every removal: `metrics.class_counts` by image and zone.

    The way up to `layer` is gone once per image, the rest once per removal.  Zones are those of `canvas.zones`.
    The same as a full evaluation under `hooks.ablated(net, "backbone." + layer, removal.channels)`.
    """
    zones = canvas.zones(*images.images.shape[-2:]).to(images.images.device)
    found = []
    for index in progress.quiet(torch.arange(len(images), device=images.images.device).split(batch), "removals"):
        pixels, labels = images.batch(index)
        f, low = net.features(pixels, layer)
        told = (net.decode(removal(f), low, tuple(labels.shape[-2:]), layer).max(1).indices   # argmax: 4 times as slow
                for removal in removals)
        found.append(torch.stack([metrics.class_counts(metrics.confusion(p, labels, len(images.classes), zones))
                                  for p in told]).int().cpu())
    return torch.cat(found, 1)


def region_iou(counts: Int[Tensor, "removal image zone 3 label"], region: str = "", *,
               weights: Float[Tensor, "draw image"] | None = None) -> Float[Tensor, "removal draw"]:
    """Mean IoU, 0..1, of every removal within a region ("" is the whole image), over the classes labelled there.

    weights  how often each image counts, one row a draw of the bootstrap; None counts each once (one draw)
    """
    zones = list(canvas.REGIONS[region]) if region else slice(None)
    by_image = counts[:, :, zones].sum(2).double()                                  # (removal, image, 3, label)
    classes = by_image[0, :, 1].sum(0) > 0
    weights = torch.ones(1, counts.shape[1]) if weights is None else weights
    return metrics.mean_iou(torch.einsum("dn,rnil->rdil", weights.double(), by_image), classes)
