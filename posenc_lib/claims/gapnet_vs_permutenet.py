"""Islam et al., ICCV 2021, as data: padding and location (Table 1, supplement S1), the claims and the rules that judge
them.  Accuracies in percent; Table 1 is as printed on the authors' slides.
"""
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

PADDED = ("zeros", "reflect", "replicate")
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
_CELL = ["backbone", "padding_mode", "grid"]   # what PermuteNet and the GAPNet it is compared with have in common


def _gapnet_location(table: pd.DataFrame) -> tuple[str, str]:
    """*Reproduced* when GAPNet's location accuracy is at least 99 % on average over seeds in every padded cell that was
    run. *Reproduced in direction* when it is at least halfway from chance to 100 % in every one. Else *not reproduced*.
    """
    cells = table.query("head == 'gapnet' and task == 'location' and padding_mode in @PADDED",
                        local_dict={"PADDED": PADDED})
    worst = cells.loc[cells["mean"].idxmin()]
    verdict = (REPRODUCED if worst["mean"] >= 99 else
               IN_DIRECTION if (cells["mean"] >= (100 + cells["chance"]) / 2).all() else NOT_REPRODUCED)
    return verdict, f"lowest of {len(cells)} cells: {interval(worst)}"


def _gapnet_blind(table: pd.DataFrame) -> tuple[str, str]:
    """*Passed* when GAPNet's location accuracy under circular padding, on average over seeds, lies within half a point
    of chance for every backbone and grid that was run; else *not passed*. (*Not tried here* when there is none.)
    """
    cells = table.query("head == 'gapnet' and task == 'location' and padding_mode == 'circular'")
    if cells.empty:
        return NOT_TRIED, "no network with circular padding was run"
    off = (cells["mean"] - cells["chance"]).abs()
    worst = cells.loc[off.idxmax()]
    said = f"furthest from chance ({worst['chance']:.1f} %) of {len(cells)} (backbone, grid): {interval(worst)}"
    return outcome(off.max() <= 0.5, cells["n"].min(), f"circular padding, {said}")


def _permutenet_location(table: pd.DataFrame) -> tuple[str, str]:
    """*Reproduced* when, in every padded cell that was run, PermuteNet's location accuracy lies within 5 points of the
    paper's. *Reproduced in direction* when its whole 95 % interval over seeds lies below GAPNet's mean in every one.
    Else *not reproduced*.
    """
    cells = _with_gapnet(table, "location")
    off = (cells["mean"] - cells["paper"]).abs().max()
    verdict = (REPRODUCED if off <= 5 else
               IN_DIRECTION if (cells["high"] < cells["mean_gapnet"]).all() else NOT_REPRODUCED)
    highest = cells.loc[cells["mean"].idxmax()]
    return verdict, f"highest of {len(cells)} cells: {interval(highest)}, GAPNet there {highest['mean_gapnet']:.1f} %"


_KEPT, _CHANGED = ("none", "fixed"), ("batch", "sample", "test")   # permutations, see `models.Shuffle`


def _permutenet_order(table: pd.DataFrame) -> tuple[str, str]:
    """Location accuracy at 3×3 under zero padding, means and 95 % intervals over seeds. *Passed* when an order that
    stays costs nothing (PermuteNet's head without a shuffle, and with one fixed shuffle, has a mean within 5 points of
    GAPNet's) and one that changes always costs something (a shuffle new for every batch, new for every image, or at
    test only has its whole interval below those of these two); else *not passed*. (*Not tried here* when GAPNet's own
    interval is not above chance: then there is nothing to take away.)
    """
    table = table[table["fill"] == "mean"]
    if set(table["permutation"]) != {*_KEPT, *_CHANGED} or "gapnet" not in set(table["head"]):
        return NOT_TRIED, "not every way to shuffle the channels has been run"
    gapnet = table[table["head"] == "gapnet"].iloc[0]
    if not gapnet["low"] > gapnet["chance"]:
        return NOT_TRIED, f"GAPNet is not above chance ({gapnet['chance']:.1f} %): {interval(gapnet)}"
    heads = table[table["head"] == "permutenet"].set_index("permutation")
    kept, changed = heads.loc[[*_KEPT]], heads.loc[[*_CHANGED]]
    free = (kept["mean"] - gapnet["mean"]).abs().max() <= 5
    costly = changed["high"].max() < kept["low"].min()
    least, most = kept.loc[kept["mean"].idxmin()], changed.loc[changed["mean"].idxmax()]
    return outcome(free and costly, table["n"].min(), (
        f"GAPNet {gapnet['mean']:.1f} %; order that stays, lower of 2: {interval(least)}; order that changes, highest "
        f"of 3: {interval(most)}"))


