"""Islam et al., ICLR 2020: its tables as printed, its claims and the rules that judge them."""
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from posenc_lib.base.names import label
from posenc_lib.claims.claim import (
    CONTRADICTED,
    IN_DIRECTION,
    NOT_RUN_YET,
    NOT_TESTABLE,
    NOT_TRIED,
    REPRODUCED,
    Claim,
    Judged,
    Scale,
    direction,
    points,
    rival,
)
from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.experiments.posenet_readout import (
    Cell,
    MapScore,
    MiouScore,
    ReadoutConfig,
    ScratchConfig,
)
from posenc_lib.measure.metrics import mean_interval
from posenc_lib.run.config import Recipe

# Tables 1 to 4 and 6: Spearman correlation (SPC) and mean absolute error (MAE) of the predicted map.  One run each, no
# intervals.  On the stripes (HS, VS) the paper's MAE is on a scale twice that of the maps: its constant predictor has
# .628, and that of the released maps, from 0 to 1, .318.
# (table, variant): target -> SPC and MAE on natural, black, white and noise images, or on natural images only.
_POSENET = {
    ("1", "posenet"): {
        "H": (.012, .251, .0, .251, .0, .251, .001, .251), "V": (.131, .248, .0, .251, .0, .251, .053, .250),
        "G": (-.001, .233, .0, .186, .0, .186, -.034, .214), "HS": (-.001, .712, -.055, .704, .0, .704, .023, .710),
        "VS": (.006, .723, .081, .709, .081, .709, .018, .714)},
    ("1", "vgg"): {
        "H": (.742, .149, .751, .164, .873, .157, .591, .173), "V": (.816, .129, .846, .146, .927, .138, .771, .150),
        "G": (.814, .109, .842, .123, .898, .116, .762, .129), "HS": (.405, .556, .532, .583, .576, .574, .375, .573),
        "VS": (.374, .567, .538, .575, .437, .578, .526, .566)},
    ("1", "resnet"): {
        "H": (.933, .084, .987, .080, .994, .078, .973, .077), "V": (.951, .083, .978, .069, .979, .072, .968, .074),
        "G": (.936, .070, .953, .068, .964, .064, .971, .055), "HS": (.534, .528, .566, .518, .562, .515, .471, .530),
        "VS": (.520, .537, .574, .523, .593, .514, .523, .545)},
    ("2a", "posenet/depth_1"): {"H": (.012, .251), "G": (-.001, .233), "HS": (-.001, .712)},
    ("2a", "posenet/depth_2"): {"H": (.056, .250), "G": (.067, .187), "HS": (-.006, .628)},
    ("2a", "posenet/depth_3"): {"H": (.055, .250), "G": (.126, .186), "HS": (.003, .628)},
    ("2a", "vgg/depth_1"): {"H": (.742, .149), "G": (.814, .109), "HS": (.405, .556)},
    ("2a", "vgg/depth_2"): {"H": (.797, .128), "G": (.828, .105), "HS": (.483, .538)},
    ("2a", "vgg/depth_3"): {"H": (.830, .117), "G": (.835, .104), "HS": (.491, .540)},
    ("2b", "posenet/kernel_1"): {"H": (.013, .251), "G": (.017, .188), "HS": (-.004, .628)},
    ("2b", "posenet/kernel_3"): {"H": (.012, .251), "G": (-.001, .233), "HS": (-.001, .723)},   # .712 in Table 1
    ("2b", "posenet/kernel_7"): {"H": (.060, .250), "G": (.068, .187), "HS": (.002, .628)},
    ("2b", "vgg/kernel_1"): {"H": (.542, .196), "G": (.724, .127), "HS": (.317, .576)},
    ("2b", "vgg/kernel_3"): {"H": (.742, .149), "G": (.814, .109), "HS": (.405, .556)},
    ("2b", "vgg/kernel_7"): {"H": (.828, .120), "G": (.816, .111), "HS": (.487, .532)},
    ("3", "vgg/stage_1"): {"H": (.101, .249), "G": (.241, .182)},
    ("3", "vgg/stage_2"): {"H": (.344, .225), "G": (.404, .168)},
    ("3", "vgg/stage_3"): {"H": (.472, .203), "G": (.588, .146)},
    ("3", "vgg/stage_4"): {"H": (.610, .181), "G": (.653, .138)},
    ("3", "vgg/stage_5"): {"H": (.657, .177), "G": (.693, .135)},
    ("3", "vgg/all_stages"): {"H": (.742, .149), "G": (.814, .109)},
    ("4", "posenet"): {"H": (.012, .251), "G": (-.001, .233), "HS": (-.001, .712)},
    ("4", "posenet/padding_1"): {"H": (.274, .239), "G": (.205, .184), "HS": (.148, .608)},
    ("4", "posenet/padding_2"): {"H": (.397, .223), "G": (.380, .177), "HS": (.214, .595)},
    ("4", "vgg"): {"H": (.742, .149), "G": (.814, .109), "HS": (.405, .556)},
    ("4", "vgg/padding_removed"): {"H": (.381, .223), "G": (.359, .174), "HS": (.011, .628)},
    ("fig6", "posenet"): {"G": (.286, .186)}, ("fig6", "posenet/padding_1"): {"G": (.227, .180)},   # one image
    ("fig6", "posenet/padding_2"): {"G": (.473, .169)}, ("fig6", "vgg"): {"G": (.928, .085)},
    ("fig6", "vgg/padding_removed"): {"G": (.405, .170)},
    ("6", "vgg"): {   # again the row of Table 1
        "H": (.742, .149, .751, .164, .873, .157, .591, .173), "G": (.814, .109, .842, .123, .898, .116, .762, .129),
        "HS": (.405, .556, .532, .583, .576, .574, .375, .573)},
    ("6", "vgg/saliency"): {
        "H": (.969, .055, .857, .099, .938, .087, .965, .060), "G": (.948, .067, .904, .086, .907, .085, .912, .077),
        "HS": (.667, .476, .699, .506, .709, .482, .668, .489)},
    ("6", "vgg/segmentation"): {
        "H": (.982, .038, .990, .030, .985, .032, .985, .033), "G": (.971, .055, .984, .050, .989, .046, .982, .051),
        "HS": (.810, .430, .802, .426, .810, .426, .789, .428)},
}
POSENET = pd.DataFrame([(table, variant, target, images, spc, mae)
                        for (table, variant), targets in _POSENET.items() for target, cells in targets.items()
                        for images, spc, mae in zip(("natural", "black", "white", "noise"), cells[::2], cells[1::2],
                                                    strict=False)],
                       columns=["table", "variant", "target", "images", "paper_spc", "paper_mae"])
