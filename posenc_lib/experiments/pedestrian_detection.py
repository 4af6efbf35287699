"""Pedestrian detectors: Faster R-CNN, Cascade R-CNN and CSP, how they are trained, and what an attack on their channels
does to every image.  Made of parts of torchvision and timm; looked at in page 07.

Source: Islam et al., ICCV 2021, supplement S4.  The detectors: Ren et al., NeurIPS 2015, with a feature pyramid (Lin et
al., CVPR 2017); Cai and Vasconcelos, CVPR 2018, on HRNet (Wang et al., TPAMI 2020); Liu et al., CVPR 2019.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from posenc_lib.base import progress
from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Boxes, Detections, Images
from posenc_lib.data.imageset import ImageSet
from posenc_lib.experiments.ablation import Ablation
from posenc_lib.nets.detectors import ASPECT, CSP, KINDS, TwoStage, backbone
from posenc_lib.run.config import PolyRecipe


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """One detector of page 07, how it is trained, and how its channels are ranked and removed.

    data         fingerprint of the image set
    unit         pixels of a picture to one of the benchmark's, in which all heights here are (`people.unit`)
    detector     "faster", "cascade" or "csp"
    net, width   see `backbone`
    head, units, proposals, heights, aspect   see `TwoStage` and `CSP`; defaults are the sources'
    weights      "" starts at random; else the fingerprint of the backbone's weights for ImageNet, frozen batch norm
    mirrored     whether training mirrors half of the images
    zoom         training enlarges or reduces an image to 2^-zoom .. 2^zoom of its size
    learned      lowest height and share seen of people to learn from; others are ignored in training
    rank_images, test_images   how many train images rank, and how many test images are attacked; None is all
    shares       of the channels that are removed, first the one that a verdict is about; a whole number is one of
                 channels (100 in the paper)
    draws        random sets of channels at the first share, and as many of matched strength
    """
    profile: str
    dataset: str
    data: str
    unit: float
    detector: str = "faster"
    net: str = "resnet50"
    width: int | None = None
    head: int = 256
    units: int = 1024
    proposals: int = 1000
    heights: tuple[tuple[int | float, ...], ...] = ((30, 45), (70, 105), (160, 240), (360, 540))
    aspect: float | None = ASPECT
    weights: str = ""
    mirrored: bool = True
    zoom: float = 0.0
    learned: tuple[int | float, float] = (20, 0.3)
    rank_images: int | None = None
    test_images: int | None = None
    shares: tuple[int | float, ...] = (100, 0.05, 0.5)
    draws: int = 20
    recipe: PolyRecipe = field(default_factory=PolyRecipe)
    revision: int = 1

    def __post_init__(self):
        check_choice("detector", self.detector, KINDS)


SEEDS = {"smoke": 2, "quick": 2, "paper": 5}   # of two networks, the interval is too wide to say "reproduced"
# What a profile changes, for all detectors and for each; "size" is the rows and columns of the pictures.  The small
# networks and all schedules are choices of this book: the paper states none.
_FAST = {"learning_rate": 5e-3, "adamw": True, "backbone_scale": 1.0, "batch_size": 8}
_SMALL = {"width": 16, "head": 32, "units": 64, "proposals": 128, "heights": ((43, 59), (77, 101), (123, 155)),
          "shares": (0.15, 0.05, 0.5)}
_NETS = {"faster": {"net": "resnet10t"}, "cascade": {"net": "hrnet_w18_small", "width": 8},
         "csp": {"net": "resnet10t"}}
_TUNED = {"head": 32, "units": 256, "proposals": 256, "aspect": None, "zoom": 0.5, "shares": (0.15, 0.5),
          "net": "mobilenetv2_100", "weights": "imagenet",
          "recipe": PolyRecipe(epochs=8, epoch_steps=50, **(_FAST | {"backbone_scale": 0.05}))}
_WIDE = {"cascade": {"net": "hrnet_w32"}}
_LONG = {"weights": "imagenet", "recipe": PolyRecipe(epochs=50, epoch_steps=300, learning_rate=1e-4, adamw=True,
                                                     backbone_scale=1.0, batch_size=16)}
PRESETS = {
    "smoke": {"streets": ({**_SMALL, "size": (32, 64), "width": 2, "head": 4, "units": 8, "proposals": 16, "draws": 2,
                           "rank_images": 8, "test_images": 6,
                           "recipe": PolyRecipe(epochs=2, epoch_steps=1, **(_FAST | {"batch_size": 4}))}, _NETS)},
    "quick": {"streets": ({**_SMALL, "size": (64, 128), "rank_images": 100, "test_images": 80, "shares": (0.15, 0.5),
                           "recipe": PolyRecipe(epochs=12, epoch_steps=40, **_FAST)},
                          {**_NETS, "faster": {**_NETS["faster"], "proposals": 64,
                                               "recipe": PolyRecipe(epochs=12, epoch_steps=30, **_FAST)}}),
              "long": ({**_SMALL, "size": (128, 256), "rank_images": 150,
                        "recipe": PolyRecipe(epochs=12, epoch_steps=50, **_FAST)},
                       {**_NETS, "csp": {**_NETS["csp"], "recipe": PolyRecipe(epochs=24, epoch_steps=50, **_FAST)}}),
              "camvid": ({**_TUNED, "size": (180, 240)}, {}),
              "other": ({**_TUNED, "size": (256, 256)}, {})},
    "paper": {"citypersons": ({"size": (512, 1024), "zoom": 0.3, **_LONG}, _WIDE),
              "camvid": ({"size": (360, 480), "zoom": 0.7, "aspect": None, **_LONG}, _WIDE),
              "other": ({"size": (512, 512), "zoom": 0.7, "aspect": None, **_LONG}, _WIDE)},
}


def preset(profile: str, dataset: str, detector: str) -> dict:
    """What `PRESETS` has for an image set and a detector; of a set without its own, the last one's."""
    sets = PRESETS[profile]
    shared, own = sets[dataset if dataset in sets else list(sets)[-1]]
    return {**shared, **own.get(detector, {}), "detector": detector}


