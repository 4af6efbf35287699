"""A claim is judged from a data frame or from typed rows; means and intervals have one form."""
from typing import NamedTuple

import pandas as pd
import pytest

from posenc_lib.claims import claim


class Row(NamedTuple):
    mean: float
    low: float
    high: float
    n: int | None


def passes(rows):
    """*Reproduced* always."""
    return claim.REPRODUCED, f"{len(rows)} rows"


CLAIM = claim.Claim("id", "03_page", "Statement", "Source, Table 1", "5 %", passes, "control", passes, "03_figure")


@pytest.mark.parametrize("seeds, verdict", [
    ([], (claim.NOT_TESTABLE, "not run yet")),
    ([3, 1], (claim.NOT_TESTABLE, "one seed has no interval; run at least two")),
    ([None], (claim.NOT_TESTABLE, "one seed has no interval; run at least two")),
    ([2, 3], (claim.REPRODUCED, "2 rows")),
    ([2, None], (claim.REPRODUCED, "2 rows")),   # one of them was not run
])
def test_a_claim_needs_rows_and_two_seeds_to_be_judged(seeds, verdict):
    rows = [Row(1.0, 0.5, 1.5, n) for n in seeds]
    assert CLAIM.verdict(rows) == verdict == CLAIM.verdict(pd.DataFrame(rows, columns=Row._fields).astype({"n": float}))


def test_a_control_needs_rows_to_be_judged():
    assert CLAIM.control_outcome([]) == (claim.NOT_TRIED, "not run yet")
    assert CLAIM.control_outcome([Row(1.0, 0.5, 1.5, 1)]) == (claim.REPRODUCED, "1 rows")


def test_a_claim_is_referred_to_with_its_number_if_the_paper_prints_one():
    assert CLAIM.reference == "Source, Table 1: 5 %"
    unprinted = claim.Claim("id", "03_page", "Statement", "Source", "", passes, "control", passes, "03_figure")
    assert unprinted.reference == "Source"


@pytest.mark.parametrize("kind", [lambda row: row, Row._asdict, lambda row: pd.Series(row._asdict())])
def test_an_interval_is_formatted_the_same_from_every_kind_of_row(kind):
    row = kind(Row(12.34, -1.0, 25.66, 3))
    assert claim.interval(row) == "12.3 % [-1.0, 25.7], n = 3"
    assert claim.points(row) == "+12.3 points [-1.0, +25.7]"
    assert claim.interval_text(row, spec="+.2f", with_n=True) == "+12.34 [-1.00, +25.66], n = 3"
