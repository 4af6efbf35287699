"""What every claim of a paper shares: the possible verdicts, and the rule by which a page reaches one.

A claim's rule is the docstring of its `judge`: the page prints it in the claim box, and the code below it decides.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

import numpy as np
import pandas as pd

REPRODUCED = "reproduced"
IN_DIRECTION = "reproduced in direction"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable here"
PASSED = "passed"           # outcomes of a control
NOT_PASSED = "not passed"
NOT_TRIED = "not tried here"
NOT_RUN = "not run"         # no verdict: the page has not run
NOT_RUN_YET = "not run yet"
SINGLE_SEED = "one seed has no interval; run at least two"

Rows = Sequence[Any] | pd.DataFrame   # one row or record per estimate, with the number of seeds as `n`


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, with the rules that judge it and its control.

    id             name of the claim in tables and claim boxes
    page           number and name of the page that tests it
    statement      the claim, in our words
    source         paper, and table, figure or section
    paper_value    the headline number with its unit; "" if the paper prints none
    judge          rows of this run, as its module defines them -> (verdict, the numbers it rests on)
    control        the experiment on the page that could overturn the claim's interpretation
    judge_control  rows of the control -> (outcome, the numbers it rests on)
    figure         name of the page's figure that shows the claim
    tables         tables of the paper that the page reproduces, as named in `claims.TABLES`
    """
    id: str
    page: str
    statement: str
    source: str
    paper_value: str
    judge: Callable[..., tuple[str, str]]
    control: str
    judge_control: Callable[..., tuple[str, str]]
    figure: str
    tables: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        return cleandoc(self.judge.__doc__)

    @property
    def control_rule(self) -> str:
        return cleandoc(self.judge_control.__doc__)

    @property
    def reference(self) -> str:
        """Source and headline number, as in "ICCV 2021, Table 1: 100 %"."""
        return f"{self.source}: {self.paper_value}" if self.paper_value else self.source

    def verdict(self, rows: Rows) -> tuple[str, str]:
        """Judge this run by the rule; not testable without rows or from a single seed, which has no interval."""
        if len(rows) == 0:
            return NOT_TESTABLE, NOT_RUN_YET
        fewest = _seeds(rows).min()
        if pd.isna(fewest) or fewest < 2:
            return NOT_TESTABLE, SINGLE_SEED
        return self.judge(rows)

    def control_outcome(self, rows: Rows) -> tuple[str, str]:
        """Judge the control by its rule; not tried if there are no rows."""
        return self.judge_control(rows) if len(rows) else (NOT_TRIED, NOT_RUN_YET)


def outcome(passed: bool | np.bool_, n: int | float | np.number, evidence: str) -> tuple[str, str]:
    """Return a control's outcome over `n` seeds, with its evidence; not tried if a single seed gives no interval."""
    return (PASSED if passed else NOT_PASSED, evidence) if n >= 2 else (NOT_TRIED, SINGLE_SEED)


def above_zero(rows: Sequence) -> str:
    """Verdict on whether every row is above 0: by its interval, by its mean, or not."""
    if not rows:
        return NOT_TESTABLE
    if all(row.low > 0 for row in rows):
        return REPRODUCED
    return IN_DIRECTION if all(row.mean > 0 for row in rows) else NOT_REPRODUCED


def interval_text(row, unit: str = "", spec: str = ".1f", with_n: bool = False) -> str:
    """Format a mean with its 95 % interval and, if wanted, the number of seeds: "12.3 % [11.0, 13.6], n = 5".

    row   a Series, mapping, dataclass or named tuple with mean, low, high and, for `with_n`, n
    spec  format specification of the three numbers
    """
    mean, low, high = (format(_value(row, name), spec) for name in ("mean", "low", "high"))
    n = f", n = {_value(row, 'n'):.0f}" if with_n else ""
    return f"{mean}{unit and ' '}{unit} [{low}, {high}]{n}"


def interval(row) -> str:
    """Format a percentage, its 95 % interval and the number of seeds."""
    return interval_text(row, "%", with_n=True)


def points(row) -> str:
    """Format a difference in percentage points, signed, and its 95 % interval."""
    return interval_text(row, "points", "+.1f")


def _value(row, name: str):
    return row[name] if isinstance(row, pd.Series | Mapping) else getattr(row, name)


def _seeds(rows: Rows) -> pd.Series:
    """Return the number of seeds of each row, nan where a row was not run."""
    return rows["n"] if isinstance(rows, pd.DataFrame) else pd.Series([row.n for row in rows], dtype=float)
