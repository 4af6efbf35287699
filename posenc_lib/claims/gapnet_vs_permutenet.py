"""Islam et al., ICCV 2021, on padding and location: Table 1 as printed, the claims, and the rules that judge them.

Accuracies are in percent; Table 1 is as printed on the authors' slides.  Intervals are Student's t, which may reach
beyond 0 and 100 %: where an accuracy is shown, its interval is cut there.
"""
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import hypot, isnan
from typing import NamedTuple

import pandas as pd

from posenc_lib.base.names import label
from posenc_lib.claims.claim import (
    IN_DIRECTION,
    INCONCLUSIVE,
    NEAR,
    NOT_TESTABLE,
    NOT_TRIED,
    REPRODUCED,
    SINGLE_SEED,
    UNDECIDED,
    Claim,
    Scale,
    direction,
    interval,
    points,
    rival,
)
from posenc_lib.data.imageset import Splits
from posenc_lib.experiments import gapnet_vs_permutenet as experiment
from posenc_lib.experiments.gapnet_vs_permutenet import PADDED, PERMUTATIONS
from posenc_lib.measure import metrics
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import summarise

GRIDS = (3, 5, 7)   # cells along a side of the canvas

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
                       for grid, value in zip(GRIDS, row, strict=True)],
                      columns=["padding_mode", "head", "task", "grid", "paper"])
CELL = ["backbone", "padding_mode", "grid", "task", "head"]   # what identifies a cell of Table 1
PAPER_STEPS = 20_820   # 20 epochs of 1,041 whole batches; the authors' epochs have a smaller last batch as well

# The smallest effects of interest, in percentage points: half of the smallest in Table 1.
SMALLEST_ABOVE_CHANCE = 44.0   # GAPNet's location accuracy above chance: 88.9 at 3×3
SMALLEST_DROP = 10.0           # location accuracy lost by shuffling: 21.2 at 3×3 under zero padding
SMALLEST_FALL = 6.5            # of PermuteNet's location accuracy with the grid: 13.1 from 5×5 to 7×7, reflect padding
SMALLEST_KEPT_GAP = 3.5        # percentage kept of image class minus that of location: 7.2 at 3×3 under reflect padding
# Margins of the controls.
CHANCE_MARGIN = 0.5   # points; the identity says 0, but rounding may break a tie between cells
FREE = 5.0            # points that another head or a fixed shuffle may cost: half of the smallest drop of interest
WHOLE_ANSWER = 1.0    # cells: PermuteNet learns one after another
# How far a mean accuracy may be from the paper's, in points.
TOLERANCE = 5.0
TOLERANCE_GAPNET = 1.0   # the claim says "exactly"
# Student's t interval of two seeds is 12.7 times as wide as their difference.
WIDEST_OF_TWO = 20.0     # points; a wider one decides nothing
TWO_SEEDS = "two seeds whose interval is wider than 20 points decide nothing; run at least three"

# What a run needs to be judged.
# GAPNet, digits, width 4, batches of 12: 22 to 95 % after 22 steps, 100 % after 44 (9 networks of 3 padding modes).
GAPNET_MINIMUM = {"steps": 40}
# PermuteNet learns one cell after another: 3 of 9 after 1,200 steps, 6 after 8,800 (digits, width 16, batches of 48).
# One that is stopped before, or is narrower, may be slow at what it has not learned rather than unable to learn it.
PERMUTENET_MINIMUM = {"steps": 8_800, "width": 16}
# With 400 test images the binomial 95 % interval of an accuracy is at most 5 points, `TOLERANCE`, on each side.
IMAGE_MINIMUM = PERMUTENET_MINIMUM | {"images": 400}


class Accuracy(NamedTuple):
    """One cell of Table 1: test accuracy after the last epoch, in percent.

    mean, low, high  mean and 95 % interval over n seeds
    best_test_epoch  mean accuracy by the paper's rule, which chooses the epoch on the test set
    chance           accuracy of always guessing the most frequent label
    epochs           after which the accuracy was measured
    paper            the printed value; nan where the paper has none
    at_scale         whether nothing stands in for the paper's network, data or schedule
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
    at_scale: bool


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
    """Percentage of GAPNet's accuracy above chance that PermuteNet keeps, by task and number of classes."""
    task: str
    answers: int
    mean: float
    low: float
    high: float
    n: int


