"""Islam et al., ICCV 2021, on padding and location: Table 1 as printed, the claims, and the rules that judge them.

Accuracies are in percent; Table 1 is as printed on the authors' slides.
"""
from collections.abc import Sequence
from math import isnan
from statistics import fmean
from typing import NamedTuple

import pandas as pd

from posenc_lib.claims.claim import (
    IN_DIRECTION,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    NOT_TRIED,
    REPRODUCED,
    Claim,
    interval,
    outcome,
    points,
)
from posenc_lib.experiments.gapnet_vs_permutenet import PADDED, PERMUTATIONS
from posenc_lib.measure import metrics
from posenc_lib.run.records import summarise

# Table 1, in percent.  The slide names no backbone; the caption's example is ResNet-18.  No seeds, no intervals.
_TABLE1 = {
    ("zeros", "gapnet"): ((100, 100, 100), (82.6, 82.4, 82.1)),
    ("zeros", "permutenet"): ((78.8, 37.8, 21.4), (73.6, 72.2, 69.9)),
    ("reflect", "gapnet"): ((100, 100, 100), (83.8, 83.4, 82.9)),
    ("reflect", "permutenet"): ((78.3, 36.3, 23.2), (71.1, 71.4, 65.7)),
    ("replicate", "gapnet"): ((100, 100, 100), (83.1, 82.9, 82.8)),
    ("replicate", "permutenet"): ((78.3, 40.1, 23.6), (72.0, 71.5, 71.4)),
}
TABLE1 = pd.DataFrame([(padding, head, task, grid, value)
                       for (padding, head), rows in _TABLE1.items()
                       for task, row in zip(("location", "image"), rows, strict=True)
                       for grid, value in zip((3, 5, 7), row, strict=True)],
                      columns=["padding_mode", "head", "task", "grid", "paper"])
CELL = ["backbone", "padding_mode", "grid", "task", "head"]   # what identifies a cell of Table 1


class Accuracy(NamedTuple):
    """One cell of Table 1: test accuracy after the last epoch, in percent.

    mean, low, high  mean and 95 % interval over n seeds
    best_test_epoch  mean accuracy by the paper's rule, which chooses the epoch on the test set
    chance           accuracy of always guessing the most frequent label
    epochs           after which the accuracy was measured
    paper            the printed value; nan where the paper has none
    """
    backbone: str
    padding_mode: str
    grid: int
    task: str
    head: str
    mean: float
    low: float
    high: float
    n: int
    best_test_epoch: float
    chance: float
    epochs: int
    paper: float


class ShuffleAccuracy(NamedTuple):
    """Location accuracy at 3x3 under zero padding, in percent, by how channels are shuffled and the canvas filled."""
    head: str
    permutation: str
    fill: str
    mean: float
    low: float
    high: float
    n: int
    chance: float


class Kept(NamedTuple):
    """Percentage of GAPNet's accuracy above chance that PermuteNet keeps, by task and number of labels."""
    task: str
    answers: int
    mean: float
    low: float
    high: float
    n: int


class KeptGap(NamedTuple):
    """`Kept` for image class minus `Kept` for location, seed by seed, in points.

    gapnet  the lower bound of GAPNet's own 95 % interval above chance, the lower of both tasks
    """
    answers: int
    mean: float
    low: float
    high: float
    n: int
    gapnet: float


def accuracy_rows(runs: pd.DataFrame) -> list[Accuracy]:
    """Summarise runs over seeds.

    runs  one row per run, as from `records.to_frame`, with accuracy, best_test_epoch and chance in percent
    """
    details = runs.groupby(CELL, as_index=False).agg(
        best_test_epoch=("best_test_epoch", "mean"), chance=("chance", "mean"), epochs=("recipe.epochs", "first"))
    summary = summarise(runs, CELL, "accuracy").merge(details, on=CELL)
    summary = summary.merge(TABLE1, how="left", on=["padding_mode", "head", "task", "grid"])
    return [Accuracy(**row) for row in summary.to_dict("records")]