FIVE_MAPS = tuple(dict.fromkeys(POSENET["target"]))
_PRINTED = {(cell.table, cell.variant, cell.target, cell.images): (cell.paper_spc, cell.paper_mae)
            for cell in POSENET.itertuples()}
# The cell that the paper sets each cell against: (table, variant) -> variant.
POSENET_AGAINST = {
    ("1", "vgg"): "posenet", ("1", "resnet"): "posenet",
    **{("2a", f"{net}/depth_{n}"): f"{net}/depth_1" for net in ("posenet", "vgg") for n in (2, 3)},
    **{("2b", f"{net}/kernel_{k}"): f"{net}/kernel_1" for net in ("posenet", "vgg") for k in (3, 7)},
    **{("3", f"vgg/{part}"): "vgg/stage_1" for part in ("stage_2", "stage_3", "stage_4", "stage_5", "all_stages")},
    **{(table, f"posenet/padding_{n}"): "posenet" for n in (1, 2) for table in ("4", "fig6")},
    **{(table, "vgg/padding_removed"): "vgg" for table in ("4", "fig6")},
    ("6", "vgg/saliency"): "vgg", ("6", "vgg/segmentation"): "vgg",
}
# Table 5: networks trained from scratch; F-measure and mean absolute error of saliency, 0 to 1; mean IoU in percent.
_TABLE5 = {"vgg": (.78, .17, .66, .21, .63, .18, 23.1), "vgg/without_padding": (.36, .48, .32, .48, .25, .48, 12.3)}
TABLE5 = pd.DataFrame([(variant, *cell, value) for variant, row in _TABLE5.items() for cell, value in zip(
    (*((dataset, measure) for dataset in ("ECSSD", "PASCAL-S", "DUT-OMRON") for measure in ("F", "MAE")),
     ("VOC 2012", "mean IoU")), row, strict=True)], columns=["variant", "dataset", "measure", "paper"])

# The rows that the rules judge.

NAN = float("nan")


class CellScore(NamedTuple):
    """A cell of a table over seeds: a target map, a network and a test set.

    mean, low, high  SPC and its 95 % interval; nan if it is undefined in every seed
    n                number of seeds in which SPC is defined; None if there is none
    mae, mae_low, mae_high   MAE and its 95 % interval
    mse              nan if a record has none; the paper prints none
    undefined        number of predicted maps, over all seeds, that are constant
    paper_spc, paper_mae     as printed; nan if the paper has no such cell
    """
    table: str
    variant: str
    network: str
    target: str
    images: str
    mae: float
    mae_low: float
    mae_high: float
    mean: float
    low: float
    high: float
    n: int | None
    undefined: int
    n_images: int
    paper_spc: float
    paper_mae: float
    mse: float = NAN

    @property
    def cell(self) -> tuple[str, str, str, str]:
        return self.table, self.variant, self.target, self.images


def summarise(scores: Iterable[MapScore]) -> list[CellScore]:
    """Return the mean and 95 % interval over seeds of every cell, next to the paper's."""
    groups: dict[tuple, list[MapScore]] = {}
    for score in scores:
        groups.setdefault((score.table, score.variant, score.network, score.target, score.images), []).append(score)
    cells = []
    for (table, variant, network, target, images), group in groups.items():
        spc = [score.spc for score in group if score.spc is not None]
        cells.append(CellScore(
            table, variant, network, target, images, *mean_interval([score.mae for score in group]),
            *(mean_interval(spc) if spc else (NAN, NAN, NAN)), len(spc) or None,
            sum(score.undefined for score in group), group[0].n_images,
            *_PRINTED.get((table, variant, target, images), (NAN, NAN)),
            mean_interval([NAN if score.mse is None else score.mse for score in group])[0]))
    return cells


class _Interval(NamedTuple):
    mean: float
    low: float
    high: float
    n: int


class Step(NamedTuple):
    """The difference between a cell and the cell that the paper sets it against, seed by seed.

    network  of the cell, `EncoderConfig.key`
    against  variant of the other cell
    paper, mean, low, high  of the difference in SPC; the interval is the 95 % interval over n seeds
    """
    table: str
    variant: str
    network: str
    target: str
    images: str
    against: str
    paper: float
    mean: float
    low: float
    high: float
    n: int

    @property
    def direction(self) -> str:
        """That of the paper: "same", "opposite", or "open" if the interval contains 0."""
        if self.low <= 0 <= self.high or np.isnan(self.low):
            return "open"
        return "same" if self.mean * self.paper > 0 else "opposite"

    def reversed(self) -> "Step":
        """The step from this cell to the other."""
        return self._replace(paper=-self.paper, mean=-self.mean, low=-self.high, high=-self.low)


def step(cell: CellScore, scores: Iterable[MapScore]) -> Step | None:
    """Compare a cell with its base, seed by seed; None for a base.  An undefined SPC counts as 0."""
    against = POSENET_AGAINST.get((cell.table, cell.variant))
    if against is None:
        return None
    here = {score.seed: score.spc or 0.0 for score in scores
            if (score.table, score.variant, score.target, score.images, score.network) == (*cell.cell, cell.network)}
    base: dict[int, float] = {}
    for score in scores:
        if (score.table, score.variant, score.target, score.images) == (cell.table, against, *cell.cell[2:]):
            base.setdefault(score.seed, score.spc or 0.0)
    paper = _PRINTED[cell.cell][0] - _PRINTED[cell.table, against, cell.target, cell.images][0]
    difference = _interval(_subtract(here, base).values())
    return Step(cell.table, cell.variant, cell.network, cell.target, cell.images, against, paper, *difference)


def judged(scores: Sequence[MapScore]) -> list[Step]:
    """Return what the rules of Tables 1 to 4 and 6 judge: the steps on natural images that the paper prints."""
    cells = [cell for cell in summarise(scores)
             if cell.images == "natural" and cell.table != "fig6" and not np.isnan(cell.paper_spc)]
    return [found for cell in cells if (found := step(cell, scores))]


CONTENTLESS = ("black", "white", "noise")   # the test sets without content


class ContentChange(NamedTuple):
    """SPC of one map of one network on images without content, compared with natural images seed by seed.

    images           "black", "white" or "noise"
    natural_low      lower bound of the 95 % interval of SPC on natural images
    mean, low, high  SPC on `images` minus that on natural images, with its 95 % interval over n seeds
    kept             SPC on `images` minus half of that on natural images
    """
    variant: str
    network: str
    target: str
    images: str
    natural_low: float
    mean: float
    low: float
    high: float
    n: int
    kept: _Interval