class KeptGap(NamedTuple):
    """`Kept` for image class minus `Kept` for location, seed by seed, in points.

    gapnet  the lower bound of GAPNet's own accuracy above chance, the lower of both tasks; its mean where too few seeds
            give no interval
    """
    answers: int
    mean: float
    low: float
    high: float
    n: int
    gapnet: float


class Effect(NamedTuple):
    """A difference between accuracies, with its 95 % interval over n seeds (nan bounds for one), in points.

    The interval is propagated from those of the accuracies to first order, as if they were independent.  For a
    difference of two means over equally many seeds, this is Welch's interval with its fewest degrees of freedom.
    """
    mean: float
    low: float
    high: float
    n: int


class Finding(NamedTuple):
    """An effect and the accuracies that it rests on."""
    effect: Effect
    accuracies: tuple[Accuracy, ...]


def scale(runs: pd.DataFrame, splits: Splits) -> Scale:
    """Smallest sizes among runs, and how they differ from the paper's.

    runs    as for `accuracy_rows`
    splits  see `experiments.gapnet_vs_permutenet.sizes`
    """
    if runs.empty:
        return Scale()
    sizes = experiment.sizes(runs, splits)
    words = [part for parts in _substitutes(runs, sizes) for part in parts]
    return Scale(sizes.min().to_dict(), ", ".join(dict.fromkeys(words)))


def _substitutes(runs: pd.DataFrame, sizes: pd.DataFrame) -> list[list[str]]:
    """How the data, width and schedule of each run differ from the paper's, in words."""
    batch, words = Recipe().batch_size, []
    for run, size in zip(runs.to_dict("records"), sizes.to_dict("records"), strict=True):
        width, steps, images = experiment.own_width(run["backbone"]), size["steps"], run["recipe.batch_size"]
        fewer = steps * images < PAPER_STEPS * batch
        words.append([text for text, needed in {
            f"{label(run['dataset'])} for CIFAR-10": run["dataset"] != "cifar10",
            f"width {size['width']} for {width}": size["width"] != width,
            f"{steps:,} steps of {images} images for {PAPER_STEPS:,} of {batch}": fewer}.items() if needed])
    return words


def accuracy_rows(runs: pd.DataFrame, splits: Splits) -> list[Accuracy]:
    """Summarise runs over seeds.

    runs    one row per run, as from `records.to_frame`, with accuracy, best_test_epoch and chance in percent
    splits  see `experiments.gapnet_vs_permutenet.sizes`
    """
    runs = runs.assign(at_scale=[not words for words in _substitutes(runs, experiment.sizes(runs, splits))])
    details = runs.groupby(CELL, as_index=False).agg(
        best_test_epoch=("best_test_epoch", "mean"), chance=("chance", "mean"), epochs=("recipe.epochs", "first"),
        at_scale=("at_scale", "all"))
    summary = summarise(runs, CELL, "accuracy").merge(details, on=CELL)
    summary = summary.merge(TABLE1, how="left", on=["padding_mode", "head", "task", "grid"])
    return [Accuracy(**row) for row in summary.to_dict("records")]


def counted(runs: pd.DataFrame, splits: Splits) -> pd.DataFrame:
    """Leave out the cells of Table 1 that have one seed on a substitute, which do not count; all stay if none counts.

    The arguments are those of `accuracy_rows`.
    """
    cells = [row for row in accuracy_rows(runs, splits) if row.n > 1 or row.at_scale]
    return runs.merge(pd.DataFrame(cells)[CELL], on=CELL) if cells else runs