def _permutenet_image(table: pd.DataFrame) -> tuple[str, str]:
    """Semantics survive the shuffle better than location, in every padded cell that was run, both measured as the part
    of GAPNet's accuracy above chance that PermuteNet keeps. *Reproduced* when in addition image accuracy lies within 5
    points of the paper's. *Reproduced in direction* when only the order holds. Else *not reproduced*. *Not testable
    here* when GAPNet's own 95 % interval is not above chance in every cell: then there is nothing to keep.
    """
    gapnet = table[(table["head"] == "gapnet") & table["padding_mode"].isin(PADDED)]
    idle = gapnet[~(gapnet["low"] > gapnet["chance"])]
    if len(idle):
        worst = idle.iloc[0]
        return NOT_TESTABLE, (f"GAPNet is not above chance in {len(idle)} of {len(gapnet)} cells; {worst['task']}, "
                              f"{worst['padding_mode']}: {interval(worst)}, chance {worst['chance']:.1f} %")
    kept = {task: _with_gapnet(table, task).set_index(_CELL).eval(
        "(mean - chance) / (mean_gapnet - chance)") for task in ("image", "location")}
    cells = _with_gapnet(table, "image")
    off = (cells["mean"] - cells["paper"]).abs().max()
    holds = (kept["image"] > kept["location"]).all()
    verdict = NOT_REPRODUCED if not holds else REPRODUCED if off <= 5 else IN_DIRECTION
    return verdict, (f"kept above chance: image {kept['image'].mean():.0%}, location {kept['location'].mean():.0%} "
                     f"(means of {len(kept['image'])} cells)")


def _permutenet_answers(table: pd.DataFrame) -> tuple[str, str]:
    """Both tasks at 3×3 under zero padding with equally many answers, 3 and 9: the part of GAPNet's accuracy above
    chance that PermuteNet keeps, for image class minus for location, seed by seed, in points. *Passed* when the 95 %
    interval over seeds of the difference lies above 0 for each number of answers; else *not passed*. (*Not tried here*
    when GAPNet's own 95 % interval is not above chance in both tasks.)
    """
    if set(table["answers"]) != {3, 9}:
        return NOT_TRIED, "both tasks have not been run with 3 and with 9 answers"
    if not (table["gapnet"] > 0).all():
        return NOT_TRIED, "GAPNet is not above chance in both tasks, so there is nothing to keep"
    said = "; ".join(f"{row['answers']:.0f} answers {points(row)}" for _, row in table.iterrows())
    return outcome((table["low"] > 0).all(), table["n"].min(),
                   f"kept, image class minus location: {said}, n = {table['n'].min():.0f}")


def _with_gapnet(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """PermuteNet's padded cells of one task, with GAPNet's mean beside them."""
    cells = table[(table["task"] == task) & table["padding_mode"].isin(PADDED)]
    return cells[cells["head"] == "permutenet"].merge(
        cells[cells["head"] == "gapnet"][[*_CELL, "mean"]], on=_CELL, suffixes=("", "_gapnet"))


_TABLE_1 = ("ICCV 2021, Table 1",)
GAPNET_LOCATION = Claim(
    "gapnet-location", "03_gapnet_vs_permutenet",
    "A network whose features are averaged over space still says exactly in which cell of the canvas an image lies.",
    "ICCV 2021, Table 1", "100 % at 3×3, 5×5 and 7×7, under zero, reflect and replicate padding", _gapnet_location,
    "circular padding, under which no cell differs from another", _gapnet_blind, "03_accuracy", _TABLE_1)
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