def content_changes(scores: Iterable[MapScore]) -> list[ContentChange]:
    """Return the changes of every network and map of Table 1.  An undefined SPC counts as 0."""
    runs: dict[tuple[str, str, str], dict[str, dict[int, float]]] = {}
    for score in scores:
        if score.table == "1" and score.variant != "posenet" and score.target in FIVE_MAPS:
            sets = runs.setdefault((score.variant, score.network, score.target), {})
            sets.setdefault(score.images, {})[score.seed] = score.spc or 0.0
    changes = []
    for key, sets in runs.items():
        natural = sets["natural"]
        half = {seed: spc / 2 for seed, spc in natural.items()}
        for images in (name for name in CONTENTLESS if name in sets):
            change, kept = (_interval(_subtract(sets[images], other).values()) for other in (natural, half))
            changes.append(ContentChange(*key, images, _interval(natural.values()).low, *change, kept))
    return changes


class MiouSummary(NamedTuple):
    """Mean IoU in percent over seeds, with its 95 % interval; scored_on is "picture" or "window"."""
    padding_mode: str
    scored_on: str
    mean: float
    low: float
    high: float
    n: int


def summarise_miou(scores: Iterable[MiouScore]) -> list[MiouSummary]:
    """Return the mean and 95 % interval over seeds of networks trained from scratch."""
    groups: dict[tuple, list[float]] = {}
    for score in scores:
        groups.setdefault((score.padding_mode, score.scored_on), []).append(score.miou)
    return [MiouSummary(*key, *mean_interval(values), len(values)) for key, values in groups.items()]


class MiouGain(NamedTuple):
    """Mean IoU with zero padding minus that of another network from scratch, seed by seed, in points.

    against    padding mode of the other network
    scored_on  "picture" or "window"
    zeros, other     mean IoU of the two, in percent
    mean, low, high  of the difference, with its 95 % interval over n seeds
    """
    against: str
    scored_on: str
    zeros: float
    other: float
    mean: float
    low: float
    high: float
    n: int


def miou_gains(scores: Iterable[MiouScore]) -> list[MiouGain]:
    """Return what zero padding gains over none, on whole images and on the window, and over reflect on images."""
    runs: dict[tuple[str, str], dict[int, float]] = {}
    for score in scores:
        runs.setdefault((score.padding_mode, score.scored_on), {})[score.seed] = score.miou
    gains = []
    for against, scored_on in (("none", "picture"), ("none", "window"), ("reflect", "picture")):
        zeros, other = runs["zeros", scored_on], runs[against, scored_on]
        gains.append(MiouGain(against, scored_on, _interval(zeros.values()).mean, _interval(other.values()).mean,
                              *_interval(_subtract(zeros, other).values())))
    return gains


# What the rules share.

Runs = Mapping[tuple[str, str, str], Mapping[int, float]]   # (table, variant, target) -> seed -> SPC


def _of(steps: Iterable[Step], table: str, variants: Sequence[str]) -> list[Step]:
    """Return the steps of some variants of a table, variant by variant."""
    return [found for variant in variants for found in steps if (found.table, found.variant) == (table, variant)]


def _rises(steps: Iterable[Step], table: str, variants: Sequence[str]) -> bool:
    """Whether the mean rises on every map from the cell that the steps are set against through `variants`."""
    means: dict[str, list[float]] = {}
    for found in _of(steps, table, variants):
        means.setdefault(found.target, [0.0]).append(found.mean)
    return all(before < after for rungs in means.values() for before, after in pairwise(rungs))


def _as_printed(steps: Iterable[Step]) -> bool:
    """Whether every mean lies within the tolerance of the paper's difference."""
    return all(abs(found.mean - found.paper) <= TOLERANCE for found in steps)


def _verdict(effects: Sequence, smallest: float, size_agrees: bool) -> str:
    found = direction(effects, smallest)
    return REPRODUCED if found == IN_DIRECTION and size_agrees else found


def _rival(effects: Iterable, smallest: float, evidence: str) -> tuple[str, str]:
    """Return the outcome of a control that rules its rival explanation out where every effect lies above 0."""
    effects = list(effects)
    found, n = direction(effects, smallest), min(effect.n for effect in effects)
    return rival(found == IN_DIRECTION, found == CONTRADICTED, n, f"{evidence}, n = {n}")


def _only_the_papers(rows: Iterable) -> list:
    """Drop networks that stand in for one of the paper's where that was run, too: rows have a variant and a network."""
    rows = list(rows)
    own = {row.variant for row in rows if row.network == PAPER_NETWORKS.get(row.variant)}
    return [row for row in rows if row.variant not in own or row.network == PAPER_NETWORKS[row.variant]]


def _spc(score: Step | _Interval | ContentChange) -> str:
    return f"{score.mean:+.2f}±{(score.high - score.low) / 2:.2f}"


def _list(intervals: Mapping[str, _Interval]) -> str:
    return ", ".join(f"{name} {_spc(interval)}" for name, interval in intervals.items())


def _maps(steps: Iterable[Step]) -> str:
    """Describe steps by their maps: "H +0.18±0.04 (paper +0.09), G ..."."""
    return ", ".join(f"{found.target} {_spc(found)} (paper {found.paper:+.2f})" for found in steps)


def _n(rows: Iterable) -> str:
    return f", n = {min(row.n for row in rows)}"


def _by_seed(scores: Iterable[MapScore]) -> Runs:
    """Return SPC on natural images; an undefined one counts as 0."""
    runs: dict[tuple[str, str, str], dict[int, float]] = {}
    for score in scores:
        if score.images == "natural":
            runs.setdefault((score.table, score.variant, score.target), {})[score.seed] = score.spc or 0.0
    return runs


def _subtract(minuend: Mapping[int, float], subtrahend: Mapping[int, float]) -> dict[int, float]:
    """Subtract seed by seed."""
    return {seed: minuend[seed] - subtrahend[seed] for seed in sorted(minuend.keys() & subtrahend.keys())}


def _interval(values: Iterable[float]) -> _Interval:
    values = list(values)
    return _Interval(*mean_interval(values), len(values))


def _gains(runs: Runs, last: tuple[str, str], first: tuple[str, str], targets: Sequence[str]) -> dict[str, _Interval]:
    """Return SPC of `last` minus `first`, both (table, variant), seed by seed, for each target."""
    return {target: _interval(_subtract(runs[*last, target], runs[*first, target]).values()) for target in targets}


# The rules.