def clipped(rows: Sequence[Accuracy] | Sequence[ShuffleAccuracy], runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Tabulate accuracies for display, their intervals cut to 0..100 %.

    runs  what the rows summarise; if given, two seeds stand in place of their interval, which is wider than the scale
    """
    table = pd.DataFrame(rows)
    table = table.assign(low=table["low"].clip(0, 100), high=table["high"].clip(0, 100))
    if runs is None or table.empty:
        return table
    by = [name for name in (*CELL, "permutation", "fill") if name in table and name in runs]
    ends = runs.groupby(by)["accuracy"].agg(["min", "max"]).reset_index()
    table, two = table.merge(ends, how="left", on=by), table["n"] == 2
    table["low"], table["high"] = table["low"].where(~two, table["min"]), table["high"].where(~two, table["max"])
    return table.drop(columns=["min", "max"])


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
    gapnet["reached"] = [_lower(row) for row in gapnet.itertuples()]
    gap["gapnet"] = gap["answers"].map(gapnet.groupby("answers")["reached"].min())
    summary = summarise(kept.reset_index(), ["task", "answers"], "kept")
    return ([Kept(**row) for row in summary.to_dict("records")], [KeptGap(**row) for row in gap.to_dict("records")])


def _gapnet_location(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """Effect: GAPNet's location accuracy above chance, in points, with its 95 % interval (Student's t) over seeds, in
    every padded cell that was run. Smallest effect of interest: 44 points, half of the paper's at 3×3. *Reproduced*
    when every interval lies above 0 and every mean accuracy is within 1 point of the paper's 100 %. *In direction* when
    every interval lies above 0 but some accuracy is further off. Otherwise *contradicted* when some interval lies below
    44 points, and *inconclusive* when none does. Two seeds whose interval is wider than 20 points count as one. A
    single seed on a substitute does not count. A single seed at the paper's scale has no interval to be judged by: its
    effect must not be reversed, and where no cell has more seeds, the verdict is *near the paper, n = 1* when every
    accuracy is within 1 point of 100 %, and *inconclusive* otherwise. *Not testable here* when no cell counts.
    """
    cells = _select(rows, head="gapnet", task="location")
    if not cells:
        return NOT_TESTABLE, "no padded network was trained for location"
    return _judged([Finding(_above_chance(row), (row,)) for row in cells], SMALLEST_ABOVE_CHANCE,
                   lambda finding: _accuracy(*finding.accuracies), TOLERANCE_GAPNET)


def _gapnet_circular(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """GAPNet's location accuracy under circular padding, with its 95 % interval over seeds, for every backbone and grid
    that was run: with circular padding the pooled latent is the same in all cells, trained or not. *Ruled out* when
    every interval lies within half a point of chance. The *rival explanation holds* when some interval lies more than
    half a point above chance. Otherwise *undecided*. *Not tried here* without a network with circular padding.
    """
    cells = _select(rows, modes=("circular",), head="gapnet", task="location")
    if not cells:
        return NOT_TRIED, "no network with circular padding was run"
    effects = [_above_chance(row) for row in cells]
    worst = max(cells, key=lambda row: abs(row.mean - row.chance))
    return _tried(effects, all(e.low >= -CHANCE_MARGIN and e.high <= CHANCE_MARGIN for e in effects),
                  any(e.low > CHANCE_MARGIN for e in effects),
                  f"circular padding, furthest from chance ({worst.chance:.1f} %) of {len(cells)} (backbone, grid): "
                  f"{_accuracy(worst)}")


def _permutenet_location(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """Effect: GAPNet's location accuracy minus PermuteNet's, in points, with its 95 % interval over seeds, in every
    padded cell in which both were run. Smallest effect of interest: 10 points, half of the smallest in the paper's
    table. *Reproduced* when every interval lies above 0 and every mean accuracy of both networks is within 5 points of
    the paper's. *In direction* when every interval lies above 0 but some accuracy is further off. Otherwise
    *contradicted* when some interval lies below 10 points, and *inconclusive* when none does. *Not testable here* if
    GAPNet is not above chance in every cell, so that there is nothing to remove, or if no cell counts. Two seeds whose
    interval is wider than 20 points count as one. A single seed on a substitute does not count. A single seed at the
    paper's scale has no interval to be judged by: its effect must not be reversed, and where no cell has more seeds,
    the verdict is *near the paper, n = 1* when every accuracy is within 5 points of the paper's, and *inconclusive*
    otherwise.
    """
    pairs = _pairs(rows, "location")
    if not pairs:
        return NOT_TESTABLE, "no padded cell has runs of both networks"
    if nothing_learned := _at_chance([gapnet for _, gapnet in pairs]):
        return NOT_TESTABLE, nothing_learned
    return _judged([Finding(_difference(gapnet, row), (gapnet, row)) for row, gapnet in pairs], SMALLEST_DROP,
                   _from_to)


_STATIC, _CHANGING = ("none", "fixed"), ("batch", "sample", "test")   # permutations, see `heads.Shuffle`


def _permutenet_order(rows: Sequence[ShuffleAccuracy]) -> tuple[str, str]:
    """Location accuracy at 3×3 under zero padding, as differences in points with 95 % intervals over seeds. Cost of a
    constant order: GAPNet's accuracy minus that of PermuteNet's head without a shuffle, and with one fixed shuffle.
    Cost of a changing order: the lower of these two accuracies minus that with a new shuffle for every batch, for every
    image, and at test time only. *Ruled out* when every interval lies below 5 points for a constant order and above 5
    points for a changing one. The *rival explanation holds* when some interval lies above 5 points for a constant
    order, or below 5 points for a changing one. Otherwise *undecided*. *Not tried here* unless all of these were run
    and GAPNet is above chance. Two seeds whose interval is wider than 20 points decide nothing.
    """
    rows = [row for row in rows if row.fill == "mean"]
    gapnet = next((row for row in rows if row.head == "gapnet"), None)
    permutenet = {row.permutation: row for row in rows if row.head == "permutenet"}
    if set(permutenet) != set(PERMUTATIONS) or gapnet is None:
        return NOT_TRIED, "not every way to shuffle the channels has been run"
    if nothing_learned := _at_chance([gapnet]):
        return NOT_TRIED, nothing_learned
    static, changing = [permutenet[name] for name in _STATIC], [permutenet[name] for name in _CHANGING]
    lowest, highest = min(static, key=lambda row: row.mean), max(changing, key=lambda row: row.mean)
    kept, lost = [_difference(gapnet, row) for row in static], [_difference(lowest, row) for row in changing]
    return _tried([*kept, *lost], all(e.high < FREE for e in kept) and all(e.low > FREE for e in lost),
                  any(e.low > FREE for e in kept) or any(e.high < FREE for e in lost),
                  f"GAPNet {gapnet.mean:.1f} %; constant order, lower of 2: {_accuracy(lowest)}; changing order, "
                  f"highest of 3: {_accuracy(highest)}")


def _permutenet_grid(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """Effect: PermuteNet's location accuracy at 3×3 minus that at 5×5, and at 5×5 minus at 7×7, in points, with its
    95 % interval over seeds, for every backbone and padding mode that was run at all three grids. Smallest effect of
    interest: 6.5 points, half of the smallest in the paper's table. *Reproduced* when every interval lies above 0 and
    every mean accuracy is within 5 points of the paper's. *In direction* when every interval lies above 0 but some
    accuracy is further off. Otherwise *contradicted* when some interval lies below 6.5 points, and *inconclusive* when
    none does. *Not testable here* without all three grids under one padding. Two seeds whose interval is wider than 20
    points count as one. A single seed on a substitute does not count. A single seed at the paper's scale has no
    interval to be judged by: its effect must not be reversed, and where no cell has more seeds, the verdict is
    *near the paper, n = 1* when every accuracy is within 5 points of the paper's, and *inconclusive* otherwise.
    """
    triples = _grids(rows)
    if not triples:
        return NOT_TESTABLE, "no padding mode has runs at all three grids"
    return _judged([Finding(_difference(coarse, fine), (coarse, fine)) for triple in triples
                    for coarse, fine in pairwise(triple)], SMALLEST_FALL, _from_to)


def _permutenet_answers_held(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """Cells recognised: PermuteNet's location accuracy times the number of cells; at chance it is 1 in every grid.
    Effect: cells recognised at 3×3 minus those at 7×7, with its 95 % interval over seeds, for every backbone and
    padding mode that was run at all three grids. *Ruled out* when every interval lies above one cell: fewer are
    recognised in a finer grid. The *rival explanation holds* when every interval lies below one cell: accuracy falls
    because it is divided by more cells. Otherwise *undecided*. *Not tried here* without all three grids. Two seeds
    whose accuracy has an interval wider than 20 points decide nothing.
    """
    triples = _grids(rows)
    if not triples:
        return NOT_TRIED, "no padding mode has runs at all three grids"
    losses = [_difference(_answers_held(coarsest), _answers_held(finest)) for coarsest, *_, finest in triples]
    held = "; ".join(f"{triple[0].padding_mode} {' → '.join(f'{_answers_held(row).mean:.1f}' for row in triple)}"
                     for triple in triples)
    return _tried([row for triple in triples for row in triple], all(loss.low > WHOLE_ANSWER for loss in losses),
                  all(loss.high < WHOLE_ANSWER for loss in losses),
                  f"cells recognised at 3×3, 5×5, 7×7: {held}, n = {min(loss.n for loss in losses)}")


def _permutenet_image(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """Effect: the part of GAPNet's accuracy above chance that PermuteNet keeps, in percent, for image class minus for
    location, in points, with its 95 % interval over seeds, in every padded cell in which both networks were run for
    both tasks. Smallest effect of interest: 3.5 points, half of the smallest in the paper's table. *Reproduced* when
    every interval lies above 0 and every mean accuracy, of both networks in both tasks, is within 5 points of the
    paper's. *In direction* when every interval lies above 0 but some accuracy is further off. Otherwise *contradicted*
    when some interval lies below 3.5 points, and *inconclusive* when none does. *Not testable here* if GAPNet is not
    above chance in every cell, so that there is nothing to keep, or if no cell counts. Two seeds whose interval is
    wider than 20 points count as one. A single seed on a substitute does not count. A single seed at the paper's scale
    has no interval to be judged by: its effect must not be reversed, and where no cell has more seeds, the verdict is
    *near the paper, n = 1* when PermuteNet keeps image class better and every accuracy is within 5 points of the
    paper's, and *inconclusive* otherwise.
    """
    image, location = ({_network_and_grid(row): (row, gapnet) for row, gapnet in _pairs(rows, task)}
                       for task in ("image", "location"))
    cells = [cell for cell in image if cell in location]
    if not cells:
        return NOT_TESTABLE, "no padded cell has runs of both networks for both tasks"
    findings = [Finding(_difference(_kept(*image[cell]), _kept(*location[cell])), (*image[cell], *location[cell]))
                for cell in cells]
    if nothing_learned := _at_chance([row for finding in findings for row in finding.accuracies
                                      if row.head == "gapnet"]):
        return NOT_TESTABLE, nothing_learned
    return _judged(findings, SMALLEST_KEPT_GAP, _kept_words)


def _permutenet_answers(rows: Sequence[KeptGap]) -> tuple[str, str]:
    """Both tasks at 3×3 under zero padding with equally many classes, 3 and 9: the part of GAPNet's accuracy above
    chance that PermuteNet keeps, for image class minus for location, seed by seed, in points, with its 95 % interval.
    *Ruled out* when the interval lies above 0 for both numbers of classes. Otherwise the *rival explanation holds* when
    some interval lies below 3.5 points, the claim's smallest effect of interest, and the outcome is *undecided* when
    none does. *Not tried here* unless GAPNet is above chance in both tasks. Two seeds whose interval is wider than 20
    points decide nothing.
    """
    if {row.answers for row in rows} != {3, 9}:
        return NOT_TRIED, "both tasks have not been run with 3 and with 9 classes"
    if any(row.gapnet <= 0 for row in rows):
        return NOT_TRIED, "GAPNet is not above chance in both tasks, so there is nothing to keep"
    gaps = "; ".join(f"{row.answers} classes {_points(row)}" for row in rows)
    return _tried(rows, all(row.low > 0 for row in rows), any(row.high < SMALLEST_KEPT_GAP for row in rows),
                  f"kept, image class minus location: {gaps}, n = {min(row.n for row in rows)}")


def _judged(findings: Sequence[Finding], smallest: float, describe: Callable[[Finding], str],
            tolerance: float = TOLERANCE) -> tuple[str, str]:
    """Return the verdict on effects that a claim puts above 0, with the smallest of them as evidence.

    An effect with too few seeds for an interval counts at the paper's scale only: there its mean must not be below 0,
    and its accuracies must be near the paper's for anything to be reproduced.

    smallest   the smallest effect of interest, in points
    describe   the numbers of a finding, in words
    tolerance  how far accuracies may be from the paper's, in points
    """
    counted = [finding for finding in findings
               if not _too_few_seeds([finding.effect]) or all(row.at_scale for row in finding.accuracies)]
    if not counted:
        return NOT_TESTABLE, SINGLE_SEED if min(finding.effect.n for finding in findings) < 2 else TWO_SEEDS
    near = _near_paper([row for finding in counted for row in finding.accuracies], tolerance)
    alone = [finding.effect for finding in counted if _too_few_seeds([finding.effect])]
    together = [finding.effect for finding in counted if not _too_few_seeds([finding.effect])]
    if together:
        verdict = direction(together, smallest)
        if verdict == IN_DIRECTION and any(effect.mean <= 0 for effect in alone):
            verdict = INCONCLUSIVE
        verdict = REPRODUCED if verdict == IN_DIRECTION and near else verdict
    else:
        verdict = NEAR if near and all(effect.mean > 0 for effect in alone) else INCONCLUSIVE
    return verdict, f"smallest of {len(counted)}: {describe(min(counted, key=lambda finding: finding.effect.mean))}"


def _tried(effects: Sequence[Effect | KeptGap], ruled_out: bool, holds: bool, evidence: str) -> tuple[str, str]:
    """As `claim.rival`, undecided from two seeds with a wide interval as well."""
    n = min(effect.n for effect in effects)
    if n >= 2 and _too_few_seeds(effects):
        return UNDECIDED, f"{evidence} ({TWO_SEEDS})"
    return rival(ruled_out, holds, n, evidence)


def _too_few_seeds(rows: Sequence[Effect | KeptGap | Accuracy | ShuffleAccuracy]) -> bool:
    """Whether the interval of some row, in points, decides nothing."""
    return any(row.n < 2 or (row.n == 2 and row.high - row.low > WIDEST_OF_TWO) for row in rows)


def _lower(row) -> float:
    """Lower bound of a row's interval, its mean where the interval decides nothing."""
    return row.mean if _too_few_seeds([row]) else row.low


