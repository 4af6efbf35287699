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
    judge       the page's typed rows, or its summary table -> (verdict, the numbers it rests on)
    control     what could overturn the reading, and was tried on the page
    tried       the same with the control's runs -> (its outcome, the numbers it rests on)
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

    def verdict(self, table: pd.DataFrame | Sequence) -> tuple[str, str]:
        """What the rule says of this run; nothing can be said of a single seed, which has no interval."""
        if not len(table):
            return NOT_TESTABLE, "not run yet"
        if min(table["n"] if isinstance(table, pd.DataFrame) else (row.n for row in table)) < 2:
            return NOT_TESTABLE, ALONE
        return self.judge(table)

    def outcome(self, table: pd.DataFrame | Sequence) -> tuple[str, str]:
        """What came of the control in this run."""
        return self.tried(table) if len(table) else (NOT_TRIED, "not run yet")


def outcome(passed: bool | np.bool_, n: int | float | np.number, said: str) -> tuple[str, str]:
    """Of a control over `n` seeds; nothing can be said of a single one, which has no interval."""
    return (PASSED if passed else NOT_PASSED, said) if n >= 2 else (NOT_TRIED, ALONE)


def interval(row: pd.Series) -> str:
    return f"{row['mean']:.1f} % [{row['low']:.1f}, {row['high']:.1f}], n = {row['n']:.0f}"


def points(row: pd.Series) -> str:
    return f"{row['mean']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}]"