THREE_MAPS = ("H", "G", "HS")
DEPTHS = [f"vgg/depth_{n}" for n in (2, 3)]        # each a step from one layer
KERNELS = [f"vgg/kernel_{k}" for k in (3, 7)]      # from 1×1
PADDINGS = [f"posenet/padding_{n}" for n in (1, 2)]   # from none
PAPER_NETWORKS = {"vgg": "vgg16/imagenet", "resnet": "resnet152/imagenet"}

# The smallest effects of interest, in SPC: half of the smallest difference that the paper prints for the claim.
SMALLEST_READOUT = 0.18   # network minus pixels: 0.368, VGG-16 on VS
SMALLEST_SIZE = 0.01      # largest readout minus smallest: 0.021, three layers on G
SMALLEST_DEPTH = 0.2      # last stage minus first: 0.412, the fourth of VGG-16 on G
SMALLEST_PADDING = 0.1    # two pixels of padding on pixels: 0.215 on HS; taking VGG-16's away: 0.361 on H
SMALLEST_TASK = 0.08      # segmentation minus classification: 0.157 on G
SMALLEST_SCRATCH = 5.4    # points of mean IoU: 10.8
SMALLEST_LEARNED = 0.1    # trained minus random weights: none is printed, but VGG-16 and ResNet-152 differ by more
# How far a mean may be from the paper's.
TOLERANCE = 0.1           # SPC; VGG-16 and ResNet-152 differ by more on every map
TOLERANCE_CONTENT = 0.2   # change in SPC without content: up to 0.171 in the paper, VGG-16 on HS, white
TOLERANCE_SCRATCH = 5.4   # points: half of the paper's, which is on other images

# What a run needs to be judged.
# A readout of a random small network reaches an SPC of 0.6 on H after 48 steps, 0.84 after 240 and 0.89 after 960, and
# the gain of three layers over one is there by 240 (embedded photographs).  The released schedule has 4,950.
READOUT_MINIMUM = {"steps": 150}
# A larger readout may also learn its training images by heart.  SqueezeNet on ECSSD, 8 channels between layers: on 128
# photographs and after 240 steps, the error in training (sum of the mean squared errors of six maps) falls from 0.33
# with one layer to 0.18 with three, while SPC on test photographs falls from 0.81 to 0.74 on G and from 0.36 to 0.28
# on HS.  On 800 photographs and after 300 steps (one seed), the error falls from 0.38 to 0.34 in training and from
# 0.39 to 0.35 in the test, and SPC is 0.82 and 0.82 on G, 0.39 and 0.38 on HS.  The paper has 10,533 photographs.
SIZE_MINIMUM = READOUT_MINIMUM | {"train_images": 500}
# After 60 steps the small segmenter still gives every pixel the most frequent class, mean IoU 10 %; after 400 it has
# begun to distinguish digits, 14 and 19 % (width 8, batches of 16, two seeds).
TASK_MINIMUM = {"steps": 400}
# After 40 steps of 8 images a small network with zero padding has a mean IoU of 27 to 29 % on street scenes; the most
# frequent class everywhere has 3 %.
SCRATCH_MINIMUM = {"steps": 40}


def _posenet_readout(steps: Sequence[Step]) -> tuple[str, str]:
    """Effect: SPC on natural images of a trained network minus that of PosENet on the pixels, seed by seed, with its
    95 % interval (Student's t) over seeds, for each network and each of the five maps. An undefined SPC counts as 0.
    Smallest effect of interest: 0.18, half of the smallest that the paper prints. *Reproduced* when every interval lies
    above 0, and every mean no more than 0.1 below the paper's; *in direction* when only the first holds. Otherwise
    *contradicted* when some interval lies below 0.18, and *inconclusive* when none does. Where VGG-16 or ResNet-152 was
    run, no substitute for it is judged. Training steps are those of the readouts.
    """
    effects = _only_the_papers(found for found in steps if found.table == "1")
    near = all(found.mean >= found.paper - TOLERANCE for found in effects)
    n_above = sum(found.low > 0 for found in effects)
    worst = min(effects, key=lambda found: found.mean - found.paper)
    return _verdict(effects, SMALLEST_READOUT, near), (
        f"{n_above} of {len(effects)} (network, map) above pixels; furthest below the paper: {label(worst.network)}, "
        f"SPC minus that of the pixels {_maps([worst])}{_n(effects)}")


def _posenet_content(changes: Sequence[ContentChange]) -> tuple[str, str]:
    """Effects: SPC on black, on white and on noise images, each minus that on natural images, and minus half of it,
    seed by seed, with 95 % intervals (Student's t) over seeds, for each network of Table 1 and each map that can be
    read from it on natural images, that is, with an interval of SPC above 0.18. An undefined SPC counts as 0. A map
    whose SPC falls to less than half depends on content. *Reproduced* when every interval of the change lies within 0.2
    of 0, as all of the paper's changes do, and every network keeps more than half of its SPC: the interval of SPC minus
    half lies above 0 for every map. *In direction* when only the second holds. Otherwise *contradicted* when some
    interval of SPC minus half lies below 0, and *inconclusive* when none does. *Not testable here* when no map can be
    read on natural images, or when black, white or noise images are missing. Where VGG-16 or ResNet-152 was run, no
    substitute for it is judged. Training steps are those of the readouts.
    """
    rows = _only_the_papers(changes)
    missing = [name for name in CONTENTLESS if name not in {row.images for row in rows}]
    drawn = [row for row in rows if row.natural_low > SMALLEST_READOUT]
    if missing or not drawn:
        return NOT_TESTABLE, f"no {' or '.join(missing)} images" if missing else "no map can be read on natural images"
    within = all(max(-row.low, row.high) < TOLERANCE_CONTENT for row in drawn)
    worst = min(drawn, key=lambda row: row.kept.low)
    n_kept, n_maps = sum(row.kept.low > 0 for row in drawn), len(rows) // len(CONTENTLESS)
    return _verdict([row.kept for row in drawn], 0.0, within), (
        f"{n_kept} of {len(drawn)} (network, map, images) keep more than half, {len(drawn) // len(CONTENTLESS)} of "
        f"{n_maps} maps can be read; least: {label(worst.network)}, {worst.target}, {worst.images} {_spc(worst)} "
        f"against natural{_n(drawn)}")