def _near_paper(rows: Sequence[Accuracy], tolerance: float) -> bool:
    """Whether every accuracy with a printed value lies within a tolerance of it, and there is one."""
    distances = [abs(row.mean - row.paper) for row in rows if not isnan(row.paper)]
    return bool(distances) and max(distances) <= tolerance


def _at_chance(gapnet: Sequence[Accuracy] | Sequence[ShuffleAccuracy]) -> str:
    """Say where GAPNet's accuracy is not above chance; "" if it is so nowhere."""
    failed = [row for row in gapnet if _lower(row) <= row.chance]
    if not failed:
        return ""
    return (f"GAPNet is not above chance in {len(failed)} of {len(gapnet)} cells, the first at {_accuracy(failed[0])}, "
            f"chance {failed[0].chance:.1f} %")


def _select(rows: Sequence[Accuracy], modes: Sequence[str] = PADDED, **values: str) -> list[Accuracy]:
    return [row for row in rows
            if row.padding_mode in modes and all(getattr(row, name) == value for name, value in values.items())]


def _pairs(rows: Sequence[Accuracy], task: str) -> list[tuple[Accuracy, Accuracy]]:
    """PermuteNet's padded cells of one task, each with GAPNet's of the same backbone, padding mode and grid."""
    gapnet = {_network_and_grid(row): row for row in _select(rows, head="gapnet", task=task)}
    return [(row, gapnet[_network_and_grid(row)]) for row in _select(rows, head="permutenet", task=task)
            if _network_and_grid(row) in gapnet]


