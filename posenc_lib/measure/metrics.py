"""Scores and their intervals; scipy where it has them.  Accuracies are in 0..1; percent is for figures and tables."""
from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from scipy import stats
from torch import Tensor

from posenc_lib.base.shapes import Features, LabelMaps, Labels, Latents, Logits

ROUNDING = 1e-6   # a map from 0 to 1 that spans less than this is constant, but for float32


def accuracy(logits: Logits, labels: Labels) -> float:
    """Part of the batch whose highest logit is the label's."""
    return (logits.argmax(1) == labels).double().mean().item()


def chance(labels: Labels) -> float:
    """The best accuracy without looking: the share of the most frequent label."""
    return labels.bincount().max().item() / len(labels)


def above_chance(accuracy: float, chance: float) -> float:
    """(accuracy - chance) / (1 - chance): 0 is chance, 1 is always right; compares tasks of unlike class counts."""
    return (accuracy - chance) / (1 - chance)


def agreement(first: Labels, second: Labels) -> float:
    """Consistency: the part of the images that get the same class in both of their views, right or wrong.

    Cons.N when the views are two independent random shifts by up to N pixels.  Source: ICCV 2021, Table 2; Zhang, 2019.
    """
    return (first == second).double().mean().item()


def effective_rank(z: Latents) -> float:
    """In how many directions latents spread: exp of the entropy of their principal components' standard deviations.

    From 1, all on one line, to the number of channels; 0 when all latents are the same.  A collapsed network, which
    agrees with itself because it says nothing, shows here.  Source: Roy & Vetterli, 2007.
    """
    spread = torch.linalg.svdvals(z.double() - z.double().mean(0))
    share = spread / spread.sum()
    return float(torch.special.entr(share).sum().exp()) if spread.max() > ROUNDING * z.abs().max() else 0.0