def _posenet_size(steps: Sequence[Step]) -> tuple[str, str]:
    """Effects: SPC on natural images, maps H, G and HS, of the trained network with 3 layers minus that with 1, and
    with 7×7 minus 1×1 kernels, seed by seed, with 95 % intervals (Student's t) over seeds. Smallest effect of interest:
    0.01, half of the smallest that the paper prints. *Reproduced* when every interval lies above 0, every mean is
    within 0.1 of the paper's, and means rise on every map from 1 to 2 to 3 layers and from 1×1 to 3×3 to 7×7;
    *in direction* when only the first holds. Otherwise *contradicted* when some interval lies below 0.01, and
    *inconclusive* when none does. Training steps are those of the readouts.
    """
    layers, kernels = _of(steps, "2a", DEPTHS[-1:]), _of(steps, "2b", KERNELS[-1:])
    effects = layers + kernels
    rises = _rises(steps, "2a", DEPTHS) and _rises(steps, "2b", KERNELS)
    return _verdict(effects, SMALLEST_SIZE, rises and _as_printed(effects)), (
        f"1 layer → 3 layers: {_maps(layers)}; 1x1 → 7x7: {_maps(kernels)}{_n(effects)}")


def _posenet_depth(steps: Sequence[Step]) -> tuple[str, str]:
    """Effect: SPC on natural images, maps H and G, from the last stage of the network alone minus that from the first,
    seed by seed, with its 95 % interval (Student's t) over seeds. Smallest effect of interest: 0.2, half of the
    smallest that the paper prints. *Reproduced* when both intervals lie above 0, both means are within 0.1 of the
    paper's for that stage, and means rise from each stage to the next and to all together; *in direction* when only the
    first holds. Otherwise *contradicted* when an interval lies below 0.2, and *inconclusive* when none does. Training
    steps are those of the readouts.
    """
    variants = list(dict.fromkeys(found.variant for found in steps if found.table == "3"))
    last = [variant for variant in variants if variant != "vgg/all_stages"][-1]
    effects = _of(steps, "3", [last])
    rises = _rises(steps, "3", variants)
    return _verdict(effects, SMALLEST_DEPTH, rises and _as_printed(effects)), (
        f"stage 1 → stage {last[-1]}: {_maps(effects)}{_n(effects)}")


def _posenet_padding(steps: Sequence[Step]) -> tuple[str, str]:
    """Effects: the SPC on natural images, maps H, G and HS, that the network loses when its padding is removed, and
    that PosENet on the pixels gains from two pixels of padding, seed by seed, with 95 % intervals (Student's t) over
    seeds. Smallest effect of interest: 0.1, half of the smallest that the paper prints. *Reproduced* when every
    interval lies above 0, every mean is within 0.1 of the paper's, and the means of PosENet rise on every map from
    padding 0 to 1 to 2; *in direction* when only the first holds. Otherwise *contradicted* when some interval lies
    below 0.1, and *inconclusive* when none does. Training steps are those of the readouts.
    """
    lost = [found.reversed() for found in _of(steps, "4", ["vgg/padding_removed"])]
    gained = _of(steps, "4", PADDINGS[-1:])
    effects = lost + gained
    return _verdict(effects, SMALLEST_PADDING, _rises(steps, "4", PADDINGS) and _as_printed(effects)), (
        f"network, lost without padding: {_maps(lost)}; pixels, gained with padding 2: {_maps(gained)}{_n(effects)}")


def _posenet_task(steps: Sequence[Step]) -> tuple[str, str]:
    """Effect: SPC on natural images, maps H, G and HS, of the network trained to label every pixel minus that of the
    same network trained to classify, seed by seed, with its 95 % interval (Student's t) over seeds. Smallest effect of
    interest: 0.08, half of the smallest that the paper prints. *Reproduced* when every interval lies above 0 and every
    mean is within 0.1 of the paper's; *in direction* when only the first holds. Otherwise *contradicted* when some
    interval lies below 0.08, and *inconclusive* when none does. Training steps are those of the networks.
    """
    effects = _of(steps, "6", ["vgg/segmentation"])
    return _verdict(effects, SMALLEST_TASK, _as_printed(effects)), (
        f"segmentation minus classification: {_maps(effects)}{_n(effects)}")


def _untrained(scores: Sequence[MapScore]) -> tuple[str, str]:
    """Effect: SPC on natural images after training minus that of random weights, seed by seed, with its 95 % interval
    (Student's t) over seeds, for each network and each of the five maps. *Ruled out* when every interval lies above 0.
    The *rival explanation holds* when some interval lies below 0.1: there, training adds next to nothing or reduces
    SPC. Otherwise *undecided*.
    """
    trained: dict[tuple[str, str, str], dict[int, float]] = {}
    untrained: dict[tuple[str, str], dict[int, float]] = {}
    natural = [score for score in scores if score.images == "natural" and score.target in FIVE_MAPS]
    for score in _only_the_papers(score for score in natural if score.table == "1" and score.variant != "posenet"):
        trained.setdefault((score.network, score.architecture, score.target), {})[score.seed] = score.spc or 0.0
    for score in natural:
        if (score.table, score.variant) == ("untrained", "zeros") or score.table == "untrained_imagenet":
            untrained.setdefault((score.architecture, score.target), {})[score.seed] = score.spc or 0.0
    if any(key[1:] not in untrained for key in trained):
        return NOT_TRIED, "some networks have no readout with random weights"
    learned = {f"{key[0]}, {key[2]}": _interval(_subtract(runs, untrained[key[1:]]).values())
               for key, runs in trained.items()}
    n_above = sum(effect.low > 0 for effect in learned.values())
    worst = min(learned, key=lambda name: learned[name].mean)
    return _rival(learned.values(), SMALLEST_LEARNED, (
        f"trained above random in {n_above} of {len(learned)} (network, map); least, trained minus random: "
        f"{worst} {_spc(learned[worst])}"))


def _from_contentless_pixels(scores: Sequence[MapScore]) -> tuple[str, str]:
    """SPC of PosENet on the pixels of black, white and noise images, for each of the five maps, with its 95 % interval
    (Student's t) over seeds. An undefined SPC counts as 0. *Ruled out* when every interval lies below 0.18, the
    smallest SPC of interest. The *rival explanation holds* when some interval lies above it. Otherwise *undecided*. On
    black and white images the control is exact: an unpadded readout maps a constant image to a constant map, whatever
    its weights.
    """
    runs: dict[str, list[float]] = {}
    for score in scores:
        on_pixels = (score.table, score.variant) == ("1", "posenet")
        if on_pixels and score.images in CONTENTLESS and score.target in FIVE_MAPS:
            runs.setdefault(f"{score.target}, {score.images}", []).append(score.spc or 0.0)
    drawn = {name: _interval(values) for name, values in runs.items()}
    if not drawn:
        return NOT_TRIED, "no black, white or noise images"
    most, n = max(drawn, key=lambda name: drawn[name].mean), min(spc.n for spc in drawn.values())
    return rival(all(spc.high < SMALLEST_READOUT for spc in drawn.values()),
                 any(spc.low > SMALLEST_READOUT for spc in drawn.values()), n,
                 f"highest on pixels without content: {most} {_spc(drawn[most])}, n = {n}")