def _network_and_grid(row: Accuracy) -> tuple[str, str, int]:
    return row.backbone, row.padding_mode, row.grid


def _grids(rows: Sequence[Accuracy]) -> list[list[Accuracy]]:
    """PermuteNet's location accuracies at 3×3, 5×5 and 7×7, for every backbone and padding mode that has all three."""
    cells = {_network_and_grid(row): row for row in _select(rows, head="permutenet", task="location")}
    networks = dict.fromkeys((backbone, mode) for backbone, mode, _ in cells)
    return [[cells[*network, grid] for grid in GRIDS] for network in networks
            if all((*network, grid) in cells for grid in GRIDS)]


def _from_to(finding: Finding) -> str:
    first, second = finding.accuracies
    return f"{_points(finding.effect)}, from {first.mean:.1f} % to {_accuracy(second)}"


def _kept_words(finding: Finding) -> str:
    image, image_gapnet, location, location_gapnet = finding.accuracies
    return (f"{_points(finding.effect)}, kept above chance {_kept(image, image_gapnet).mean:.0f} % of image class and "
            f"{_kept(location, location_gapnet).mean:.0f} % of location; image class {_accuracy(image)}")


def _half(row: Accuracy | ShuffleAccuracy | Effect) -> float:
    """Half the width of an interval, nan for one seed."""
    return (row.high - row.low) / 2


