"""Islam et al., ICLR 2020: its tables as printed, its claims and the rules that judge them."""
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from posenc_lib.claims.claim import IN_DIRECTION, NOT_REPRODUCED, NOT_TRIED, REPRODUCED, Claim, outcome, points
from posenc_lib.experiments.posenet_readout import MapScore, MiouScore
from posenc_lib.measure.metrics import mean_interval

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
            *_PRINTED.get((table, variant, target, images), (NAN, NAN))))
    return cells


def judged(cells: Iterable[CellScore]) -> list[CellScore]:
    """Return the cells that the rules of Tables 1 to 4 and 6 judge: those on natural images that the paper prints."""
    return [cell for cell in cells
            if cell.images == "natural" and cell.table != "fig6" and not np.isnan(cell.paper_spc)]


class Step(NamedTuple):
    """The difference between a cell and the cell that the paper sets it against.

    paper, mean, low, high  of the difference in SPC; the interval is over seeds
    direction  "same", "opposite", or "open" if the interval contains 0
    """
    against: str
    paper: float
    mean: float
    low: float
    high: float
    direction: str


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
    mean, low, high = mean_interval(list(_subtract(here, base).values()))
    paper = _PRINTED[cell.cell][0] - _PRINTED[cell.table, against, cell.target, cell.images][0]
    agreement = "same" if mean * paper > 0 else "opposite"
    direction = agreement if low > 0 or high < 0 else "open"
    return Step(against, paper, mean, low, high, direction)


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


# What the rules share.

class _Interval(NamedTuple):
    mean: float
    low: float
    high: float
    n: int


Cells = Mapping[str, Mapping[str, CellScore]]      # variant -> target -> cell
Runs = Mapping[tuple[str, str, str], Mapping[int, float]]   # (table, variant, target) -> seed -> SPC


def _natural(cells: Iterable[CellScore], table: str) -> Cells:
    """Return one of the paper's tables on natural images.  An undefined number counts as 0, as the paper prints it."""
    variants: dict[str, dict[str, CellScore]] = {}
    for cell in judged(cells):
        if cell.table == table:
            numbers = {name: _or_zero(getattr(cell, name)) for name in ("mean", "low", "high")}
            variants.setdefault(cell.variant, {})[cell.target] = cell._replace(**numbers)
    return variants


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value


def _spc(score: CellScore | _Interval) -> str:
    return f"{score.mean:+.2f}±{(score.high - score.low) / 2:.2f}"


def _rises(cells: Cells, variants: Sequence[str]) -> bool:
    """Whether the mean rises from each variant to the next on every map."""
    return all(cells[before][target].mean < cells[after][target].mean
               for before, after in pairwise(variants) for target in cells[before])


def _apart(cells: Cells, lower: str, upper: str) -> bool:
    """Whether on every map the interval of `lower` lies below that of `upper`."""
    return all(cells[lower][target].high < cells[upper][target].low for target in cells[lower])


def _change(cells: Cells, first: str, last: str) -> str:
    """Describe a change: "H +0.53±0.16 → +0.51±0.22, G ..."."""
    return ", ".join(f"{target} {_spc(cell)} → {_spc(cells[last][target])}" for target, cell in cells[first].items())


def _n(cells: Iterable[CellScore]) -> str:
    return f", n = {min(cell.n for cell in cells if cell.n is not None)}"


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


def _list(intervals: Mapping[str, _Interval]) -> str:
    return ", ".join(f"{name} {_spc(interval)}" for name, interval in intervals.items())


# The rules.

THREE_MAPS = ("H", "G", "HS")
DEPTHS = [f"vgg/depth_{n}" for n in (1, 2, 3)]
KERNELS = [f"vgg/kernel_{k}" for k in (1, 3, 7)]


def _posenet_readout(cells: Sequence[CellScore]) -> tuple[str, str]:
    """SPC on natural images, 0 where it is undefined. *Reproduced* when, on each of the five maps, the whole 95 %
    interval over seeds of every trained network lies above that of PosENet on pixels, and its mean at most 0.1 below
    the paper's. *Reproduced in direction* when only the first holds. Else *not reproduced*.
    """
    pixels = _natural(cells, "1")["posenet"]
    networks = [cell for cell in judged(cells) if cell.table == "1" and cell.variant != "posenet"]
    n_above = sum(cell.low > pixels[cell.target].high for cell in networks)
    near = all(cell.mean >= cell.paper_spc - 0.1 for cell in networks)
    worst = min((cell for cell in networks if not np.isnan(cell.mean)), key=lambda cell: cell.mean - cell.paper_spc)
    verdict = NOT_REPRODUCED if n_above < len(networks) else REPRODUCED if near else IN_DIRECTION
    return verdict, (f"{n_above} of {len(networks)} (network, map) lie above pixels; furthest below the paper: "
                     f"{worst.network}, {worst.target} {_spc(worst)}, pixels {_spc(pixels[worst.target])}"
                     f"{_n(networks)}")