def _on_pixels(scores: Sequence[MapScore]) -> tuple[str, str]:
    """Effect: the SPC that the trained network gains on natural images from 1 to 3 layers and from 1×1 to 7×7 kernels,
    maps H, G and HS, minus what the same readouts gain on the pixels, seed by seed, with its 95 % interval
    (Student's t) over seeds; only where the interval of the network's own gain lies above 0. *Ruled out* when every
    interval lies above 0. The *rival explanation holds* when some interval lies below 0.01: there, the gain on the
    pixels is as large. Otherwise *undecided*. *Not tried here* when the network gains on no map.
    """
    runs = _by_seed(scores)
    beyond, n = {}, []
    for table, first, last, words in (("2a", "depth_1", "depth_3", "1 layer → 3 layers"),
                                      ("2b", "kernel_1", "kernel_7", "1x1 → 7x7")):
        for target in THREE_MAPS:
            network, pixels = (_subtract(runs[table, f"{net}/{last}", target], runs[table, f"{net}/{first}", target])
                               for net in ("vgg", "posenet"))
            gain = _interval(network.values())
            n.append(gain.n)
            if gain.low > 0:
                beyond[f"{words} {target}"] = _interval(_subtract(network, pixels).values())
    if not beyond:
        return NOT_TRIED, f"on no map does the interval of the network's gain lie above 0, n = {min(n)}"
    return _rival(beyond.values(), SMALLEST_SIZE, f"gain beyond that on pixels: {_list(beyond)}")


def _matched_channels(scores: Sequence[MapScore]) -> tuple[str, str]:
    """Effect: SPC on natural images, maps H and G, from the last stage minus that from the first, with the same small
    number of channels from each, drawn anew for every seed, with its 95 % interval (Student's t) over seeds.
    *Ruled out* when both intervals lie above 0. The *rival explanation holds* when an interval lies below 0.2, half of
    the paper's smallest. Otherwise *undecided*.
    """
    runs = _by_seed(scores)
    stages = sorted({variant for table, variant, _ in runs if table == "matched_channels"})
    first, last = stages[0], stages[-1]
    matched, all_channels = (_gains(runs, (table, last), (table, first), ("H", "G"))
                             for table in ("matched_channels", "3"))
    return _rival(matched.values(), SMALLEST_DEPTH, (
        f"stage {first[-1]} → {last[-1]}, equally many channels: {_list(matched)}; all channels: "
        f"{_list(all_channels)}"))


def _never_padded(scores: Sequence[MapScore]) -> tuple[str, str]:
    """Effect: half the SPC on natural images, maps H, G and HS, of the small network trained with zeros minus the SPC
    of the same network trained without padding, seed by seed, with its 95 % interval (Student's t) over seeds.
    *Ruled out* when every interval lies above 0: a network that never had padding, and so is not broken by its removal,
    has less than half the SPC. The *rival explanation holds* when some interval lies below 0: it has more than half.
    Otherwise *undecided*. *Not tried here* when the interval with zeros does not lie above 0 on every map.
    """
    runs = _by_seed(scores)
    zeros, none = ({target: runs["trained", mode, target] for target in THREE_MAPS} for mode in ("zeros", "none"))
    drawn, left = ({target: _interval(spc.values()) for target, spc in network.items()} for network in (zeros, none))
    n = min(spc.n for spc in drawn.values())
    if n >= 2 and not all(spc.low > 0 for spc in drawn.values()):
        return NOT_TRIED, f"even with zero padding the network has little SPC: {_list(drawn)}, n = {n}"
    half = {target: {seed: spc / 2 for seed, spc in zeros[target].items()} for target in THREE_MAPS}
    below_half = {target: _interval(_subtract(half[target], none[target]).values()) for target in THREE_MAPS}
    return _rival(below_half.values(), 0.0, (
        f"trained without padding: {_list(left)}; with zeros: {_list(drawn)}; half of that minus the first: "
        f"{_list(below_half)}"))


def _before_the_task(scores: Sequence[MapScore]) -> tuple[str, str]:
    """Effect: SPC on natural images, maps H, G and HS, of the network trained to label pixels minus that of the same
    architecture before any training, seed by seed, with its 95 % interval (Student's t) over seeds. *Ruled out* when
    every interval lies above 0. The *rival explanation holds* when some interval lies below 0.08, half of the paper's
    smallest step between tasks: there, training to label pixels has added next to nothing. Otherwise *undecided*.
    """
    gains = _gains(_by_seed(scores), ("6", "vgg/segmentation"), ("untrained", "zeros"), THREE_MAPS)
    return _rival(gains.values(), SMALLEST_TASK, f"segmentation minus untrained: {_list(gains)}")


def _posenet_scratch(gains: Sequence[MiouGain]) -> tuple[str, str]:
    """Effect: mean IoU on whole test images of a network trained from scratch with zero padding minus that without, in
    points, seed by seed, with its 95 % interval (Student's t) over seeds. Smallest effect of interest: 5.4 points, half
    of what the paper prints. *Reproduced* when the interval lies above 0 and the mean is within 5.4 points of the
    paper's 10.8; *in direction* when only the first holds. Otherwise *contradicted* when the interval lies below 5.4
    points, and *inconclusive* when it does not.
    """
    [effect] = [gain for gain in gains if (gain.against, gain.scored_on) == ("none", "picture")]
    near = abs(effect.mean - (_TABLE5["vgg"][-1] - _TABLE5["vgg/without_padding"][-1])) <= TOLERANCE_SCRATCH
    return _verdict([effect], SMALLEST_SCRATCH, near), (
        f"with zero padding {effect.zeros:.1f} %, without padding {effect.other:.1f} %: {points(effect)}"
        f"{_n([effect])}")


def _seen_and_reflected(gains: Sequence[MiouGain]) -> tuple[str, str]:
    """Effects: mean IoU with zero padding minus that without, on the window that a map without padding covers, which is
    also where the network without padding is trained; and minus that with reflect padding, on whole images; in points,
    seed by seed, with 95 % intervals (Student's t) over seeds. *Ruled out* when both intervals lie above 0. The
    *rival explanation holds* when one lies below 5.4 points, half of the paper's loss. Otherwise *undecided*.
    """
    window, reflect = (next(gain for gain in gains if (gain.against, gain.scored_on) == compared)
                       for compared in (("none", "window"), ("reflect", "picture")))
    return _rival([window, reflect], SMALLEST_SCRATCH, (
        f"zero padding minus none, on the window: {points(window)}; minus reflect, on whole images: {points(reflect)}"))


