"""What could overturn a reading: every control's rule on tables made to meet it, and to just miss it."""

import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import claim as paper


def with_intervals(rows: list[tuple], columns: str, half: float, n: int = 3) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns.split())
    return table.assign(low=table["mean"] - half, high=table["mean"] + half, n=n)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_what_has_not_been_run_is_neither_a_verdict_nor_an_error(claim):
    assert claim.verdict(pd.DataFrame()) == (paper.NOT_TESTABLE, "not run yet")
    assert claim.control_outcome(pd.DataFrame()) == (paper.NOT_TRIED, "not run yet")
