"""What every claim of a paper shares: the words of a verdict, and the rule by which a page judges it.

A claim's rule is the docstring of its `judge`: the page's claim box prints it, and the code below it is what decides.
"""
from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc

import pandas as pd

REPRODUCED = "reproduced"
IN_DIRECTION = "reproduced in direction"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable here"


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