_PAGE = "02_posenet_readout"
POSENET_READOUT = Claim(
    "posenet-readout", _PAGE,
    "From the frozen features of a trained network, one convolution can predict a position map; from the image itself "
    "it cannot.",
    "ICLR 2020, Table 1", "SPC on H: 0.742 (VGG-16), 0.933 (ResNet-152), 0.012 (pixels)", _posenet_readout,
    "The rival explanation that any network of this architecture allows it, trained or not: tested with the same "
    "networks with random weights", _untrained, "02_table1", ("ICLR 2020, Table 1",), minimum=READOUT_MINIMUM)
POSENET_CONTENT = Claim(
    "posenet-content", _PAGE,
    "The position map does not depend on the content of the image: it is predicted as well on black, white and noise "
    "images as on natural ones.",
    "ICLR 2020, Table 1", "SPC of VGG-16 on H: 0.742 (natural), 0.751 (black), 0.873 (white), 0.591 (noise)",
    _posenet_content,
    "The rival explanation that the readout produces the map by itself, whatever its input: tested with the same "
    "readout on the pixels of these images", _from_contentless_pixels, "02_table1", ("ICLR 2020, Table 1",),
    minimum=READOUT_MINIMUM, control_minimum={})   # untrained readouts draw nothing of such pixels either
POSENET_SIZE = Claim(
    "posenet-size", _PAGE, "A deeper readout, or one with larger kernels, predicts the map better.",
    "ICLR 2020, Table 2", "SPC on H: 0.742 → 0.830 with 3 layers, 0.542 → 0.828 from 1×1 to 7×7", _posenet_size,
    "The rival explanation that a larger readout is better on any input: tested with the same readouts on the pixels",
    _on_pixels, "02_ladders", ("ICLR 2020, Table 2a", "ICLR 2020, Table 2b"), minimum=SIZE_MINIMUM,
    fixed="after the CPU runs on file; the minimum number of training images after they had contradicted the claim")
POSENET_DEPTH = Claim(
    "posenet-depth", _PAGE, "Deeper stages of a network encode more position information than shallow ones.",
    "ICLR 2020, Table 3", "SPC on H: 0.101 at the first stage, 0.657 at the fifth, 0.742 with all", _posenet_depth,
    "The rival explanation that deeper stages merely have more channels: tested by reading equally many from each",
    _matched_channels, "02_stages", ("ICLR 2020, Table 3",), minimum=READOUT_MINIMUM)
POSENET_PADDING = Claim(
    "posenet-padding", _PAGE, "Zero padding is the source of the position information.",
    "ICLR 2020, Table 4", "SPC on H: 0.742 → 0.381 without padding; pixels 0.012 → 0.397 with two pixels of it",
    _posenet_padding,
    "The rival explanation that removing the padding breaks the network: tested with a network trained without padding",
    _never_padded, "02_untrained", ("ICLR 2020, Table 4", "ICLR 2020, Fig. 6"), minimum=READOUT_MINIMUM)
POSENET_TASK = Claim(
    "posenet-task", _PAGE,
    "Networks trained to label every pixel encode more position information than those trained for classification.",
    "ICLR 2020, Table 6", "SPC on H: 0.742 (classification), 0.969 (saliency), 0.982 (segmentation)", _posenet_task,
    "The rival explanation that the position information was there before training: tested with the same architecture, "
    "on the same photographs, before any training", _before_the_task, "02_task", ("ICLR 2020, Table 6",),
    minimum=TASK_MINIMUM)
POSENET_SCRATCH = Claim(
    "posenet-scratch", _PAGE, "Trained from scratch without padding, a network segments images worse.",
    "ICLR 2020, Table 5", "VOC 2012: mean IoU 23.1 → 12.3 % without padding; saliency, F on ECSSD: 0.78 → 0.36",
    _posenet_scratch,
    "The rival explanation that the smaller map causes the loss, not the missing position information: tested with a "
    "network without padding that is trained and scored only on the window it covers, and with reflect padding, which "
    "gives a map of the same size and hardly marks the border", _seen_and_reflected, "02_scratch",
    ("ICLR 2020, Table 5",), minimum=SCRATCH_MINIMUM)

CLAIMS = (POSENET_READOUT, POSENET_CONTENT, POSENET_SIZE, POSENET_DEPTH, POSENET_PADDING, POSENET_TASK,
          POSENET_SCRATCH)


# The verdicts that the tables of a run lead to.

NOTHING = Judged(NOT_TESTABLE, NOT_RUN_YET, NOT_TRIED, NOT_RUN_YET)   # without any run

# The tables and controls that a claim's control reads.
CONTROL_TABLES = {POSENET_READOUT: {"1"}, POSENET_CONTENT: {"1"}, POSENET_SIZE: {"2a", "2b"},
                  POSENET_DEPTH: {"3", "matched_channels"}, POSENET_PADDING: {"trained"},
                  POSENET_TASK: {"6", "untrained"}}


def judge_readouts(scores: Sequence[MapScore], cells: Sequence[Cell]) -> dict[Claim, Judged]:
    """Judge every claim but that of Table 5, and its control.  A claim without all of its tables has not been run."""
    run = {score.table for score in scores}
    steps, changes = judged(scores), content_changes(scores)
    found = {}
    for claim, controls in CONTROL_TABLES.items():
        tables = _tables(claim)
        rows = changes if claim is POSENET_CONTENT else [row for row in steps if row.table in tables]
        found[claim] = claim.judged(rows if tables <= run else [], scale(claim, cells),
                                    scores if controls <= run else [])
    return found


def judge_scratch(scores: Sequence[MiouScore], configs: Sequence[ScratchConfig]) -> dict[Claim, Judged]:
    """Judge the claim of Table 5, and its control."""
    gains = miou_gains(scores) if scores else []
    return {POSENET_SCRATCH: POSENET_SCRATCH.judged(gains, scratch_scale(configs) if scores else Scale())}


def _tables(claim: Claim) -> set[str]:
    return {name.removeprefix("ICLR 2020, Table ") for name in claim.tables if "Table" in name}


# How large the runs are that the claims rest on.

PAPER_PHOTOS = "duts_pascals"   # name of a folder with DUT-S for training and PASCAL-S as test images
PAPER_STEPS = 15 * 330          # 15 passes of 10,533 images in batches of 32


