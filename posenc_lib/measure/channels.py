"""Rankings of the channels of a pooled latent by rules that are meant to measure position, and control sets.

Built by hand on page 06.  Source: Islam et al., ICCV 2021, Sec. 4.2 and Eq. 2; their released code for the regions.
"""
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
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
    """Swap left and right.

    >>> flip_horizontally(torch.tensor([[[[1.0, 2, 3, 4]]]])).flatten().tolist()
    [4.0, 3.0, 2.0, 1.0]
    """
    return images.flip(-1)


def flip_vertically(images: Images) -> Images:
    """Swap top and bottom.

    >>> flip_vertically(torch.tensor([[[[1.0], [2]]]])).flatten().tolist()
    [2.0, 1.0]
    """
    return images.flip(-2)


def roll_half_width(images: Images) -> Images:
    """Swap centre and periphery: a circular shift by half the width.

    Nothing is mirrored or lost, but a seam runs down the middle.

    >>> roll_half_width(torch.tensor([[[[1.0, 2, 3, 4]]]])).flatten().tolist()
    [3.0, 4.0, 1.0, 2.0]
    """
    return images.roll(images.shape[-1] // 2, -1)


# The change that swaps a region with the rest of the image, and the sign that ranks the region's channels first.
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
    """z(x) - z(change(x)) of every image, in float64.

    batches  image tensors of any size.  ValueError without images

    >>> images = torch.tensor([[[[1.0, 2, 3, 4]]]])
    >>> response_changes(lambda x: x[..., 0].flatten(1), [images])   # z is the leftmost pixel
    tensor([[-3.]], dtype=torch.float64)
    """
    changes = [encode(images).double() - encode(change(images)).double() for images in batches]
    if not changes:
        raise ValueError("response_changes: `batches` is empty; give at least one batch of images")
    return torch.cat(changes)


def mean_response(encode: Encode, batches: Iterable[Tensor], change: Change = flip_horizontally, *,
                  signed: bool = False) -> Float[Tensor, " channel"]:
    """Mean absolute response of each channel to a change of its image, in units of z, the pooled activation.

        r_c = 1/N sum_n |z_c(x_n) - z_c(change(x_n))|          signed: without the absolute value

    change  `flip_horizontally` gives the flip response (Eq. 2).  `roll_half_width` gives the shift response, the
            sensitivity to a circular shift: exactly 0 for a network that cannot encode the column, such as one with
            circular padding whose stride divides half the width
    Independent of the batch size.  A high flip response does not imply that the channel encodes position: a one-sided
    edge detector has one too, even under circular padding.

    >>> images = torch.tensor([[[[1.0, 2, 3, 4]]], [[[5.0, 5, 5, 5]]]])
    >>> mean_response(lambda x: x[..., 0].flatten(1), [images])   # z is the leftmost pixel
    tensor([1.5000], dtype=torch.float64)
    """
    difference = response_changes(encode, batches, change)
    return (difference if signed else difference.abs()).mean(0)


@torch.no_grad()
def decodability(encode: Encode, batches: Iterable[Tensor], k: int = 3, stride: int = 16) -> Float[Tensor, " channel"]:
    """Fraction of each channel's variance, 0..1, that is explained by the cell of a k x k canvas; 0 if it is constant.

    A central patch of each image, about 1/k as high and wide, is placed in every cell of an empty canvas, as on page 03
    (`metrics.place_fields`).  The sides of a cell are multiples of `stride`, that of the network, so that under
    circular padding no two cells are distinguishable.

    >>> def left_half(x):
    ...     return x[..., :48].mean((-2, -1))
    >>> decodability(left_half, [torch.ones(2, 3, 96, 96)])
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    z, location = [], []
    for images in batches:
        rows, cols = (max(stride, side // k // stride * stride) for side in images.shape[-2:])
        top, left = (images.shape[-2] - rows) // 2, (images.shape[-1] - cols) // 2
        patch = images[..., top:top + rows, left:left + cols]
        for cell in range(k * k):
            cells = torch.full((len(images),), cell, device=images.device)
            location.append(cells)
            z.append(encode(place(patch, cells, k)))
    explained = metrics.place_fields(torch.cat(z), torch.cat(location), k)[1]
    return explained.nan_to_num(0.0, posinf=0.0).clamp(0, 1)


@torch.no_grad()
def rms_activation(features: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> Float[Tensor, " channel"]:
    """RMS activation of each channel over images and space: the size of the change when it is ablated to zero.

    features  images -> f (batch, channel, row, col)

    >>> rms_activation(lambda x: x, [torch.tensor([[[[3.0, 4]], [[0, 0]]]])])
    tensor([3.5355, 0.0000], dtype=torch.float64)
    """
    sums, count = [], 0
    for images in batches:
        f = features(images).double()
        sums.append(f.square().sum((0, 2, 3)))
        count += f[:, 0].numel()
    if not sums:
        raise ValueError("rms_activation: `batches` is empty; give at least one batch of images")
    return (reduce(torch.add, sums) / count).sqrt()


def top_channels(response: Num[Tensor, " channel"], n: int) -> Int[Tensor, " {n}"]:
    """The n channels of highest response, descending, ties in channel order.  ValueError if n exceeds the layer.

    >>> top_channels(torch.tensor([0.1, 0.7, 0.3]), 2)
    tensor([1, 2])
    """
    if not 0 <= n <= len(response):
        raise ValueError(f"top_channels: n is {n}, but the layer has {len(response)} channels; give 0 to "
                         f"{len(response)}")
    return response.argsort(descending=True, stable=True)[:n]


def random_sets(channels: int, n: int, n_sets: int, seed: int) -> list[Int[Tensor, " {n}"]]:
    """`n_sets` random sets of n of the layer's `channels`, each without replacement.

    >>> [len(channels.unique()) for channels in random_sets(512, 100, n_sets=3, seed=0)]
    [100, 100, 100]
    """
    generator = torch.Generator().manual_seed(seed)
    return [top_channels(torch.rand(channels, generator=generator), n) for _ in range(n_sets)]


def rms_matched_sets(rms: Float[Tensor, " channel"], targets: Int[Tensor, " n"], n_sets: int, seed: int, *,
                     strata: int = 10) -> list[Int[Tensor, " n"]]:
    """`n_sets` random sets of channels other than `targets`, RMS-matched to them by stratified sampling.

    rms     RMS activation, or any measure to match; the channels, ordered by it, are divided into `strata` equal parts
    Each set has as many channels of each stratum as `targets`.  A stratum of which more than half are targets has too
    few others: all of those are taken, and the rest at random from the targets, so that the set shares channels with
    `targets` (`overlap` counts them).  If `targets` is the uppermost stratum, so is every set.

    >>> rms = torch.arange(20.0)   # ten strata of two channels
    >>> rms_matched_sets(rms, torch.tensor([0, 19]), n_sets=1, seed=0)
    [tensor([ 1, 18])]
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(pool: Tensor, n: int) -> Tensor:
        return pool[torch.randperm(len(pool), generator=generator)[:n]]

    parts = []
    for stratum in rms.cpu().argsort(stable=True).tensor_split(strata):
        is_target = torch.isin(stratum, targets.cpu())
        parts.append((stratum[~is_target], stratum[is_target]))
    return [torch.cat([draw(pool, n) for others, shared in parts
                       for pool, n in ((others, len(shared)), (shared, max(0, len(shared) - len(others))))])
            for _ in range(n_sets)]


def overlap(first: Int[Tensor, " n"], second: Int[Tensor, " n"]) -> int:
    """Number of channels in both lists.  For two random lists of n out of C it is n * n / C on average.

    >>> overlap(torch.tensor([3, 1, 2]), torch.tensor([2, 3, 9]))
    2
    """
    return int(torch.isin(first, second).sum())


def rank_correlation(first: Num[Tensor, " channel"], second: Num[Tensor, " channel"]) -> float:
    """Spearman's rank correlation of two responses, -1..1; nan if one of them is constant.

    >>> rank_correlation(torch.tensor([1, 2, 3]), torch.tensor([9, 8, 7]))
    -1.0
    """
    if first.min() == first.max() or second.min() == second.max():
        return float("nan")
    return float(stats.spearmanr(first.cpu(), second.cpu()).statistic)


def compare_released_lists(folder: Path | str) -> Iterator[dict]:
    """Overlap and rank correlation of each pair of the authors' released lists, a row each.

    folder  position_attack/targeted_neurons/deeplabv3_resnet50 in a clone of their code.  FileNotFoundError if a list
            is missing there
    """
    lists = {}
    for name, prefix in (("left", "left_"), ("right", "right_"), ("overall", "")):
        files = sorted(Path(folder).glob(f"{prefix}ordered*.json"))
        if not files:
            raise FileNotFoundError(f"released: {folder} lacks the list {name}; give the folder "
                                    "position_attack/targeted_neurons/deeplabv3_resnet50 of a clone of the authors' "
                                    "code")
        content = json.loads(files[0].read_text(encoding="utf-8"))
        lists[name] = torch.tensor(next(iter(content.values())))
    for a, b in (("left", "right"), ("left", "overall"), ("right", "overall")):
        yield {"first": a, "second": b,
               **{f"shared of {n}": overlap(lists[a][:n], lists[b][:n]) for n in (100, 300)},
               "spearman": rank_correlation(lists[a].argsort(), lists[b].argsort())}


def stability(changes: Float[Tensor, "image channel"], n: int, weights: Float[Tensor, "draw image"]
              ) -> Float[Tensor, " draw"]:
    """Fraction of the top n channels by mean |change| that remain so in each bootstrap draw of the images.

    weights  how often each image counts in each draw, see `metrics.bootstrap`

    >>> changes = torch.tensor([[1.0, 0.0], [0.0, 2.0]])   # channel 1 changes most
    >>> only_0, only_1 = [2.0, 0.0], [0.0, 2.0]
    >>> stability(changes, 1, weights=torch.tensor([only_0, only_1]))
    tensor([0., 1.])
    """
    magnitude = changes.abs()
    top = top_channels(magnitude.mean(0), n)
    return torch.tensor([overlap(top_channels(resampled, n), top) / n
                         for resampled in weights.to(magnitude) @ magnitude])


@dataclass(frozen=True)
class Ranking:
    """Responses of every channel of a layer, measured on one split, for an attack that is scored on another.

    flips   (image, channel) z(x) - z(flip(x))
    rules   what ranks channels over the whole image: flip (Eq. 2), shift, decodability, rms_activation; (channel,)
    signed  region -> signed response to the change that swaps it with the rest, as in the released code
    active  region -> mean activation inside it minus that outside, without any change
    mean    (channel,) mean of the pooled latent over images
    """
    flips: Float[Tensor, "image channel"]
    rules: dict[str, Tensor]
    signed: dict[str, Tensor]
    active: dict[str, Tensor]
    mean: Float[Tensor, " channel"]

    def sets(self, n: int, n_sets: int, seed: int) -> dict[str, list[Tensor]]:
        """Sets of n channels to ablate: one per rule, that of lowest flip response, and `n_sets` each of random
        channels and of random channels RMS-matched to the flip-ranked ones.
        """
        flip = self.rules["flip"]
        return {**{rule: [top_channels(response, n)] for rule, response in self.rules.items()},
                "lowest_flip": [top_channels(-flip, n)],
                "random": random_sets(len(self.mean), n, n_sets, seed),
                "rms_matched": rms_matched_sets(self.rules["rms_activation"], top_channels(flip, n), n_sets, seed)}


@torch.no_grad()
def rank(features: Callable[[Tensor], Tensor], batches: Callable[[], Iterable[Tensor]], *,
         stride: int = 16) -> Ranking:
    """Rank the channels of a layer by every rule.

    features  images -> f (batch, channel, row, col), the output of the layer
    batches   returns a new iterable of image tensors at every call
    stride    of the network, see `decodability`

    >>> ranking = rank(lambda x: x, lambda: [torch.rand(4, 3, 96, 96)])   # channels are colours
    >>> sorted(ranking.rules), ranking.flips.shape
    (['decodability', 'flip', 'rms_activation', 'shift'], torch.Size([4, 3]))
    """
    def encode(images: Tensor) -> Tensor:
        return gap(features(images))

    parts: dict[Change, list[Tensor]] = {flip_horizontally: [], flip_vertically: [], roll_half_width: []}
    contrasts: dict[str, list[Tensor]] = {region: [] for region in REGIONS}
    sums, energies, count = [], [], 0
    for images in batches():
        f = features(images)
        z = gap(f).double()
        for change, of_change in parts.items():
            of_change.append(z - encode(change(images)).double())           # as in `response_changes`
        zone = zones(*f.shape[-2:]).to(f.device)
        for region, numbers in canvas.REGIONS.items():
            inside = torch.isin(zone, torch.tensor(numbers, device=f.device))
            contrast = f[..., inside].mean(-1) - f[..., ~inside].mean(-1)
            contrasts[region].append(contrast.double().sum(0))
        sums.append(z.sum(0))
        energies.append(f.double().square().mean((-2, -1)).sum(0))          # as in `rms_activation`
        count += len(f)
    changes = {change: torch.cat(of_change) for change, of_change in parts.items()}
    rules = {
        "flip": changes[flip_horizontally].abs().mean(0),
        "shift": changes[roll_half_width].abs().mean(0),
        "decodability": decodability(encode, batches(), stride=stride),
        "rms_activation": (reduce(torch.add, energies) / count).sqrt(),
    }
    signed = {region: sign * changes[change].mean(0) for region, (change, sign) in REGIONS.items()}
    active = {region: reduce(torch.add, parts) / count for region, parts in contrasts.items()}
    return Ranking(changes[flip_horizontally], rules, signed, active, reduce(torch.add, sums) / count)
