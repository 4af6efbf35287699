"""Segmenters: DeepLabv3 on a ResNet, how it is trained, and what an attack on its channels does to every image.

Built up by hand in page 06.  Source: Islam et al., ICCV 2021, Sec. 4.2; released code for what the text leaves open.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base import progress
from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Images, LabelMaps
from posenc_lib.data import imageset
from posenc_lib.experiments.ablation import Ablation
from posenc_lib.measure import canvas, metrics
from posenc_lib.nets.padding import PADDING_MODES, set_padding_mode
from posenc_lib.nets.segmenters import BACKBONES, STAGES, Segmenter
from posenc_lib.run.config import PolyRecipe


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
        check_choice("padding_mode", self.padding_mode, PADDING_MODES)
        check_choice("layer", self.layer, STAGES)


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
    check_choice("network", network, ("", "small", *NETWORKS))
    sets = SEGMENTER[profile]
    name = next((name for name in (network, dataset) if name in sets), list(sets)[-1])
    return {**sets[name], **NETWORKS.get(network, {})}


def build(c: SegmenterConfig, num_classes: int) -> Segmenter:
    """The network of a configuration, with random weights from torch's global generator."""
    net = Segmenter(c.net, num_classes, width=c.width, output_stride=c.output_stride, rates=c.rates, head=c.head,
                    plus=c.plus)
    return net if c.padding_mode == "zeros" else set_padding_mode(net, c.padding_mode)


def class_weights(images: imageset.ImageSet, balance: float) -> Float[Tensor, " label"]:
    """What each class weighs in the loss: its share of the labelled pixels, to the power -balance; 1 on average over
    pixels, 0 for a class that does not occur.
    """
    labelled = images.labels[images.labels != imageset.VOID]
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


def objective(
    c: SegmenterConfig,
    train: imageset.ImageSet,
    weight: Float[Tensor, " label"],
    net: nn.Module,
    images: Images,
    labels: LabelMaps,
    draws: Draws,
) -> Float[Tensor, ""]:
    """Cross-entropy over the labelled pixels of an augmented batch; `weight` is that of `class_weights`.

    train, weight  on the device of the images, so that no step copies them there
    """
    mean, std = train.per_colour
    images, labels = augment(c, images * std + mean, labels, draws)
    logits = net((images - mean) / std)
    logits = logits.permute(0, 2, 3, 1).flatten(0, 2)                              # classes last: their sums are faster
    return cross_entropy(logits, labels.flatten(), weight=weight, ignore_index=imageset.VOID)


@torch.no_grad()
def sweep(net: Segmenter, images: imageset.ImageSet, removals: Sequence[Ablation], *, layer: str = "layer4",
          batch: int = 20) -> Int[Tensor, "removal image zone 3 label"]:
    """What is left of a segmentation under every removal: `metrics.class_counts` by image and zone.

    The way up to `layer` is gone once per image, the rest once per removal.  Zones are those of `canvas.zones`.
    The same as a full evaluation under `hooks.ablated(net, "backbone." + layer, removal.channels)`.
    """
    zones = canvas.zones(*images.images.shape[-2:]).to(images.images.device)
    found = []
    for index in progress.bar(torch.arange(len(images), device=images.images.device).split(batch), "removals"):
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