def _posenet_size(cells: Sequence[CellScore]) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS, of the trained network. *Reproduced* when it rises on every map from
    1 to 2 to 3 layers and from 1×1 to 3×3 to 7×7 kernels, and the 95 % intervals over seeds of the first and the last
    do not overlap. *Reproduced in direction* when the last is above the first on every map. Else *not reproduced*.
    """
    table = {**_natural(cells, "2a"), **_natural(cells, "2b")}
    ladders = (DEPTHS, KERNELS)
    rises = all(_rises(table, ladder) and _apart(table, ladder[0], ladder[-1]) for ladder in ladders)
    ends_rise = all(_rises(table, [ladder[0], ladder[-1]]) for ladder in ladders)
    verdict = REPRODUCED if rises else IN_DIRECTION if ends_rise else NOT_REPRODUCED
    return verdict, (f"1 layer → 3 layers: {_change(table, DEPTHS[0], DEPTHS[-1])}; "
                     f"1x1 → 7x7: {_change(table, KERNELS[0], KERNELS[-1])}{_n(cells)}")


def _posenet_depth(cells: Sequence[CellScore]) -> tuple[str, str]:
    """SPC on natural images, maps H and G, from one stage of the network at a time. *Reproduced* when it rises from
    each stage to the next and to all together, and the 95 % intervals over seeds of the first and the last stage do
    not overlap. *Reproduced in direction* when the last stage is above the first on both maps. Else *not reproduced*.
    """
    table = _natural(cells, "3")
    stages = [variant for variant in table if variant != "vgg/all_stages"]
    first, last = stages[0], stages[-1]
    rises = _rises(table, [*stages, "vgg/all_stages"]) and _apart(table, first, last)
    verdict = REPRODUCED if rises else IN_DIRECTION if _rises(table, [first, last]) else NOT_REPRODUCED
    return verdict, f"stage {first[-1]} → stage {last[-1]}: {_change(table, first, last)}{_n(cells)}"


def _posenet_padding(cells: Sequence[CellScore]) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS. *Reproduced* when on every map the 95 % interval over seeds without the
    network's padding lies below that with it, and PosENet on pixels rises from padding 0 to 1 to 2 with the first
    interval below the last. *Reproduced in direction* when only the first holds. Else *not reproduced*.
    """
    table = _natural(cells, "4")
    ladder = ["posenet", "posenet/padding_1", "posenet/padding_2"]
    added = _rises(table, ladder) and _apart(table, ladder[0], ladder[-1])
    removed = _apart(table, "vgg/padding_removed", "vgg")
    verdict = NOT_REPRODUCED if not removed else REPRODUCED if added else IN_DIRECTION
    return verdict, (f"network: as it is → padding removed: {_change(table, 'vgg', 'vgg/padding_removed')}; "
                     f"pixels: as it is → padding 2: {_change(table, ladder[0], ladder[-1])}{_n(cells)}")


