"""What the papers claim, as data, and the rule by which a page judges it.  Written before the run that it judges.

A claim's rule is the docstring of its `judge`: the page's claim box prints it, and the code below it is what decides.
Numbers in percent, as printed.  A = Islam et al., ICCV 2021 (tables as on the authors' slides).
"""
from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc

import pandas as pd

REPRODUCED = "reproduced"
IN_DIRECTION = "reproduced in direction"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable here"
PADDED = ("zeros", "reflect", "replicate")


@dataclass(frozen=True)
class Claim:
    """id          names the claim everywhere, its file of records too
    page        number and name of the page that tests it
    statement   the paper's claim, in our words
    source      paper, table or figure
    printed     the paper's headline number, with its unit; "" where it prints none
    judge       a table of this run's summary (see the page) -> (verdict, the numbers it rests on)
    control     what could overturn the reading, and was tried on the page
    """
    id: str
    page: str
    statement: str
    source: str
    printed: str
    judge: Callable[[pd.DataFrame], tuple[str, str]]
    control: str

    @property
    def rule(self) -> str:
        return cleandoc(self.judge.__doc__)

    def verdict(self, table: pd.DataFrame) -> tuple[str, str]:
        """What the rule says of this run; nothing can be said of a single seed, which has no interval."""
        if table["n"].min() < 2:
            return NOT_TESTABLE, "one seed has no interval; run at least two"
        return self.judge(table)


# Table 1 of A, in percent.  The slide names no backbone; the caption's example is ResNet-18.  No seeds, no intervals.
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
    return verdict, f"lowest of {len(cells)} cells: {_interval(worst)}"


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
    return verdict, f"highest of {len(cells)} cells: {_interval(highest)}, GAPNet there {highest['mean_gapnet']:.1f} %"


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
                              f"{worst['padding_mode']}: {_interval(worst)}, chance {worst['chance']:.1f} %")
    kept = {task: _with_gapnet(table, task).set_index(_CELL).eval(
        "(mean - chance) / (mean_gapnet - chance)") for task in ("image", "location")}
    cells = _with_gapnet(table, "image")
    off = (cells["mean"] - cells["paper"]).abs().max()
    holds = (kept["image"] > kept["location"]).all()
    verdict = NOT_REPRODUCED if not holds else REPRODUCED if off <= 5 else IN_DIRECTION
    return verdict, (f"kept above chance: image {kept['image'].mean():.0%}, location {kept['location'].mean():.0%} "
                     f"(means of {len(kept['image'])} cells)")


def _interval(row: pd.Series) -> str:
    return f"{row['mean']:.1f} % [{row['low']:.1f}, {row['high']:.1f}], n = {row['n']:.0f}"


def _with_gapnet(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """PermuteNet's padded cells of one task, with GAPNet's mean beside them."""
    cells = table[(table["task"] == task) & table["padding_mode"].isin(PADDED)]
    return cells[cells["head"] == "permutenet"].merge(
        cells[cells["head"] == "gapnet"][[*_CELL, "mean"]], on=_CELL, suffixes=("", "_gapnet"))


GAPNET_LOCATION = Claim(
    "gapnet-location", "03_gapnet_vs_permutenet",
    "A network whose features are averaged over space still says exactly in which cell of the canvas an image lies.",
    "ICCV 2021, Table 1", "100 % at 3×3, 5×5 and 7×7, under zero, reflect and replicate padding", _gapnet_location,
    "circular padding, under which no cell differs from another")
PERMUTENET_LOCATION = Claim(
    "permutenet-location", "03_gapnet_vs_permutenet",
    "Shuffling the order of the averaged channels takes the location away, the more so the finer the grid.",
    "ICCV 2021, Table 1", "zero padding: 78.8 % at 3×3, 37.8 % at 5×5, 21.4 % at 7×7", _permutenet_location,
    "the same head without the shuffle, and with a fixed, per-image or test-only shuffle")
PERMUTENET_IMAGE = Claim(
    "permutenet-image", "03_gapnet_vs_permutenet",
    "What the image shows survives the shuffle better than where it lies.",
    "ICCV 2021, Table 1", "zero padding: image class 82.6 → 73.6 % at 3×3, location 100 → 78.8 %", _permutenet_image,
    "both tasks asked with the same number of answers")


def _padding_artifacts(table: pd.DataFrame) -> tuple[str, str]:
    """The excess is the border energy of the padded map minus that of the same map in true surroundings, in doublings
    (log2), averaged over images and over the five layers conv1 to layer4: one number a seed. *Reproduced* when, in
    random and in trained networks alike, its 95 % interval over seeds lies above 0 under each of zero, reflect and
    replicate padding. *Reproduced in direction* when it does under zero padding only, or under zero and one of the
    others. Else *not reproduced*.
    """
    above = table[table["padding_mode"].isin(PADDED)].groupby("padding_mode")["low"].min() > 0   # in both networks
    verdict = REPRODUCED if above.all() else IN_DIRECTION if above["zeros"] else NOT_REPRODUCED
    said = "; ".join(f"{row.net}, {row.padding_mode} {row.mean:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
                     for row in table[table["padding_mode"].isin(PADDED)].itertuples(index=False))
    return verdict, f"excess in doublings: {said}, n = {table['n'].min()}"


PADDING_ARTIFACTS = Claim(
    "padding-artifacts", "01_padding_artifacts",
    "Every way of padding draws line artifacts along the border of feature maps.",
    "ICCV 2021, authors' slides on padding", "", _padding_artifacts,
    "true surroundings: the same crop inside a larger piece of its photograph")


CLAIMS = (PADDING_ARTIFACTS, GAPNET_LOCATION, PERMUTENET_LOCATION, PERMUTENET_IMAGE)   # in the order of the pages
