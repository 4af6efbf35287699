"""Scores and their confidence intervals.  Accuracies are in 0..1; percent is for figures and tables."""
from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from scipy import special
from torch import Tensor

from posenc_lib.base.shapes import Features, LabelMaps, Labels, Latents, Logits

ROUNDING = 1e-6   # a map in 0..1 with a smaller range is constant up to float32 rounding


def accuracy(logits: Logits, labels: Labels) -> float:
    """Fraction of the batch whose highest logit is that of the label."""
    return (logits.argmax(1) == labels).double().mean().item()


def chance(labels: Labels) -> float:
    """Accuracy of always predicting the most frequent label."""
    return labels.bincount().max().item() / len(labels)


def above_chance(accuracy: float, chance: float) -> float:
    """(accuracy - chance) / (1 - chance), to compare tasks by number of classes: 0 is chance level, 1 is perfect."""
    return (accuracy - chance) / (1 - chance)


def agreement(first: Labels, second: Labels) -> float:
    """Consistency: the fraction of images with the same prediction in both views, correct or not.

    Cons.N if the views are two independent random shifts by up to N pixels.  Source: ICCV 2021, Table 2; Zhang, 2019.
    """
    return (first == second).double().mean().item()


def effective_rank(z: Latents) -> float:
    """Effective rank of the centred latents: exp of the entropy of their normalised singular values.

    From 1, all on a line, to the number of channels; 0 if all latents are equal.  It exposes a collapsed network, whose
    predictions are consistent because they are constant.  Source: Roy & Vetterli, 2007.
    """
    singular_values = torch.linalg.svdvals(z.double() - z.double().mean(0))
    if not singular_values.max() > ROUNDING * z.abs().max():
        return 0.0
    return float(torch.special.entr(singular_values / singular_values.sum()).sum().exp())