def _posenet_task(cells: Sequence[CellScore]) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS. *Reproduced* when on every map the 95 % interval over seeds of the
    network trained to label every pixel lies above that of the same network trained to classify. *Reproduced in
    direction* when its mean does on every map. Else *not reproduced*.
    """
    table = _natural(cells, "6")
    pair = ["vgg", "vgg/segmentation"]
    verdict = REPRODUCED if _apart(table, *pair) else IN_DIRECTION if _rises(table, pair) else NOT_REPRODUCED
    return verdict, f"as it is → segmentation: {_change(table, *pair)}{_n(cells)}"


def _untrained(scores: Sequence[MapScore]) -> tuple[str, str]:
    """SPC on natural images. *Passed* when, on each of the five maps, the whole 95 % interval over seeds of every
    trained network lies above that of the same architecture before any training; else *not passed*: the map that is
    drawn is no sign of what the network has learned.
    """
    trained: dict[tuple[str, str, str], list[float]] = {}
    untrained: dict[tuple[str, str], list[float]] = {}
    for score in scores:
        if score.images != "natural" or score.target not in FIVE_MAPS:
            continue
        if score.table == "1" and score.variant != "posenet":
            key = score.network, score.architecture, score.target
            trained.setdefault(key, []).append(score.spc or 0.0)
        elif (score.table, score.variant) == ("untrained", "zeros") or score.table == "untrained_imagenet":
            untrained.setdefault((score.architecture, score.target), []).append(score.spc or 0.0)
    before = {key: _interval(values) for key, values in untrained.items()}
    pairs = {key: (_interval(values), before[key[1:]]) for key, values in trained.items()}
    n_above = sum(after.low > start.high for after, start in pairs.values())
    worst = min(pairs, key=lambda key: pairs[key][0].mean - pairs[key][1].mean)
    after, start = pairs[worst]
    n = min(interval.n for pair in pairs.values() for interval in pair)
    return outcome(n_above == len(pairs), n, (
        f"trained above random in {n_above} of {len(pairs)} (network, map); furthest below: {worst[0]}, "
        f"{worst[2]} {_spc(after)}, random {_spc(start)}, n = {start.n}"))


def _on_pixels(scores: Sequence[MapScore]) -> tuple[str, str]:
    """SPC gained on natural images, maps H, G and HS, from 1 to 3 layers and from 1×1 to 7×7, seed by seed. *Passed*
    when, wherever the 95 % interval over seeds of the network's gain lies above 0, so does that of its gain minus the
    gain of the same readouts on pixels; else *not passed*. (*Not tried here* when the network gains nowhere.)
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
    if not beyond and min(n) >= 2:
        return NOT_TRIED, f"the network gains on no map with its interval above 0, n = {min(n)}"
    return outcome(all(gain.low > 0 for gain in beyond.values()), min(n),
                   f"gained beyond pixels: {_list(beyond)}, n = {min(n)}")


def _matched_channels(scores: Sequence[MapScore]) -> tuple[str, str]:
    """SPC on natural images, maps H and G, from one stage at a time, the same small number of channels of each, drawn
    anew for every seed. *Passed* when on both maps the 95 % interval over seeds of the last stage minus the first,
    seed by seed, lies above 0; else *not passed*: the rise may be one of the number of channels.
    """
    runs = _by_seed(scores)
    stages = sorted({variant for table, variant, _ in runs if table == "matched_channels"})
    first, last = stages[0], stages[-1]
    matched, all_channels = (_gains(runs, (table, last), (table, first), ("H", "G"))
                             for table in ("matched_channels", "3"))
    n = min(gain.n for gain in matched.values())
    return outcome(all(gain.low > 0 for gain in matched.values()), n, (
        f"stage {first[-1]} → {last[-1]}, equally many channels: {_list(matched)}; all channels: "
        f"{_list(all_channels)}, n = {n}"))


def _never_padded(scores: Sequence[MapScore]) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS, of the small network. *Passed* when on every map the whole 95 % interval
    over seeds of a network *trained* without padding lies below half the mean of the same network trained with zeros;
    else *not passed*. (*Not tried here* when the interval with zeros is not above 0 on every map.)
    """
    runs = _by_seed(scores)
    zeros, none = ({target: _interval(runs["trained", mode, target].values()) for target in THREE_MAPS}
                   for mode in ("zeros", "none"))
    n = min(score.n for score in none.values())
    if n >= 2 and not all(score.low > 0 for score in zeros.values()):
        return NOT_TRIED, f"even with zero padding the network draws little: {_list(zeros)}, n = {n}"
    return outcome(all(none[target].high < zeros[target].mean / 2 for target in THREE_MAPS), n, (
        f"trained without padding: {_list(none)}; with zeros: {_list(zeros)}, n = {n}"))


def _before_the_task(scores: Sequence[MapScore]) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS. *Passed* when on every map the 95 % interval over seeds of the network
    that labels pixels minus the same architecture before any training, seed by seed, lies above 0; else *not passed*:
    labelling pixels has taught it no position that it did not have.
    """
    gains = _gains(_by_seed(scores), ("6", "vgg/segmentation"), ("untrained", "zeros"), THREE_MAPS)
    n = min(gain.n for gain in gains.values())
    return outcome(all(gain.low > 0 for gain in gains.values()), n,
                   f"segmentation minus untrained: {_list(gains)}, n = {n}")


def _posenet_scratch(rows: Sequence[MiouSummary]) -> tuple[str, str]:
    """Mean IoU on whole test pictures of networks trained from scratch, in percent. *Reproduced* when the whole 95 %
    interval over seeds without padding lies below that with zero padding. *Reproduced in direction* when its mean does.
    Else *not reproduced*.
    """
    on_picture = {row.padding_mode: row for row in rows if row.scored_on == "picture"}
    zeros, none = on_picture["zeros"], on_picture["none"]
    verdict = (REPRODUCED if none.high < zeros.low else
               IN_DIRECTION if none.mean < zeros.mean else NOT_REPRODUCED)
    return verdict, f"with zero padding {_percent(zeros)}; without padding {_percent(none)}"


