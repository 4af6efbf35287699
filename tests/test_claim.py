"""A claim is judged from a data frame or from typed rows; means and intervals have one form."""
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import pytest

from posenc_lib.claims import claim


class Row(NamedTuple):
    mean: float
    low: float
    high: float
    n: int | None


def holds(rows):
    """*Reproduced* always."""
    return claim.REPRODUCED, f"{len(rows)} rows"


def near(rows):
    """*Near the paper* always."""
    return claim.NEAR, "n = 1"


CLAIM = claim.Claim("id", "03_page", "Statement", "Source, Table 1", "5 %", holds, "control", holds, "03_figure",
                    minimum={"steps": 1000, "width": 16})
LARGE = claim.Scale({"steps": 1000, "width": 64})


@pytest.mark.parametrize("seeds, verdict", [
    ([], (claim.NOT_TESTABLE, "not run yet")),
    ([3, 1], (claim.NOT_TESTABLE, "one seed has no interval; run at least two")),
    ([None], (claim.NOT_TESTABLE, "one seed has no interval; run at least two")),
    ([2, 3], (claim.REPRODUCED, "2 rows")),
    ([2, None], (claim.REPRODUCED, "2 rows")),   # one of them was not run
])
def test_a_claim_needs_rows_and_two_seeds_to_be_judged(seeds, verdict):
    rows = [Row(1.0, 0.5, 1.5, n) for n in seeds]
    frame = pd.DataFrame(rows, columns=Row._fields).astype({"n": float})
    assert CLAIM.verdict(rows, LARGE) == verdict == CLAIM.verdict(frame, LARGE)


def test_a_single_seed_is_judged_where_there_is_a_rule_for_it():
    rows = [Row(1.0, float("nan"), float("nan"), 1)]
    one = replace(CLAIM, judge_one=near)
    assert one.verdict(rows, LARGE) == (claim.NEAR, "n = 1")
    assert one.verdict(rows, replace(LARGE, substitutes="width 16 for 64"))[0] == claim.NOT_TESTABLE


@pytest.mark.parametrize("sizes, evidence", [
    ({"steps": 999, "width": 16}, "999 training steps; it takes at least 1,000 training steps"),
    ({"steps": 1000, "width": 8}, "8 channels in the first stage; it takes at least 16 channels in the first stage"),
    ({"steps": 9, "width": 8}, "9 training steps and 8 channels in the first stage; it takes at least 1,000 training "
                               "steps and 16 channels in the first stage"),
])
def test_below_its_minimum_a_claim_is_not_testable_and_its_control_not_tried(sizes, evidence):
    rows, small = [Row(1.0, 0.5, 1.5, 3)], claim.Scale(sizes)
    assert CLAIM.verdict(rows, small) == (claim.NOT_TESTABLE, evidence)
    assert CLAIM.control_outcome(rows, small) == (claim.NOT_TRIED, evidence)
    exact = replace(CLAIM, control_minimum={})
    assert exact.control_outcome(rows, small) == (claim.REPRODUCED, "1 rows")


def test_what_is_reproduced_with_other_data_is_so_on_a_substitute():
    other = replace(LARGE, substitutes="digits for CIFAR-10")
    rows = [Row(1.0, 0.5, 1.5, 3)]
    assert CLAIM.verdict(rows, other) == (claim.SUBSTITUTE, "1 rows; digits for CIFAR-10")
    assert replace(CLAIM, judge=lambda rows: (claim.CONTRADICTED, "")).verdict(rows, other) == (claim.CONTRADICTED, "")


def test_a_rule_says_what_it_needs():
    assert CLAIM.rule == "*Reproduced* always. Needs at least 1,000 training steps and 16 channels in the first stage."


def test_a_control_needs_rows_to_be_judged():
    assert CLAIM.control_outcome([], LARGE) == (claim.NOT_TRIED, "not run yet")
    assert CLAIM.control_outcome([Row(1.0, 0.5, 1.5, 1)], LARGE) == (claim.REPRODUCED, "1 rows")


@pytest.mark.parametrize("intervals, verdict", [
    ([], claim.NOT_TESTABLE),
    ([(0.1, 5)], claim.IN_DIRECTION), ([(0.1, 5), (-0.1, 5)], claim.INCONCLUSIVE),
    ([(-1, 1.1)], claim.INCONCLUSIVE), ([(-1, 0.9)], claim.CONTRADICTED), ([(-5, -1)], claim.CONTRADICTED),
    ([(0.1, 0.9)], claim.IN_DIRECTION),   # small, and there
    ([(-1, 5), (-1, 0.9)], claim.CONTRADICTED),
])
def test_noise_is_not_contradiction(intervals, verdict):
    rows = [Row((low + high) / 2, low, high, 3) for low, high in intervals]
    assert claim.direction(rows, smallest=1) == verdict


@pytest.mark.parametrize("ruled_out, holds, n, outcome", [
    (True, False, 2, claim.RULED_OUT), (False, True, 2, claim.RIVAL_HOLDS), (False, False, 2, claim.UNDECIDED),
    (True, False, 1, claim.UNDECIDED),
])
def test_a_rival_explanation_is_ruled_out_holds_or_is_undecided(ruled_out, holds, n, outcome):
    assert claim.rival(ruled_out, holds, n, "numbers")[0] == outcome


def test_a_claim_is_referred_to_with_its_number_if_the_paper_prints_one():
    assert CLAIM.reference == "Source, Table 1: 5 %"
    unprinted = replace(CLAIM, source="Source", paper_value="")
    assert unprinted.reference == "Source"


@pytest.mark.parametrize("kind", [lambda row: row, Row._asdict, lambda row: pd.Series(row._asdict())])
def test_an_interval_is_formatted_the_same_from_every_kind_of_row(kind):
    row = kind(Row(12.34, -1.0, 25.66, 3))
    assert claim.interval(row) == "12.3 % [-1.0, 25.7], n = 3"
    assert claim.points(row) == "+12.3 points [-1.0, +25.7]"
    assert claim.interval_text(row, spec="+.2f", with_n=True) == "+12.34 [-1.00, +25.66], n = 3"