def _effect(mean: float, half: float, n: int) -> Effect:
    return Effect(mean, mean - half, mean + half, n)


def _above_chance(row: Accuracy) -> Effect:
    return _effect(row.mean - row.chance, _half(row), row.n)


def _difference(first: Accuracy | ShuffleAccuracy | Effect, second: Accuracy | ShuffleAccuracy | Effect) -> Effect:
    return _effect(first.mean - second.mean, hypot(_half(first), _half(second)), min(first.n, second.n))


def _kept(row: Accuracy, gapnet: Accuracy) -> Effect:
    """Percentage of GAPNet's accuracy above chance that PermuteNet keeps."""
    reached = gapnet.mean - gapnet.chance
    part = (row.mean - row.chance) / reached
    return _effect(100 * part, 100 * hypot(_half(row), part * _half(gapnet)) / reached, min(row.n, gapnet.n))


def _answers_held(row: Accuracy) -> Effect:
    """Accuracy times the number of cells: the number of cells recognised."""
    each = row.grid ** 2 / 100
    return _effect(each * row.mean, each * _half(row), row.n)


def _accuracy(row: Accuracy | ShuffleAccuracy) -> str:
    """Format an accuracy, its interval cut to 0..100 %."""
    if isnan(row.low):
        return f"{row.mean:.1f} %, n = {row.n}"
    return interval(row._replace(low=max(0.0, row.low), high=min(100.0, row.high)))