def scale(claim: Claim, cells: Sequence[Cell]) -> Scale:
    """Fewest training steps and images among the readouts that a claim rests on, and what in them is not the paper's.

    cells  of all tables.  Of Table 6 the steps are those of the networks that are read, which it compares.
    """
    tables = _tables(claim)
    cells = _judged_cells([cell for cell in cells if cell.table in tables])
    configs = [cell.config for cell in cells]
    read_steps = min((_steps(cell.config.recipe, cell.n_train) for cell in cells), default=0)
    trained = [c.encoder.recipe for c in configs if c.encoder.recipe] if claim is POSENET_TASK else []
    steps = min((_steps(recipe) for recipe in trained), default=read_steps)
    papers = "VGG-16 and ResNet-152" if "1" in tables else "VGG-16"
    n_train = min((cell.n_train for cell in cells), default=0)
    return Scale({"steps": steps, "train_images": n_train},
                 ", ".join(_readout_substitutes(configs, papers, read_steps, n_train)) if cells else "")


def scratch_scale(configs: Sequence[ScratchConfig]) -> Scale:
    """As `scale`, for the networks from scratch.  All is a substitute: the paper's network is VGG-16."""
    steps, network = min(_steps(c.network.recipe) for c in configs), configs[0].network
    return Scale({"steps": steps}, f"a VGG of width {network.width}, {network.source} and {steps:,} training steps for "
                                   "VGG-16 on VOC 2012")


def _judged_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that a table is judged by, one for each configuration."""
    rows = [_ReadCell(cell.variant, cell.config.encoder.key, cell) for cell in cells]
    return list({row.cell.config: row.cell for row in _only_the_papers(rows)}.values())


class _ReadCell(NamedTuple):
    variant: str
    network: str
    cell: Cell


def in_words(cells: Sequence[Cell], scores: Sequence[MapScore]) -> str:
    """Say what the readouts of some cells are trained and tested on, for how long, and with how many seeds."""
    seeds: dict[str, set[int]] = {}
    n_test: dict[str, int] = {}
    for score in scores:
        if score.images == "natural" and score.table != "fig6":
            seeds.setdefault(score.table, set()).add(score.seed)
            n_test[score.table] = score.n_images
    groups: dict[str, list[str]] = {}
    for cell in cells:
        if cell.table in n_test:
            c, steps = cell.config, _steps(cell.config.recipe, cell.n_train)
            text = (f"{_images_in_words(c.dataset)} ({cell.n_train} for training, {n_test[cell.table]} for testing, "
                    f"{c.size} pixels), {steps:,} steps of {c.recipe.batch_size}")
            groups.setdefault(text, []).append(cell.table)
    most = max(groups, key=lambda text: len(groups[text]), default="")
    words = [most] + [f"Table 2: {text}" for text in groups if text != most]
    n = {table: len(of_table) for table, of_table in seeds.items()}
    usual = min((count for table, count in n.items() if table != "1"), default=n.get("1", 0))
    more = f", {n['1']} in Table 1" if n.get("1", usual) != usual else ""
    return "; ".join(words) + f"; n = {usual} seeds{more}"


def ladders_in_words(cells: Iterable[CellScore], tables: Sequence[str] = ("2a", "2b", "3", "4", "6")) -> str:
    """Say how SPC on H, on natural images, moves from the first to the last row of each table of networks."""
    ends = {"2a": ("vgg/depth_1", "vgg/depth_3"), "2b": ("vgg/kernel_1", "vgg/kernel_7"),
            "3": ("vgg/stage_1", "vgg/all_stages"), "4": ("vgg", "vgg/padding_removed"),
            "6": ("vgg", "vgg/segmentation")}
    spc = {cell.cell: cell.mean for cell in cells}
    moves = [(table, spc.get((table, first, "H", "natural")), spc.get((table, last, "H", "natural")))
             for table, (first, last) in ends.items() if table in tables]
    return "From the first variant to the last, SPC on H changes " + ", ".join(
        f"from {first:.2f} to {last:.2f} in Table {table}".replace("-", "\u2212")
        for table, first, last in moves if None not in (first, last))


def random_above_trained(cells: Iterable[CellScore]) -> tuple[int, int]:
    """Count the networks and maps of Table 1, natural images, and those where random weights have the higher SPC."""
    spc = {(cell.table, cell.network, cell.target): cell.mean for cell in cells if cell.images == "natural"}
    twins = [(mean, spc.get(("untrained_imagenet", f"{network.partition('/')[0]}/random", target),
                            spc.get(("untrained", "small/random", target), NAN)))
             for (table, network, target), mean in spc.items()
             if table == "1" and network != "pixels" and target in FIVE_MAPS]
    return sum(random > trained for trained, random in twins), len(twins)


def scratch_in_words(configs: Sequence[ScratchConfig], scores: Sequence[MiouScore]) -> str:
    """Say what the networks from scratch are trained on, for how long, and with how many seeds."""
    network, n = configs[0].network, len({score.seed for score in scores})
    return (f"{network.source}, crops of {network.crop} pixels, width {network.width}, "
            f"{_steps(network.recipe):,} steps of {network.recipe.batch_size}; n = {n} seeds")


def _steps(recipe: Recipe, n_train: int = 0) -> int:
    return recipe.epochs * (recipe.epoch_steps or -(-n_train // recipe.batch_size))


def _readout_substitutes(configs: Sequence[ReadoutConfig], papers: str, steps: int, n_train: int) -> list[str]:
    """Say what is not the paper's in the networks, images and readouts.

    papers  the paper's networks; steps  the fewest of a readout; n_train  the fewest training images
    """
    c = configs[0]   # images and image size are the same in all
    networks = dict.fromkeys(_in_words(c.encoder) for c in configs
                             if c.encoder.net != "pixels" and not _is_the_papers(c.encoder))
    hidden = next((c.hidden for c in configs if c.hidden), None)
    words = {f"{' and '.join(networks)} for {papers}": networks,
             f"{n_train:,} {_images_in_words(c.dataset)} for DUT-S and PASCAL-S": c.dataset != PAPER_PHOTOS,
             f"{c.size} pixels for 224": c.size != 224,
             f"{hidden} channels between layers for as many as come in": hidden,
             f"{steps:,} readout steps for {PAPER_STEPS:,}": steps < PAPER_STEPS}
    return [text for text, differs in words.items() if differs]


def _is_the_papers(c: EncoderConfig) -> bool:
    return f"{c.net}/{c.source}" in PAPER_NETWORKS.values()


def _images_in_words(dataset: str) -> str:
    return {"photos": "crops of embedded photographs", "ecssd": "photographs of ECSSD"}.get(
        dataset, f"images of {dataset}")


def _in_words(c: EncoderConfig) -> str:
    if c.source == "imagenet":
        return f"an ImageNet {c.net}"
    return f"a VGG of width {c.width} trained for {_steps(c.recipe):,} steps on {c.source}"