def build(c: DetectorConfig) -> TwoStage | CSP:
    """The detector of a configuration, with random weights from torch's global generator."""
    if c.detector == "csp":
        return CSP(backbone(c.net, c.width, output_stride=16), head=c.head, aspect=c.aspect)
    heights = [[c.unit * height for height in level] for level in c.heights]
    return TwoStage(backbone(c.net, c.width), overlaps=(0.5, 0.6, 0.7) if c.detector == "cascade" else (0.5,),
                    fused=c.detector == "cascade", heights=heights, head=c.head, units=c.units, proposals=c.proposals)


def augment(c: DetectorConfig, images: Images, people: Boxes, draws: Draws) -> tuple[Tensor, Tensor]:
    """What one step of training sees: half of the batch mirrored, each at another size and place, people moved along.

    Beyond a reduced image is 0, the mean colour.  People of whom less than half is left are ignored.
    """
    rows, cols = images.shape[-2:]

    def uniform(*shape: int) -> Tensor:
        return 2 * draws(torch.rand, len(images), *shape) - 1

    scale, mirrored = 2 ** (c.zoom * uniform()), 1 - 2 * ((uniform() < 0) & c.mirrored).float()
    centre = (1 - 1 / scale)[:, None] * uniform(2)                  # of the window in the image, -1..1, across and down
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = mirrored / scale, 1 / scale, centre
    images = grid_sample(images, affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)
    box, rest = people[..., :4], people[..., 4:]
    side = torch.tensor([cols, rows], device=images.device)
    turn = torch.stack([mirrored, torch.ones_like(mirrored)], -1)[:, None]                       # (batch, 1, 2)
    middle = box[..., :2] + box[..., 2:] / 2 - side / 2 * (1 + centre[:, None])
    middle = middle * turn * scale[:, None, None] + side / 2
    whole = box[..., 2:] * scale[:, None, None]
    first, last = ((middle + sign * whole / 2).clamp(min=torch.zeros_like(side)).minimum(side) for sign in (-1, 1))
    left = (last - first).prod(-1) / whole.prod(-1)
    rest = torch.stack([rest[..., 0], torch.where(left < 0.5, 1.0, rest[..., 1])], -1)
    moved = torch.cat([first, last - first, rest], -1)
    return images, moved.masked_fill((left <= 0)[..., None], torch.nan)


def objective(c: DetectorConfig, net: nn.Module, images: Images, people: Boxes, draws: Draws) -> Tensor:
    """The detector's loss on an augmented batch; people too low or too hidden are ignored."""
    images, people = augment(c, images, people, draws)
    lowest, least = c.learned
    beyond = (people[..., 3] < lowest * c.unit) | (people[..., 4] < least)
    return net(images, torch.cat([people[..., :5], torch.where(beyond, 1.0, people[..., 5])[..., None]], -1))


@torch.no_grad()
def sweep(net: TwoStage | CSP, images: ImageSet, removals: Sequence[Ablation], *, batch: int = 20
          ) -> list[list[Detections]]:
    """What is found in every image under every removal: removal -> image -> detections.

    The way up to f is gone once per image, the rest once per removal.
    """
    found: list[list[Detections]] = [[] for _ in removals]
    for index in progress.bar(torch.arange(len(images), device=images.images.device).split(batch), "removals"):
        f, others = net.features(images.batch(index)[0])
        for into, removal in zip(found, removals, strict=True):
            into += net.decode(removal(f), others, tuple(images.images.shape[-2:]))
    return found
