"""What the papers claim, as data, and the rule by which a page judges it.  Written before any run.

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


def _gapnet_location(table: pd.DataFrame) -> tuple[str, str]:
    """*Reproduced* when GAPNet's location accuracy is at least 99 % on average over seeds in every padded cell that was
    run. *Reproduced in direction* when it is at least halfway from chance to 100 % in every one. Else *not reproduced*.
    """
    cells = table.query("head == 'gapnet' and task == 'location' and padding_mode in @PADDED",
                        local_dict={"PADDED": PADDED})
    worst = cells["mean"].min()
    verdict = (REPRODUCED if worst >= 99 else
               IN_DIRECTION if (cells["mean"] >= (100 + cells["chance"]) / 2).all() else NOT_REPRODUCED)
    return verdict, f"lowest of {len(cells)} cells: {worst:.1f} %"


def _permutenet_location(table: pd.DataFrame) -> tuple[str, str]:
    """*Reproduced* when, in every padded cell that was run, PermuteNet's location accuracy lies within 5 points of the
    paper's. *Reproduced in direction* when its whole 95 % interval over seeds lies below GAPNet's mean in every one.
    Else *not reproduced*.
    """
    cells = _with_gapnet(table, "location")
    off = (cells["mean"] - cells["paper"]).abs().max()
    verdict = (REPRODUCED if off <= 5 else
               IN_DIRECTION if (cells["high"] < cells["mean_gapnet"]).all() else NOT_REPRODUCED)
    gap = cells["mean_gapnet"] - cells["mean"]
    return verdict, f"GAPNet minus PermuteNet: {gap.min():.1f} to {gap.max():.1f} points in {len(cells)} cells"


def _permutenet_image(table: pd.DataFrame) -> tuple[str, str]:
    """Semantics survive the shuffle better than location, in every padded cell that was run, both measured as the part
    of GAPNet's accuracy above chance that PermuteNet keeps. *Reproduced* when in addition image accuracy lies within 5
    points of the paper's. *Reproduced in direction* when only the order holds. Else *not reproduced*.
    """
    kept = {task: _with_gapnet(table, task).set_index(["padding_mode", "grid"]).eval(
        "(mean - chance) / (mean_gapnet - chance)") for task in ("image", "location")}
    off = (lambda c: (c["mean"] - c["paper"]).abs().max())(_with_gapnet(table, "image"))
    holds = (kept["image"] > kept["location"]).all()
    verdict = NOT_REPRODUCED if not holds else REPRODUCED if off <= 5 else IN_DIRECTION
    return verdict, (f"kept above chance: image {kept['image'].mean():.0%}, location {kept['location'].mean():.0%} "
                     f"(means of {len(kept['image'])} cells)")


def _with_gapnet(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """PermuteNet's padded cells of one task, with GAPNet's mean beside them."""
    cells = table[(table["task"] == task) & table["padding_mode"].isin(PADDED)]
    return cells[cells["head"] == "permutenet"].merge(
        cells[cells["head"] == "gapnet"][["padding_mode", "grid", "mean"]], on=["padding_mode", "grid"],
        suffixes=("", "_gapnet"))