def mean_interval(values: Collection[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent runs and its Student's t interval: (mean, low, high), with nan bounds for a single run."""
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        raise ValueError("mean_interval: `values` is empty; give at least one value")
    if len(values) == 1:
        return float(values[0]), float("nan"), float("nan")
    standard_error = values.std(ddof=1) / np.sqrt(len(values))
    half = special.stdtrit(len(values) - 1, (1 + confidence) / 2) * standard_error   # the quantile of stats.t, sooner
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def border_energy(f: Features, ring: int = 1) -> Float[Tensor, " batch"]:
    """log2 ratio of a feature map's energy at the border to that in the interior.

        e = log2( mean over the border of (f - m)^2 / mean over the interior of (f - m)^2 ),   m_c the interior's mean

    with means over space and channels.  ring is the width of the border in pixels of f.
    0 if the border has the energy of the interior, 1 if it has twice as much; inf if only the border varies (a constant
    image under zero padding), nan if nothing does.  ValueError if the map has no interior.
    """
    rows, cols = f.shape[-2:]
    if ring < 1 or min(rows, cols) <= 2 * ring:
        raise ValueError(f"border_energy: a ring of {ring} leaves no interior in a {rows}x{cols} map; use an "
                         f"earlier layer or a larger image")
    inside = torch.zeros(rows, cols, dtype=torch.bool, device=f.device)
    inside[ring:-ring, ring:-ring] = True
    f = f.double()
    squared = (f - f[..., inside].mean(-1)[..., None, None]).square().mean(1)   # (batch, row, col)
    return (squared[:, ~inside].mean(-1) / squared[:, inside].mean(-1)).log2()


def place_fields(z: Latents, location: Labels, k: int) -> tuple[Float[Tensor, "channel {k} {k}"],
                                                                 Float[Tensor, " channel"]]:
    """Mean response of each channel by cell, and the fraction of its variance that is explained by the cell.

        eta2_c = variance over cells of mean z_c  /  variance of z_c          in 0..1, nan for a constant channel

    z         pooled latents of images
    location  index of the cell that each image was placed in; ValueError unless every cell occurs
    """
    z, cells = z.double(), k * k
    count = location.bincount(minlength=cells)
    if empty := int((count == 0).sum()):
        raise ValueError(f"place_fields: {empty} of the {cells} cells have no image; give more images")
    total = torch.zeros(cells, z.shape[1], dtype=z.dtype, device=z.device).index_add_(0, location, z)
    means = total / count[:, None]                                              # (cell, channel)
    between = (count[:, None] * (means - z.mean(0)).square()).sum(0) / len(z)
    return means.T.reshape(-1, k, k), between / z.var(0, correction=0)


def padding_error(f: Features, truth: Features) -> Float[Tensor, " ring"]:
    """Error that padding causes in a feature map, by distance to the border: ring 0 is the outermost.

        error_d = mean over ring d of (f - truth)^2 / mean over the map of (truth - m)^2,   m_c its mean over space

    f      feature map of a padded crop
    truth  the same window, cut out of the feature map of the crop with its true surroundings
    A fraction of the true map's variance, with means over batch and channels: 0 is exact, 1 is the error of predicting
    each channel's mean.  If every true map is constant, it is inf, or nan where f is exact.
    """
    if f.shape != truth.shape:
        raise ValueError(f"padding_error: the maps are {tuple(f.shape)} and {tuple(truth.shape)}; cut out the same "
                         "window")
    rows, cols = f.shape[-2:]
    row, col = torch.arange(rows), torch.arange(cols)
    row_distance, col_distance = torch.minimum(row, rows - 1 - row), torch.minimum(col, cols - 1 - col)
    ring = torch.minimum(row_distance[:, None], col_distance).to(f.device)              # (row, col)
    f, truth = f.double(), truth.double()
    squared = (f - truth).square().mean((0, 1))                                         # (row, col)
    variance = (truth - truth.mean((-2, -1), keepdim=True)).square().mean()
    return torch.stack([squared[ring == d].mean() / variance for d in range(int(ring.max()) + 1)])


def spearman(maps: Float[Tensor, "batch row col"], target: Float[Tensor, "row col"]) -> list[float | None]:
    """Spearman's rank correlation of each map with the target, -1..1; ties get their mean rank.

    None for a constant map, for which it is undefined.  (The ICLR 2020 paper, which calls it SPC, reports .0 there.)
    """
    if target.min() == target.max():
        raise ValueError("spearman: the target is constant, so its correlation is undefined; give one that varies")
    from scipy.stats import rankdata  # here, because it takes a second and every page imports this module
    ranks = rankdata(maps.flatten(1).cpu().double().numpy(), axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    target_ranks = rankdata(target.cpu().double().numpy())
    target_ranks = target_ranks - target_ranks.mean()
    spread = maps.flatten(1).amax(1) - maps.flatten(1).amin(1)
    return [float(r @ target_ranks / np.sqrt((r @ r) * (target_ranks @ target_ranks))) if s > ROUNDING else None
            for r, s in zip(ranks, spread.tolist(), strict=True)]


def confusion(predicted: LabelMaps, labels: LabelMaps, num_classes: int,
              zones: Int[Tensor, "row col"] | None = None) -> Int[Tensor, "batch zone {num_classes} {num_classes}"]:
    """Confusion matrix of every image and zone, in pixels: label by prediction.  Pixels of any other label are void.

    zones  index of each pixel's zone; None is a single zone
    """
    if zones is None:
        zones = torch.zeros_like(labels[0])
    if predicted.shape != labels.shape or zones.shape != labels.shape[1:]:
        raise ValueError(f"confusion: predictions are {tuple(predicted.shape)}, labels {tuple(labels.shape)} and zones "
                         f"{tuple(zones.shape)}; give maps of one size")
    n = int(zones.max()) + 1
    image = torch.arange(len(labels), device=labels.device)[:, None, None]
    cell = ((image * n + zones) * num_classes + labels) * num_classes + predicted
    counted = (labels >= 0) & (labels < num_classes)
    counts = cell[counted].bincount(minlength=len(labels) * n * num_classes ** 2)
    return counts.reshape(len(labels), n, num_classes, num_classes)


def class_counts(confusion: Int[Tensor, "*some label label"]) -> Int[Tensor, "*some 3 label"]:
    """Pixels of each class in the intersection of labels and predictions, in the labels, and in the predictions.

    Sum them over images and zones before `class_iou`.
    """
    return torch.stack([confusion.diagonal(dim1=-2, dim2=-1), confusion.sum(-1), confusion.sum(-2)], -2)


def class_iou(counts: Num[Tensor, "*some 3 label"]) -> Float[Tensor, "*some label"]:
    """Intersection over union of each class, 0..1; nan for a class neither labelled nor predicted."""
    intersection, labelled, predicted = counts.double().unbind(-2)
    return intersection / (labelled + predicted - intersection)


def mean_iou(counts: Num[Tensor, "*some 3 label"], classes: Bool[Tensor, " label"] | None = None
             ) -> Float[Tensor, "*some"]:
    """Mean over classes of `class_iou`, 0..1.

    classes  mask of the classes to average; None averages all that are labelled or predicted, as the authors' code does
    """
    iou = class_iou(counts)
    return (iou if classes is None else iou[..., classes]).nanmean(-1)


def bootstrap(n: int, draws: int = 1000, seed: int = 0) -> Float[Tensor, "{draws} {n}"]:
    """How often each of n images occurs in each of `draws` bootstrap samples of n, drawn with replacement."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (draws, n), generator=generator)
    return torch.zeros(draws, n).scatter_add_(1, drawn, torch.ones(draws, n))