def _seen_and_reflected(scores: Sequence[MiouScore]) -> tuple[str, str]:
    """Mean IoU in points, differences seed by seed. *Passed* when zero padding is better than no padding on the window
    that a map without padding covers, where the network without it is also trained, and better than reflect padding on
    whole pictures: the 95 % interval over seeds of each difference lies above 0. Else *not passed*: what zero padding
    gives may be no more than a map as large as the picture.
    """
    runs: dict[tuple[str, str], dict[int, float]] = {}
    for score in scores:
        runs.setdefault((score.padding_mode, score.scored_on), {})[score.seed] = score.miou
    window, reflect = (_interval(_subtract(runs["zeros", scored_on], runs[mode, scored_on]).values())
                       for mode, scored_on in (("none", "window"), ("reflect", "picture")))
    return outcome(window.low > 0 and reflect.low > 0, window.n, (
        f"zero padding minus none, on the window: {points(window)}; minus reflect, on the picture: "
        f"{points(reflect)}, n = {window.n}"))


def _percent(row: MiouSummary) -> str:
    return f"{row.mean:.1f} % [{row.low:.1f}, {row.high:.1f}], n = {row.n}"



POSENET_READOUT = Claim(
    "posenet-readout", "02_posenet_readout",
    "From the frozen features of a trained network one convolution draws a position map that has nothing to do with "
    "the image; from the image itself it cannot.",
    "ICLR 2020, Table 1", "SPC on H: 0.742 (VGG-16), 0.933 (ResNet-152), 0.012 (pixels)", _posenet_readout,
    "the same networks before any training", _untrained, "02_table1", ("ICLR 2020, Table 1",))
POSENET_SIZE = Claim(
    "posenet-size", "02_posenet_readout", "A deeper readout, or one with larger kernels, draws the map better.",
    "ICLR 2020, Table 2", "SPC on H: 0.742 → 0.830 with 3 layers, 0.542 → 0.828 from 1×1 to 7×7", _posenet_size,
    "the same readouts on pixels", _on_pixels, "02_ladders", ("ICLR 2020, Table 2a", "ICLR 2020, Table 2b"))
POSENET_DEPTH = Claim(
    "posenet-depth", "02_posenet_readout", "Deeper stages of a network hold more position than shallow ones.",
    "ICLR 2020, Table 3", "SPC on H: 0.101 at the first stage, 0.657 at the fifth, 0.742 with all", _posenet_depth,
    "as many channels from every stage", _matched_channels, "02_ladders", ("ICLR 2020, Table 3",))
POSENET_PADDING = Claim(
    "posenet-padding", "02_posenet_readout", "Zero padding is where the position comes from.",
    "ICLR 2020, Table 4", "SPC on H: 0.742 → 0.381 without padding; pixels 0.012 → 0.397 with two pixels of it",
    _posenet_padding, "a network trained without padding, not one that has lost it", _never_padded, "02_untrained",
    ("ICLR 2020, Table 4", "ICLR 2020, Fig. 6"))
POSENET_TASK = Claim(
    "posenet-task", "02_posenet_readout",
    "Networks trained to label every pixel hold more position than those trained to name the image.",
    "ICLR 2020, Table 6", "SPC on H: 0.742 (classification), 0.969 (saliency), 0.982 (segmentation)", _posenet_task,
    "the same architecture on the same photographs, before training on any task", _before_the_task, "02_ladders",
    ("ICLR 2020, Table 6",))
POSENET_SCRATCH = Claim(
    "posenet-scratch", "02_posenet_readout", "Trained from scratch without padding, a network labels pixels worse.",
    "ICLR 2020, Table 5", "VOC 2012: mean IoU 23.1 → 12.3 % without padding; saliency, F on ECSSD: 0.78 → 0.36",
    _posenet_scratch, "a network without padding that is trained and scored only where it sees, and reflect padding, "
    "which gives a map of the same size and hardly marks the border", _seen_and_reflected, "02_scratch",
    ("ICLR 2020, Table 5",))

CLAIMS = (POSENET_READOUT, POSENET_SIZE, POSENET_DEPTH, POSENET_PADDING, POSENET_TASK, POSENET_SCRATCH)
