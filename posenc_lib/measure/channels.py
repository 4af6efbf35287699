"""Which channels of a pooled latent answer to position, by several rankings; sets of channels to compare them with.

Built up by hand in page 06.  Source: Islam et al., ICCV 2021, Sec. 4.2 and Eq. 2; released code for the regions.
"""
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int, Num
from scipy import stats
from torch import Tensor

from posenc_lib.base.shapes import Images
from posenc_lib.measure import canvas, metrics
from posenc_lib.measure.canvas import place, zones
from posenc_lib.nets.heads import gap

Encode = Callable[[Tensor], Tensor]   # images (batch, rgb, row, col) -> pooled latents z (batch, channel)
Change = Callable[[Tensor], Tensor]   # images -> images


def flip_horizontally(images: Images) -> Images:
    """Left and right change places."""
    return images.flip(-1)


def flip_vertically(images: Images) -> Images:
    """Top and bottom change places."""
    return images.flip(-2)


def roll_half_width(images: Images) -> Images:
    """Centre and periphery change places: the columns move on by half the width, around the edge.

    Nothing is turned over and nothing lost, but a seam runs down the middle.
    """
    return images.roll(images.shape[-1] // 2, -1)


# What makes a region and the rest change places, and the sign with which the region's channels come first.
REGIONS: dict[str, tuple[Change, int]] = {
    "left": (flip_horizontally, 1),
    "right": (flip_horizontally, -1),
    "top": (flip_vertically, 1),
    "bottom": (flip_vertically, -1),
    "centre": (roll_half_width, 1),
    "periphery": (roll_half_width, -1),
}


@torch.no_grad()
def response_changes(
    encode: Encode, batches: Iterable[Tensor], change: Change = flip_horizontally
) -> Float[Tensor, "image channel"]:
    """z(x) - z(change(x)) of every image, float64.

    batches  image tensors; the last one may be smaller.  ValueError without images
    """
    rows = [encode(images).double() - encode(change(images)).double() for images in batches]
    if not rows:
        raise ValueError("changes: no image to measure on, `batches` was empty")
    return torch.cat(rows)


def mean_response(encode: Encode, batches: Iterable[Tensor], change: Change = flip_horizontally, *,
             signed: bool = False) -> Float[Tensor, " channel"]:
    """Mean change of each channel when its image is changed.

        r_c = 1/N sum_n |z_c(x_n) - z_c(change(x_n))|          signed: without the bars

    change  `flip_horizontally` gives Eq. 2, the flip response.  `roll_half_width` gives the shift response,
            which is exactly 0 where a network cannot know the column: under circular
            padding, if its stride divides half the width
    Unit: that of z, the pooled activation; >= 0 unless signed.  The size of the batches has no part in it.

    Named for what is measured: a one-sided edge detector has a high flip response too, even under circular padding.
    """
    difference = response_changes(encode, batches, change)
    return (difference if signed else difference.abs()).mean(0)


@torch.no_grad()
def decodability(encode: Encode, batches: Iterable[Tensor], k: int = 3, stride: int = 16) -> Float[Tensor, " channel"]:
    """Page 03's question to each channel: the share of its variance, 0..1, that the cell of a canvas explains.

    The middle of each image, about a k-th as high and wide, is placed in every cell of an empty k x k canvas
    (`metrics.place_fields`).  Cells measure multiples of `stride`, the network's, so that a circular one can tell none
    from another.  A channel that never changes has 0.
    """
    z, location = [], []
    for images in batches:
        rows, cols = (max(stride, side // k // stride * stride) for side in images.shape[-2:])
        top, left = ((side - part) // 2 for side, part in zip(images.shape[-2:], (rows, cols), strict=True))
        patch = images[..., top:top + rows, left:left + cols]
        for cell in range(k * k):
            location.append(torch.full((len(images),), cell, device=images.device))
            z.append(encode(place(patch, location[-1], k)))
    explained = metrics.place_fields(torch.cat(z), torch.cat(location), k)[1]
    return explained.nan_to_num(0.0, posinf=0.0).clamp(0, 1)


@torch.no_grad()
def rms_activation(features: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> Float[Tensor, " channel"]:
    """Root mean square of each channel over images and space: how much is missing where it is zero.

    features  images -> f (batch, channel, row, col)
    """
    total, count = 0.0, 0
    for images in batches:
        f = features(images).double()
        total, count = total + f.square().sum((0, 2, 3)), count + f[:, 0].numel()
    return (total / count).sqrt()


def top_channels(response: Num[Tensor, " channel"], n: int) -> Int[Tensor, " {n}"]:
    """The n channels of highest response, highest first; equal ones in channel order.  ValueError beyond the layer."""
    if not 0 <= n <= len(response):
        raise ValueError(f"top: {n} channels were asked for, but the layer has {len(response)}; ask for 0 to "
                         f"{len(response)}")
    return response.argsort(descending=True, stable=True)[:n]


def random_sets(channels: int, n: int, draws: int, seed: int) -> list[Int[Tensor, " {n}"]]:
    """`draws` sets of n of the layer's channels, each drawn without replacement."""
    generator = torch.Generator().manual_seed(seed)
    return [top_channels(torch.rand(channels, generator=generator), n) for _ in range(draws)]


def rms_matched_sets(strength: Float[Tensor, " channel"], like: Int[Tensor, " n"], draws: int, seed: int, *,
            strata: int = 10) -> list[Int[Tensor, " n"]]:
    """`draws` random sets of channels as strong as those of `like`: as many from each stratum of strength.

    strength  (channel,) any measure; its order parts the channels into `strata` of equal size
    A channel of `like` may be drawn again: where `like` is simply the strongest stratum, so is every matched set.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [(stratum, int(torch.isin(stratum, like.cpu()).sum()))
             for stratum in strength.cpu().argsort(stable=True).tensor_split(strata)]
    return [torch.cat([stratum[torch.randperm(len(stratum), generator=generator)[:n]] for stratum, n in parts])
            for _ in range(draws)]


def overlap(first: Int[Tensor, " n"], second: Int[Tensor, " n"]) -> int:
    """How many channels two lists share.  Two random lists of n out of C share n * n / C on average."""
    return int(torch.isin(first, second).sum())


def rank_correlation(first: Num[Tensor, " channel"], second: Num[Tensor, " channel"]) -> float:
    """Spearman's rank correlation of two responses, -1..1; nan where one of them is constant."""
    if first.min() == first.max() or second.min() == second.max():
        return float("nan")
    return float(stats.spearmanr(first.cpu(), second.cpu()).statistic)


def compare_released_lists(folder: Path | str) -> Iterator[dict]:
    """What two of the authors' released lists share, and their rank correlation: a row each, as in `paper.RELEASED`.

    folder  position_attack/targeted_neurons/deeplabv3_resnet50 of a clone of their code.  FileNotFoundError without it
    """
    files = {name: sorted(Path(folder).glob(f"{prefix}ordered*.json"))
             for name, prefix in (("left", "left_"), ("right", "right_"), ("overall", ""))}
    if not all(files.values()):
        raise FileNotFoundError(f"released: {folder} lacks the list {next(n for n, f in files.items() if not f)}; give "
                                "the folder position_attack/targeted_neurons/deeplabv3_resnet50 of a clone of the "
                                "authors' code")
    lists = {name: torch.tensor(next(iter(json.loads(found[0].read_text()).values()))) for name, found in files.items()}
    for a, b in (("left", "right"), ("left", "overall"), ("right", "overall")):
        yield {"first": a, "second": b,
               **{f"shared of {n}": overlap(lists[a][:n], lists[b][:n]) for n in (100, 300)},
               "spearman": rank_correlation(lists[a].argsort(), lists[b].argsort())}


def stability(changes: Float[Tensor, "image channel"], n: int, weights: Float[Tensor, "draw image"]
              ) -> Float[Tensor, " draw"]:
    """The share of the top n channels by |change| that stay among them when the images are drawn anew.

    weights  how often each image counts in each draw, see `metrics.bootstrap`
    """
    size = changes.abs()
    kept = top_channels(size.mean(0), n)
    return torch.tensor([overlap(top_channels(row, n), kept) / n for row in weights.to(size) @ size])


@dataclass(frozen=True)
class Ranking:
    """What every channel of a layer answered, measured on one split; an attack is scored on another.

    flips   (image, channel) z(x) - z(mirror(x))
    rules   what ranks channels overall: flip (Eq. 2), shift, decodability, rms_activation; each (channel,), highest
            first
    signed  region -> the signed response to the change that takes the region elsewhere, as in the released code
    active  region -> the mean activation inside it minus that outside, on images as they are
    mean    (channel,) the pooled latent, averaged over images
    """
    flips: Float[Tensor, "image channel"]
    rules: dict[str, Tensor]
    signed: dict[str, Tensor]
    active: dict[str, Tensor]
    mean: Float[Tensor, " channel"]

    def sets(self, n: int, draws: int, seed: int) -> dict[str, list[Tensor]]:
        """n channels by every rule, those of lowest flip response, and `draws` random sets, as they come and matched
        in strength to the flip-ranked.
        """
        flip = top_channels(self.rules["flip"], n)
        return {**{rule: [top_channels(response, n)] for rule, response in self.rules.items()},
                "lowest_flip": [top_channels(-self.rules["flip"], n)],
                "random": random_sets(len(self.mean), n, draws, seed),
                "rms_matched": rms_matched_sets(self.rules["rms_activation"], flip, draws, seed)}


@torch.no_grad()
def rank(features: Callable[[Tensor], Tensor], batches: Callable[[], Iterable[Tensor]], *,
         stride: int = 16) -> Ranking:
    """Rank the channels of a layer by every rule.

    features  images -> f (batch, channel, row, col), what the layer puts out
    batches   gives the image tensors, anew each time it is called
    stride    see `decodability`
    """
    def encode(images: Tensor) -> Tensor:
        return gap(features(images))

    moved = {
        change: response_changes(encode, batches(), change)
        for change in (flip_horizontally, flip_vertically, roll_half_width)
    }
    rules = {
        "flip": moved[flip_horizontally].abs().mean(0),
        "shift": moved[roll_half_width].abs().mean(0),
        "decodability": decodability(encode, batches(), stride=stride),
        "rms_activation": rms_activation(features, batches()),
    }
    signed = {region: sign * moved[change].mean(0) for region, (change, sign) in REGIONS.items()}
    active, mean, count = dict.fromkeys(REGIONS, 0.0), 0.0, 0
    for f in map(features, batches()):
        part = zones(*f.shape[-2:]).to(f.device)
        inside = {region: torch.isin(part, torch.tensor(numbers, device=f.device))
                  for region, numbers in canvas.REGIONS.items()}
        for region, there in inside.items():
            active[region] = active[region] + (f[..., there].mean(-1) - f[..., ~there].mean(-1)).double().sum(0)
        mean, count = mean + gap(f).double().sum(0), count + len(f)
    active = {region: total / count for region, total in active.items()}
    return Ranking(moved[flip_horizontally], rules, signed, active, mean / count)