def shuffle_rows(runs: pd.DataFrame, conditions: pd.DataFrame) -> list[ShuffleAccuracy]:
    """Summarise the runs of each condition that has been run, in the order of `conditions`.

    runs        as for `accuracy_rows`
    conditions  rows of head, permutation, fill
    """
    by = ["head", "permutation", "fill"]
    summary = conditions[by].merge(summarise(runs, by, "accuracy"), on=by).assign(chance=100 / 9)
    return [ShuffleAccuracy(**row) for row in summary.to_dict("records")]


def kept_rows(runs: pd.DataFrame) -> tuple[list[Kept], list[KeptGap]]:
    """Summarise what PermuteNet keeps of GAPNet's accuracy above chance, where both have been run with the same seed.

    runs  as for `accuracy_rows`, all at 3x3 under zero padding
    """
    runs = runs.copy()
    runs["answers"] = runs["classes"].fillna(runs["grid"] ** 2).astype(int)   # 9 locations: nothing is merged
    runs["above"] = [100 * metrics.above_chance(accuracy / 100, chance / 100)
                     for accuracy, chance in zip(runs["accuracy"], runs["chance"], strict=True)]
    above = runs.set_index(["answers", "task", "seed", "head"])["above"].unstack()
    above = above.reindex(columns=["permutenet", "gapnet"]).dropna()
    kept = (100 * above["permutenet"] / above["gapnet"].where(above["gapnet"] > 0)).rename("kept")
    tasks = kept.unstack("task").reindex(columns=["image", "location"])
    gap = summarise((tasks["image"] - tasks["location"]).rename("kept").reset_index(), ["answers"], "kept")
    gapnet = summarise(above.reset_index(), ["answers", "task"], "gapnet")
    gap["gapnet"] = gap["answers"].map(gapnet.groupby("answers")["low"].min())
    summary = summarise(kept.reset_index(), ["task", "answers"], "kept")
    return ([Kept(**row) for row in summary.to_dict("records")], [KeptGap(**row) for row in gap.to_dict("records")])


def _select(rows: Sequence[Accuracy], modes: Sequence[str] = PADDED, **values: str) -> list[Accuracy]:
    return [row for row in rows
            if row.padding_mode in modes and all(getattr(row, name) == value for name, value in values.items())]


