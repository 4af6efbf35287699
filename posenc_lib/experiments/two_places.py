"""The same image in two places: which network distinguishes them, and up to what size of the canvas?

Class 1 has an image at the top left of a canvas, class 2 the same image at the bottom right.  After averaging over
space, a convolutional network can only use the border.  Source: the two-class example of the authors' slides (ICCV
2021); Kayhan and van Gemert, CVPR 2020, who test how far from the border it works.  Network, data and schedule are this
book's.

With r the reach of a unit (its receptive field has side R = 2 r + 1) and `gap` the distance of the image from the two
borders nearest to it, everything that follows is a count of units on one axis, where the image begins at `gap`:

    zero padding   unit p sees the padding if p < r, and the image if p >= gap - r: some unit sees both if gap < 2 r
    no padding     every unit sees pixels only, but an image with gap < 2 r lacks the 2 r - gap outermost units that
                   would see it if the canvas were larger
    circular       there is no border

so the two places can be distinguished if gap < 2 r = R - 1, and not at all under circular padding.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Images, Logits
from posenc_lib.data.imageset import Splits
from posenc_lib.experiments.encoders import seeded
from posenc_lib.measure import metrics
from posenc_lib.nets.padding import PADDING_MODES, remove_padding, set_padding_mode
from posenc_lib.run import training
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import Record

SIDE = 8                                    # of the image, in pixels
PADDINGS = ("zeros", "none", "circular")    # "none" is no padding: maps shrink
SETTLE_IMAGES = 100                         # training images for the last statistics of batch normalisation
CENTRED, CORNER = "centre of its quadrant", "corner"


@dataclass(frozen=True, kw_only=True)
class TwoPlacesConfig:
    """A network of two convolutions that learns in which of two places an image lies.

    profile  key of `SCHEDULES`
    data     fingerprint of the images
    padding  of both convolutions: a padding mode, or "none"
    size     side of the canvas, in pixels
    gap      pixels between the image and the two borders nearest to it
    kernel   side of both kernels, odd
    width    channels of both convolutions
    """
    profile: str
    data: str
    padding: str
    size: int
    gap: int
    kernel: int = 3
    width: int = 8
    recipe: Recipe = Recipe()
    revision: int = 1

    def __post_init__(self):
        check_choice("padding", self.padding, (*PADDING_MODES, "none"))


# sizes   kernel -> sides of the canvases on which the image lies at the centre of its quadrant
# corner  kernel -> sides of those on which it lies in the corner; at the smallest size above, both are the same
SCHEDULES = {
    "smoke": {"sizes": {3: (16, 32)}, "corner": {3: (20,)}, "seeds": 2, "test_images": 10,
              "recipe": Recipe(epochs=1, epoch_steps=2, batch_size=4, learning_rate=0.02, flip=False)},
    "quick": {"sizes": {3: (16, 28, 32)}, "corner": {3: (40,)}, "seeds": 2, "test_images": 50,
              "recipe": Recipe(epochs=1, epoch_steps=50, batch_size=4, learning_rate=0.02, flip=False)},
    "long": {"sizes": {3: (16, 20, 24, 28, 32, 40), 5: (16, 32, 44, 48, 56)}, "corner": {3: (32, 64)},
             "seeds": 3, "test_images": 200,
             "recipe": Recipe(epochs=1, epoch_steps=100, batch_size=4, learning_rate=0.02, flip=False)},
}


def receptive_field(kernel: int) -> int:
    """Side of the receptive field of a unit after two convolutions of stride 1, in pixels."""
    return 2 * kernel - 1


def centred_gap(size: int) -> int:
    """The gap of an image at the centre of its quadrant; ValueError if that is not a whole number of pixels >= 0."""
    gap, rest = divmod(size - 2 * SIDE, 4)
    if rest or gap < 0:
        raise ValueError(f"two_places: size={size} does not centre an image of {SIDE} pixels in its quadrant; give "
                         f"{2 * SIDE} plus a multiple of 4")
    return gap


def smallest_hopeless_size(kernel: int) -> int:
    """The smallest canvas whose quadrants hold the image a receptive field from the border: gap = R - 1."""
    return 2 * SIDE + 4 * (receptive_field(kernel) - 1)


def can_differ(padding: str, gap: int, kernel: int) -> bool:
    """Whether a network can distinguish the two places, by the count above.

    The canvas must not have the value of the padding: first-layer zeros around a canvas of zeros are no border.
    """
    return padding != "circular" and gap < receptive_field(kernel) - 1


def place(
    images: Num[Tensor, "batch rgb side side"], size: int, gap: int, fill: float | Tensor = 0.0
) -> tuple[Num[Tensor, "batch rgb {size} {size}"], Num[Tensor, "batch rgb {size} {size}"]]:
    """Put each image at the top left and at the bottom right of a canvas, `gap` pixels from two borders.

    images  (batch, rgb, side, side)
    fill    value of the canvas: a number, or one value per colour (rgb,)
    -> two batches of canvases (batch, rgb, size, size).  ValueError if the image does not fit its quadrant.
    """
    batch, rgb, side, _ = images.shape
    if gap < 0 or 2 * (gap + side) > size:
        raise ValueError(f"two_places: an image of {side} pixels with a gap of {gap} does not fit a quadrant of a "
                         f"canvas of {size}; it takes at least {2 * (gap + side)} pixels")
    first = images.new_empty(batch, rgb, size, size)
    first[:] = fill.to(images).reshape(-1, 1, 1) if isinstance(fill, Tensor) else fill
    second, end = first.clone(), size - gap
    first[..., gap:gap + side, gap:gap + side] = images
    second[..., end - side:end, end - side:end] = images
    return first, second


def network(c: TwoPlacesConfig) -> nn.Module:
    """Two convolutions with batch normalisation and ReLU, global average pooling, a linear layer: images -> logits."""
    layers, channels = [], 3
    for _ in range(2):
        layers += [nn.Conv2d(channels, c.width, c.kernel, padding=c.kernel // 2, bias=False),
                   nn.BatchNorm2d(c.width), nn.ReLU()]
        channels = c.width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2))
    return remove_padding(net) if c.padding == "none" else set_padding_mode(net, c.padding)


def white(images: Splits) -> Float[Tensor, " rgb"]:
    """The value of a white canvas after normalisation, which is not that of zero padding."""
    mean, std = torch.tensor(images.train.mean), torch.tensor(images.train.std)
    return (1 - mean) / std


@torch.no_grad()
def settle(net: nn.Module, canvases: Images) -> nn.Module:
    """Set the running statistics of batch normalisation to those of some canvases, and return `net` for evaluation.

    The statistics from training lag behind the weights by more than the difference between the two places.
    """
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = 1.0
    net.train()(canvases)
    return net.eval()


@torch.no_grad()
def compare(
    net: Callable[[Images], Logits], c: TwoPlacesConfig, images: Images, fill: Tensor
) -> dict[str, float]:
    """Compare a network's outputs for the same images in the two places.

    -> accuracy    0..1, over both places; 0.5 is chance
       difference  the largest difference between an image's logits in the two places; 0 up to rounding means that no
                   head on these features could do better than chance
    """
    logits = [net(canvas) for canvas in place(images, c.size, c.gap, fill)]
    labels = torch.arange(2, device=images.device).repeat_interleave(len(images))
    return {"accuracy": metrics.accuracy(torch.cat(logits), labels),
            "difference": float((logits[0] - logits[1]).abs().max())}


def run(c: TwoPlacesConfig, seed: int, checkpoint: training.Checkpoint | Path | None, *, splits: Splits,
        device: torch.device) -> dict:
    """Train one network on images in both places.  -> loss of the last epoch, and the scores of `compare`."""
    with seeded(seed):
        net = network(c)
    fill = white(splits).to(device)

    def loss(net: nn.Module, images: Tensor, _labels: Tensor, _draws: Draws) -> Tensor:
        canvases = torch.cat(place(images, c.size, c.gap, fill))
        return cross_entropy(net(canvases), torch.arange(2, device=images.device).repeat_interleave(len(images)))

    history = training.fit(net, splits.train, loss, c.recipe, seed=seed, checkpoint=checkpoint)
    train, test = (part.normalise(part.images[:n]).to(device) for part, n in (
        (splits.train, SETTLE_IMAGES), (splits.test, SCHEDULES[c.profile]["test_images"])))
    settle(net.to(device), torch.cat(place(train, c.size, c.gap, fill)))
    return {"loss": history[-1]["loss"], **compare(net, c, test, fill)}


def configs(schedule: str, data: str) -> list[TwoPlacesConfig]:
    """Every padding on every canvas of a schedule.  data: fingerprint of the images"""
    preset = SCHEDULES[schedule]
    canvases = [(kernel, size, centred_gap(size)) for kernel, sizes in preset["sizes"].items() for size in sizes]
    canvases += [(kernel, size, 0) for kernel, sizes in preset["corner"].items() for size in sizes]
    return [TwoPlacesConfig(profile=schedule, data=data, padding=padding, size=size, gap=gap, kernel=kernel,
                            recipe=preset["recipe"])
            for kernel, size, gap in canvases for padding in PADDINGS]


def frame(runs: Sequence[Record]) -> pd.DataFrame:
    """Return placement, kernel, padding, size, gap, seed, accuracy (percent), difference and can_differ.

    A canvas that is both the smallest with the image centred and one with it in the corner has two rows.
    """
    rows = []
    for run in runs:
        c = run.config
        row = {name: c[name] for name in ("kernel", "padding", "size", "gap")}
        row |= {"seed": run.seed, "accuracy": 100 * run.results["accuracy"], "difference": run.results["difference"],
                "can_differ": can_differ(c["padding"], c["gap"], c["kernel"])}
        centred = c["size"] == 2 * SIDE + 4 * c["gap"]
        rows += [{"placement": CENTRED, **row}] if centred else []
        rows += [{"placement": CORNER, **row}] if c["gap"] == 0 else []
    return pd.DataFrame(rows)


def largest_sizes(frame: pd.DataFrame, accurate: float = 99.0) -> pd.DataFrame:
    """How large a canvas may be, with the image at the centre of its quadrant.

    frame     as from `frame`
    accurate  accuracy, in percent, from which a network counts as distinguishing the places
    -> kernel, padding, predicted and largest: of the sizes that were run, the largest on which it is possible, and the
    largest on which every seed is accurate; None where there is none; n, the fewest seeds of a size
    """
    rows = []
    for (kernel, padding), runs in frame[frame["placement"] == CENTRED].groupby(["kernel", "padding"], sort=False):
        by_size = runs.groupby("size").agg(worst=("accuracy", "min"), possible=("can_differ", "all"),
                                           n=("seed", "nunique"))
        predicted, found = by_size.index[by_size["possible"]], by_size.index[by_size["worst"] >= accurate]
        rows.append({"kernel": kernel, "padding": padding, "predicted": max(predicted, default=None),
                     "largest": max(found, default=None), "n": by_size["n"].min()})
    return pd.DataFrame(rows)
