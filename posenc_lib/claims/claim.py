"""What all claims share: how large a run has to be to judge them, the possible outcomes, and what these mean.

A claim's rule is the docstring of its `judge`, a control's that of its `judge_control`: the page prints it in the claim
box, and the code below it decides.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import Any, NamedTuple

import pandas as pd

REPRODUCED = "reproduced"
SUBSTITUTE = "reproduced on a substitute"   # what `Claim.verdict` makes of REPRODUCED off the paper's set-up
NEAR = "near the paper, n = 1"              # one seed at the paper's scale, which gives no interval
IN_DIRECTION = "in direction"               # the effect is there, its size is not the paper's
INCONCLUSIVE = "inconclusive"
CONTRADICTED = "contradicted"
NOT_TESTABLE = "not testable here"
VERDICTS = (REPRODUCED, SUBSTITUTE, NEAR, IN_DIRECTION, INCONCLUSIVE, CONTRADICTED, NOT_TESTABLE)
RULED_OUT = "ruled out"                     # outcomes of a control, for the rival explanation that it tests
RIVAL_HOLDS = "rival explanation holds"
UNDECIDED = "undecided"
NOT_TRIED = "not tried here"
OUTCOMES = (RULED_OUT, RIVAL_HOLDS, UNDECIDED, NOT_TRIED)
NOT_RUN = "not run"                         # no verdict: the page has not run
NOT_RUN_YET = "not run yet"
SINGLE_SEED = "one seed has no interval; run at least two"

# What a claim may require of the runs that judge it.
QUANTITIES = {"steps": "training steps", "train_images": "training images", "width": "channels in the first stage",
              "networks": "networks", "images": "test images"}

Rows = Sequence[Any] | pd.DataFrame   # one row or record per estimate, with the number of seeds as `n`


@dataclass(frozen=True)
class Scale:
    """How large the runs behind a verdict are, and how they differ from the paper's.

    sizes        the smallest of each quantity among the runs, by its name in `QUANTITIES`
    substitutes  what stands in for the paper's network, data or schedule, as in "digits for CIFAR-10, width 16 for 64";
                 empty where nothing does
    """
    sizes: Mapping[str, float] = field(default_factory=dict)
    substitutes: str = ""


class Judged(NamedTuple):
    """The verdict on a claim and the outcome of its control, each with the numbers it rests on."""
    verdict: str
    evidence: str
    outcome: str
    control_evidence: str


@dataclass(frozen=True, eq=False)   # hashable, as a key of what was found
class Claim:
    """One statement of a paper, with the rules that judge it and its control.

    id             name of the claim in tables and claim boxes
    page           number and name of the page that tests it
    statement      the claim, in our words
    source         paper, and table, figure or section
    paper_value    the headline number with its unit; "" if the paper prints none
    judge          rows of a run, as its module defines them -> (verdict, the numbers it rests on)
    control        the rival explanation, and the experiment on the page that tests it
    judge_control  rows of the control -> (outcome, the numbers it rests on)
    figure         name of the page's figure that shows the claim
    tables         tables of the paper that the page reproduces, as named in `claims.TABLES`
    minimum        the least of each quantity that a run needs to be judged: below it, an effect may be missing
                   because nothing was learned
    control_minimum  the same for the control; None if it is that of the claim
    judge_one      as `judge`, for a single seed; None if one seed decides nothing
    fixed          when the rules were fixed, relative to the runs that they judge
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
    minimum: Mapping[str, float] = field(default_factory=dict)
    control_minimum: Mapping[str, float] | None = None
    judge_one: Callable[..., tuple[str, str]] | None = None
    fixed: str = "after the CPU runs on file, before any run at the paper's scale"

    @property
    def rule(self) -> str:
        """The rule in words, with what it needs."""
        needs = f" Needs at least {_listed(self.minimum)}." if self.minimum else ""
        return cleandoc(self.judge.__doc__) + needs

    @property
    def control_rule(self) -> str:
        return cleandoc(self.judge_control.__doc__)

    @property
    def reference(self) -> str:
        """Source and headline number, as in "ICCV 2021, Table 1: 100 %"."""
        return f"{self.source}: {self.paper_value}" if self.paper_value else self.source

    def verdict(self, rows: Rows, scale: Scale) -> tuple[str, str]:
        """Judge a run by the rule.

        Not testable without rows, below the minimum, or from a single seed, unless the claim has a rule for one seed
        and the set-up is the paper's.  With another set-up, *reproduced* becomes *reproduced on a substitute*.
        """
        if len(rows) == 0:
            return NOT_TESTABLE, NOT_RUN_YET
        if short := _shortfall(self.minimum, scale):
            return NOT_TESTABLE, short
        fewest = _seeds(rows).min()
        if pd.isna(fewest) or fewest < 2:
            return (NOT_TESTABLE, SINGLE_SEED) if self.judge_one is None or scale.substitutes else self.judge_one(rows)
        verdict, evidence = self.judge(rows)
        if verdict == REPRODUCED and scale.substitutes:
            return SUBSTITUTE, f"{evidence}; {scale.substitutes}"
        return verdict, evidence

    def control_outcome(self, rows: Rows, scale: Scale) -> tuple[str, str]:
        """Judge the control by its rule.  Not tried without rows or below the minimum."""
        if len(rows) == 0:
            return NOT_TRIED, NOT_RUN_YET
        if short := _shortfall(self.minimum if self.control_minimum is None else self.control_minimum, scale):
            return NOT_TRIED, short
        return self.judge_control(rows)

    def judged(self, rows: Rows, scale: Scale, control_rows: Rows | None = None,
               control_scale: Scale | None = None) -> Judged:
        """Judge claim and control, the control by the rows and scale of the claim unless it has its own."""
        control_rows = rows if control_rows is None else control_rows
        return Judged(*self.verdict(rows, scale), *self.control_outcome(control_rows, control_scale or scale))