def _points(effect: Effect | KeptGap) -> str:
    return f"{effect.mean:+.1f} points" if isnan(effect.low) else points(effect)


_PAGE, _SOURCE, _TABLES = "03_gapnet_vs_permutenet", "ICCV 2021, Table 1", ("ICCV 2021, Table 1",)
_FIXED = "after the first reference run (one seed)"
GAPNET_LOCATION = Claim(
    "gapnet-location", _PAGE,
    "A network whose features are averaged over space still predicts exactly which cell of the canvas holds an image.",
    _SOURCE, "100 % at 3×3, 5×5 and 7×7, under zero, reflect and replicate padding", _gapnet_location,
    "The rival explanation that something other than the border distinguishes the cells: tested with circular padding, "
    "under which all cells are equivalent", _gapnet_circular, "03_accuracy", _TABLES,
    minimum=GAPNET_MINIMUM, control_minimum={}, judge_one=_gapnet_location, fixed=_FIXED)
PERMUTENET_LOCATION = Claim(
    "permutenet-location", _PAGE, "Shuffling the order of the averaged channels removes location information.",
    _SOURCE, "zero padding, 3×3: 100 → 78.8 %", _permutenet_location,
    "The rival explanation that PermuteNet's different head, or any shuffle, causes the loss, not a changing order: "
    "tested with the same head without a shuffle, and with a fixed, a per-image and a test-only shuffle",
    _permutenet_order, "03_permutations", _TABLES, minimum=PERMUTENET_MINIMUM, control_minimum=GAPNET_MINIMUM,
    judge_one=_permutenet_location, fixed=_FIXED)
PERMUTENET_GRID = Claim(
    "permutenet-grid", _PAGE, "The finer the grid, the more location information the shuffle removes.",
    _SOURCE, "zero padding: 78.8 % at 3×3, 37.8 % at 5×5, 21.4 % at 7×7", _permutenet_grid,
    "The rival explanation that a finer grid has more cells, and as many of them are recognised as in a coarse one: "
    "tested by counting the cells that PermuteNet recognises", _permutenet_answers_held, "03_accuracy", _TABLES,
    minimum=PERMUTENET_MINIMUM, judge_one=_permutenet_grid, fixed=_FIXED)
PERMUTENET_IMAGE = Claim(
    "permutenet-image", _PAGE, "Image class survives the shuffle better than location.",
    _SOURCE, "zero padding, 3×3: image class 82.6 → 73.6 %, location 100 → 78.8 %", _permutenet_image,
    "The rival explanation that the task with more classes loses more: tested with equally many classes in both tasks",
    _permutenet_answers, "03_matched", _TABLES, minimum=IMAGE_MINIMUM,
    judge_one=_permutenet_image, fixed=_FIXED)

CLAIMS = (GAPNET_LOCATION, PERMUTENET_LOCATION, PERMUTENET_GRID, PERMUTENET_IMAGE)