def _gapnet_location(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """*Reproduced* when GAPNet's location accuracy is at least 99 % on average over seeds in every padded cell that was
    run. *Reproduced in direction* when it is at least halfway from chance to 100 % in every one. Else *not reproduced*.
    """
    cells = _select(rows, head="gapnet", task="location")
    if not cells:
        return NOT_TESTABLE, "no padded network was trained for location"
    worst = min(cells, key=lambda row: row.mean)
    if worst.mean >= 99:
        verdict = REPRODUCED
    elif all(row.mean >= (100 + row.chance) / 2 for row in cells):
        verdict = IN_DIRECTION
    else:
        verdict = NOT_REPRODUCED
    return verdict, f"lowest of {len(cells)} cells: {interval(worst)}"


def _gapnet_circular(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """*Passed* when GAPNet's location accuracy under circular padding, on average over seeds, lies within half a point
    of chance for every backbone and grid that was run; else *not passed*. (*Not tried here* when there is none.)
    """
    cells = _select(rows, modes=("circular",), head="gapnet", task="location")
    if not cells:
        return NOT_TRIED, "no network with circular padding was run"
    worst = max(cells, key=_distance_from_chance)
    evidence = f"furthest from chance ({worst.chance:.1f} %) of {len(cells)} (backbone, grid): {interval(worst)}"
    return outcome(_distance_from_chance(worst) <= 0.5, min(row.n for row in cells), f"circular padding, {evidence}")


def _distance_from_chance(row: Accuracy) -> float:
    return abs(row.mean - row.chance)


def _permutenet_location(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """*Reproduced* when, in every padded cell that was run, PermuteNet's location accuracy lies within 5 points of the
    paper's. *Reproduced in direction* when its whole 95 % interval over seeds lies below GAPNet's mean in every one.
    Else *not reproduced*.
    """
    pairs = _pairs(rows, "location")
    if not pairs:
        return NOT_TESTABLE, "in no padded cell have both networks been run"
    if _near_paper(pairs):
        verdict = REPRODUCED
    elif all(row.high < gapnet.mean for row, gapnet in pairs):
        verdict = IN_DIRECTION
    else:
        verdict = NOT_REPRODUCED
    highest, gapnet = max(pairs, key=lambda pair: pair[0].mean)
    return verdict, f"highest of {len(pairs)} cells: {interval(highest)}, GAPNet there {gapnet.mean:.1f} %"


_STATIC, _CHANGING = ("none", "fixed"), ("batch", "sample", "test")   # permutations, see `heads.Shuffle`


def _permutenet_order(rows: Sequence[ShuffleAccuracy]) -> tuple[str, str]:
    """Location accuracy at 3×3 under zero padding, means and 95 % intervals over seeds. *Passed* when an order that
    stays costs nothing (PermuteNet's head without a shuffle, and with one fixed shuffle, has a mean within 5 points of
    GAPNet's) and one that changes always costs something (a shuffle new for every batch, new for every image, or at
    test only has its whole interval below those of these two); else *not passed*. (*Not tried here* when GAPNet's own
    interval is not above chance: then there is nothing to take away.)
    """
    rows = [row for row in rows if row.fill == "mean"]
    gapnet = next((row for row in rows if row.head == "gapnet"), None)
    permutenet = {row.permutation: row for row in rows if row.head == "permutenet"}
    if set(permutenet) != set(PERMUTATIONS) or gapnet is None:
        return NOT_TRIED, "not every way to shuffle the channels has been run"
    if not gapnet.low > gapnet.chance:
        return NOT_TRIED, f"GAPNet is not above chance ({gapnet.chance:.1f} %): {interval(gapnet)}"
    static, changing = [permutenet[name] for name in _STATIC], [permutenet[name] for name in _CHANGING]
    free = all(abs(row.mean - gapnet.mean) <= 5 for row in static)
    costly = max(row.high for row in changing) < min(row.low for row in static)
    lowest, highest = min(static, key=lambda row: row.mean), max(changing, key=lambda row: row.mean)
    return outcome(free and costly, min(row.n for row in rows), (
        f"GAPNet {gapnet.mean:.1f} %; order that stays, lower of 2: {interval(lowest)}; order that changes, highest "
        f"of 3: {interval(highest)}"))


def _permutenet_image(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """Semantics survive the shuffle better than location, in every padded cell that was run, both measured as the part
    of GAPNet's accuracy above chance that PermuteNet keeps. *Reproduced* when in addition image accuracy lies within 5
    points of the paper's. *Reproduced in direction* when only the order holds. Else *not reproduced*. *Not testable
    here* when GAPNet's own 95 % interval is not above chance in every cell: then there is nothing to keep.
    """
    gapnet = _select(rows, head="gapnet")
    at_chance = [row for row in gapnet if not row.low > row.chance]
    if at_chance:
        first = at_chance[0]
        return NOT_TESTABLE, (f"GAPNet is not above chance in {len(at_chance)} of {len(gapnet)} cells; {first.task}, "
                              f"{first.padding_mode}: {interval(first)}, chance {first.chance:.1f} %")
    image, location = _fraction_kept(rows, "image"), _fraction_kept(rows, "location")
    if not image or set(image) != set(location):
        return NOT_TESTABLE, "both tasks have not been run with both networks in every padded cell"
    if not all(image[cell] > location[cell] for cell in image):
        verdict = NOT_REPRODUCED
    elif _near_paper(_pairs(rows, "image")):
        verdict = REPRODUCED
    else:
        verdict = IN_DIRECTION
    return verdict, (f"kept above chance: image {fmean(image.values()):.0%}, location {fmean(location.values()):.0%} "
                     f"(means of {len(image)} cells)")


def _permutenet_answers(rows: Sequence[KeptGap]) -> tuple[str, str]:
    """Both tasks at 3×3 under zero padding with equally many answers, 3 and 9: the part of GAPNet's accuracy above
    chance that PermuteNet keeps, for image class minus for location, seed by seed, in points. *Passed* when the 95 %
    interval over seeds of the difference lies above 0 for each number of answers; else *not passed*. (*Not tried here*
    when GAPNet's own 95 % interval is not above chance in both tasks.)
    """
    if {row.answers for row in rows} != {3, 9}:
        return NOT_TRIED, "both tasks have not been run with 3 and with 9 answers"
    if not all(row.gapnet > 0 for row in rows):
        return NOT_TRIED, "GAPNet is not above chance in both tasks, so there is nothing to keep"
    n = min(row.n for row in rows)
    gaps = "; ".join(f"{row.answers} answers {points(row)}" for row in rows)
    return outcome(all(row.low > 0 for row in rows), n, f"kept, image class minus location: {gaps}, n = {n}")


def _pairs(rows: Sequence[Accuracy], task: str) -> list[tuple[Accuracy, Accuracy]]:
    """PermuteNet's padded cells of one task, each with GAPNet's of the same backbone, padding mode and grid."""
    gapnet = {_network_and_grid(row): row for row in _select(rows, head="gapnet", task=task)}
    return [(row, gapnet[_network_and_grid(row)]) for row in _select(rows, head="permutenet", task=task)
            if _network_and_grid(row) in gapnet]


def _near_paper(pairs: Sequence[tuple[Accuracy, Accuracy]]) -> bool:
    """Whether every PermuteNet with a printed value lies within 5 points of it, and there is one."""
    distances = [abs(row.mean - row.paper) for row, _ in pairs if not isnan(row.paper)]
    return bool(distances) and max(distances) <= 5


def _network_and_grid(row: Accuracy) -> tuple[str, str, int]:
    return row.backbone, row.padding_mode, row.grid


def _fraction_kept(rows: Sequence[Accuracy], task: str) -> dict[tuple[str, str, int], float]:
    """Fraction of GAPNet's accuracy above chance that PermuteNet keeps in each padded cell."""
    return {_network_and_grid(row): (row.mean - row.chance) / (gapnet.mean - row.chance)
            for row, gapnet in _pairs(rows, task)}


_TABLE_1 = ("ICCV 2021, Table 1",)
GAPNET_LOCATION = Claim(
    "gapnet-location", "03_gapnet_vs_permutenet",
    "A network whose features are averaged over space still says exactly in which cell of the canvas an image lies.",
    "ICCV 2021, Table 1", "100 % at 3×3, 5×5 and 7×7, under zero, reflect and replicate padding", _gapnet_location,
    "circular padding, under which no cell differs from another", _gapnet_circular, "03_accuracy", _TABLE_1)
PERMUTENET_LOCATION = Claim(
    "permutenet-location", "03_gapnet_vs_permutenet",
    "Shuffling the order of the averaged channels takes the location away, the more so the finer the grid.",
    "ICCV 2021, Table 1", "zero padding: 78.8 % at 3×3, 37.8 % at 5×5, 21.4 % at 7×7", _permutenet_location,
    "the same head without the shuffle, and with a fixed, per-image or test-only shuffle", _permutenet_order,
    "03_permutations", _TABLE_1)
PERMUTENET_IMAGE = Claim(
    "permutenet-image", "03_gapnet_vs_permutenet",
    "What the image shows survives the shuffle better than where it lies.",
    "ICCV 2021, Table 1", "zero padding: image class 82.6 → 73.6 % at 3×3, location 100 → 78.8 %", _permutenet_image,
    "both tasks asked with the same number of answers", _permutenet_answers, "03_matched", _TABLE_1)

CLAIMS = (GAPNET_LOCATION, PERMUTENET_LOCATION, PERMUTENET_IMAGE)