def direction(rows: Sequence, smallest: float) -> str:
    """The verdict on an effect that a claim predicts to be above 0 in every row, from its intervals.

    smallest  the smallest effect of interest, in the rows' unit

    IN_DIRECTION if every interval lies above 0.  CONTRADICTED if some interval lies below `smallest`: there the effect
    is too small to matter, absent or reversed (with 95 % intervals, a test at 2.5 %).  Otherwise INCONCLUSIVE.
    """
    if not rows:
        return NOT_TESTABLE
    if all(row.low > 0 for row in rows):
        return IN_DIRECTION
    return CONTRADICTED if any(row.high < smallest for row in rows) else INCONCLUSIVE


def rival(ruled_out: bool, holds: bool, n: float, evidence: str) -> tuple[str, str]:
    """Return a control's outcome over `n` seeds, with its evidence; undecided from one seed, which has no interval.

    ruled_out  whether the data exclude the rival explanation
    holds      whether they show it
    """
    if n < 2:
        return UNDECIDED, f"{evidence} ({SINGLE_SEED})"
    return RULED_OUT if ruled_out else RIVAL_HOLDS if holds else UNDECIDED, evidence


def interval_text(row, unit: str = "", spec: str = ".1f", with_n: bool = False) -> str:
    """Format a mean with its 95 % interval and, if wanted, the number of seeds: "12.3 % [11.0, 13.6], n = 5".

    row   a Series, mapping, dataclass or named tuple with mean, low, high and, for `with_n`, n
    spec  format specification of the three numbers
    """
    mean, low, high = (signed(_value(row, name), spec) for name in ("mean", "low", "high"))
    n = f", n = {_value(row, 'n'):.0f}" if with_n else ""
    return f"{mean}{unit and ' '}{unit} [{low}, {high}]{n}"


def signed(value: float, spec: str) -> str:
    """Format a number; what rounds to 0 is no negative 0."""
    text = format(value, spec)
    return format(0.0, spec) if float(text) == 0 else text


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


def _listed(sizes: Mapping[str, float]) -> str:
    *before, last = (f"{least:,g} {QUANTITIES[name]}" for name, least in sizes.items())
    return f"{', '.join(before)}{',' * (len(before) > 1)} and {last}" if before else last


def _shortfall(minimum: Mapping[str, float], scale: Scale) -> str:
    """Say what a run lacks; "" if nothing."""
    short = {name: least for name, least in minimum.items() if scale.sizes[name] < least}
    if not short:
        return ""
    return f"{_listed({name: scale.sizes[name] for name in short})}; it takes at least {_listed(short)}"