def mean_interval(values: Collection[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent runs and Student's t interval: (mean, low, high); the bounds are nan for a single run."""
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        raise ValueError("mean_interval: no value to average")
    if len(values) == 1:
        return float(values[0]), float("nan"), float("nan")
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def border_energy(f: Features, ring: int = 1) -> Float[Tensor, " batch"]:
    """How much a feature map's border stands out: log2 of its energy there over that in the interior.

        e = log2( mean over the border of (f - m)^2 / mean over the interior of (f - m)^2 ),   m_c the interior's mean

    averaged over space and channels before the ratio is taken.  ring is the border's width in pixels of f.
    0 when the border is like the interior, 1 when it has twice its energy; inf where only the border varies (a
    constant image under zero padding), nan where nothing does.  ValueError when the map has no interior.
    """
    rows, cols = f.shape[-2:]
    if ring < 1 or min(rows, cols) <= 2 * ring:
        raise ValueError(f"border_energy: a ring of {ring} leaves no interior of a {rows}x{cols} map; take an "
                         f"earlier layer or a larger image")
    inside = torch.zeros(rows, cols, dtype=torch.bool, device=f.device)
    inside[ring:-ring, ring:-ring] = True
    f = f.double()
    squared = (f - f[..., inside].mean(-1)[..., None, None]).square().mean(1)   # (batch, row, col)
    return (squared[:, ~inside].mean(-1) / squared[:, inside].mean(-1)).log2()


def place_fields(z: Latents, location: Labels, k: int) -> tuple[Float[Tensor, "channel {k} {k}"],
                                                                 Float[Tensor, " channel"]]:
    """Mean response of each channel by cell, and the share of its variance that the cell explains.

        eta2_c = variance over cells of mean z_c  /  variance of z_c          in 0..1, nan for a constant channel

    z         pooled latents of images, location the cell each was placed in; every cell must occur
    """
    z, cells = z.double(), k * k
    count = location.bincount(minlength=cells)
    if (count == 0).any():
        raise ValueError(f"place_fields: {int((count == 0).sum())} of the {cells} cells hold no image; give more "
                         f"images")
    total = torch.zeros(cells, z.shape[1], dtype=z.dtype, device=z.device).index_add_(0, location, z)
    means = total / count[:, None]                                              # (cell, channel)
    between = (count[:, None] * (means - z.mean(0)).square()).sum(0) / len(z)
    return means.T.reshape(-1, k, k), between / z.var(0, correction=0)


def padding_error(f: Features, truth: Features) -> Float[Tensor, " ring"]:
    """How wrong padding makes a feature map, by distance to the border; 0 is the outermost ring of pixels.

        error_d = mean over ring d of (f - truth)^2 / mean over the map of (truth - m)^2,   m_c its mean over space

    f      the map of a padded crop; truth  the same window cut out of the map of the crop in its true surroundings
    In units of the true map's own variance, both averaged over the batch before the ratio is taken: 0 is right; 1 is
    as wrong as knowing no more than each channel's mean.  Where every true map is constant, inf or, if right, nan.
    """
    if f.shape != truth.shape:
        raise ValueError(f"padding_error: the maps are {tuple(f.shape)} and {tuple(truth.shape)}; cut out the same "
                         "window")
    rows, cols = f.shape[-2:]
    row, col = (torch.minimum(torch.arange(n), torch.arange(n - 1, -1, -1)) for n in (rows, cols))
    ring = torch.minimum(row[:, None], col[None]).to(f.device)                          # (row, col)
    f, truth = f.double(), truth.double()
    squared = (f - truth).square().mean((0, 1))                                         # (row, col)
    variance = (truth - truth.mean((-2, -1), keepdim=True)).square().mean()
    return torch.stack([squared[ring == d].mean() / variance for d in range(int(ring.max()) + 1)])


def spearman(maps: Float[Tensor, "batch row col"], target: Float[Tensor, "row col"]) -> list[float | None]:
    """Spearman's rank correlation of each map with the target, -1..1; equal values share the mean of their ranks.

    None where a map is constant: it has no order, so the correlation is undefined.  (The ICLR 2020 paper, which calls
    it SPC, prints .0 there.)
    """
    if target.min() == target.max():
        raise ValueError("spearman: the target is constant, so no map can be correlated with it")
    ranks = stats.rankdata(maps.flatten(1).cpu().double().numpy(), axis=1)
    wanted = stats.rankdata(target.cpu().double().numpy())
    ranks, wanted = ranks - ranks.mean(1, keepdims=True), wanted - wanted.mean()
    spread = maps.flatten(1).amax(1) - maps.flatten(1).amin(1)
    return [float(r @ wanted / np.sqrt((r @ r) * (wanted @ wanted))) if s > ROUNDING else None
            for r, s in zip(ranks, spread.tolist(), strict=True)]


def confusion(predicted: LabelMaps, labels: LabelMaps, num_classes: int,
              zones: Int[Tensor, "row col"] | None = None) -> Int[Tensor, "batch zone {num_classes} {num_classes}"]:
    """Pixels of every image by zone, label (rows) and prediction (columns); pixels labelled beyond the classes (void)
    do not count.

    zones  (row, col) the number of each pixel's zone, from 0; None is a single zone
    """
    if predicted.shape != labels.shape or (zones is not None and zones.shape != labels.shape[1:]):
        raise ValueError(f"confusion: predictions are {tuple(predicted.shape)}, labels {tuple(labels.shape)} and zones "
                         f"{None if zones is None else tuple(zones.shape)}; give maps of one size")
    zones = torch.zeros_like(labels[0]) if zones is None else zones
    n = int(zones.max()) + 1
    image = torch.arange(len(labels), device=labels.device)[:, None, None]
    cell = ((image * n + zones) * num_classes + labels) * num_classes + predicted
    counted = (labels >= 0) & (labels < num_classes)
    return cell[counted].bincount(minlength=len(labels) * n * num_classes ** 2).reshape(
        len(labels), n, num_classes, num_classes)


def class_counts(confusion: Int[Tensor, "*some label label"]) -> Int[Tensor, "*some 3 label"]:
    """Of each class, the pixels that have it in label and prediction, in the label, and in the prediction.

    They add up over images and zones; `class_iou` is taken last.
    """
    return torch.stack([confusion.diagonal(dim1=-2, dim2=-1), confusion.sum(-1), confusion.sum(-2)], -2)


def class_iou(counts: Num[Tensor, "*some 3 label"]) -> Float[Tensor, "*some label"]:
    """Intersection over union of each class, 0..1; nan where a class is neither labelled nor predicted."""
    both, labelled, predicted = counts.double().unbind(-2)
    return both / (labelled + predicted - both)


def mean_iou(counts: Num[Tensor, "*some 3 label"], classes: Bool[Tensor, " label"] | None = None
             ) -> Float[Tensor, "*some"]:
    """Mean over classes of `class_iou`, 0..1.

    classes  those that count; None is all that are labelled or predicted, as in the authors' code
    """
    iou = class_iou(counts)
    return (iou if classes is None else iou[..., classes]).nanmean(-1)


def bootstrap(n: int, draws: int = 1000, seed: int = 0) -> Float[Tensor, "{draws} {n}"]:
    """How often each of n images is drawn, with replacement, in each of `draws` draws of n."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (draws, n), generator=generator)
    return torch.zeros(draws, n).scatter_add_(1, drawn, torch.ones(draws, n))
