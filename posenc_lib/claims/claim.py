"""What every claim of a paper shares: the words of a verdict, and the rule by which a page judges it.

A claim's rule is the docstring of its `judge`: the page's claim box prints it, and the code below it is what decides.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import cleandoc

import numpy as np
import pandas as pd

REPRODUCED = "reproduced"
IN_DIRECTION = "reproduced in direction"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable here"
PASSED = "passed"           # of a control: the reading stands
NOT_PASSED = "not passed"
NOT_TRIED = "not tried here"
ALONE = "one seed has no interval; run at least two"


@dataclass(frozen=True)
class Claim:
    """id          names the claim everywhere, its file of records too
    page        number and name of the page that tests it
    statement   the paper's claim, in our words
    source      paper, table or figure
    printed     the paper's headline number, with its unit; "" where it prints none
    judge       rows of this run's summary (see the module of the claim) -> (verdict, the numbers it rests on)
    control     what could overturn the reading, and was tried on the page
    tried       rows of the control's runs (see the module of the claim) -> (its outcome, the numbers it rests on)
    figure      name of the page's figure that shows the claim
    tables      of the paper that the page shows again, as they are named in `paper.TABLES`
    """
    id: str
    page: str
    statement: str
    source: str
    printed: str
    judge: Callable[..., tuple[str, str]]
    control: str
    tried: Callable[..., tuple[str, str]]
    figure: str
    tables: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        return cleandoc(self.judge.__doc__)

    @property
    def control_rule(self) -> str:
        return cleandoc(self.tried.__doc__)

    def verdict(self, rows: Sequence | pd.DataFrame) -> tuple[str, str]:
        """Judge this run by the rule; a single seed has no interval and is not judged."""
        if len(rows) == 0:
            return NOT_TESTABLE, "not run yet"
        seeds = rows["n"] if isinstance(rows, pd.DataFrame) else [row.n for row in rows if row.n is not None]
        if min(seeds, default=0) < 2:
            return NOT_TESTABLE, ALONE
        return self.judge(rows)

    def outcome(self, rows: Sequence | pd.DataFrame) -> tuple[str, str]:
        """Judge the control of this run."""
        return (NOT_TRIED, "not run yet") if len(rows) == 0 else self.tried(rows)


def outcome(passed: bool | np.bool_, n: int | float | np.number, said: str) -> tuple[str, str]:
    """Of a control over `n` seeds; nothing can be said of a single one, which has no interval."""
    return (PASSED if passed else NOT_PASSED, said) if n >= 2 else (NOT_TRIED, ALONE)


def interval(row: pd.Series) -> str:
    return f"{row['mean']:.1f} % [{row['low']:.1f}, {row['high']:.1f}], n = {row['n']:.0f}"


def points(row: pd.Series) -> str:
    return f"{row['mean']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}]"
