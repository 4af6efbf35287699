"""What could overturn a reading is, like a claim, not judged before it has been run."""
import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import claim as paper


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_what_has_not_been_run_is_neither_a_verdict_nor_an_error(claim):
    assert claim.verdict(pd.DataFrame(), paper.Scale()) == (paper.NOT_TESTABLE, "not run yet")
    assert claim.control_outcome(pd.DataFrame(), paper.Scale()) == (paper.NOT_TRIED, "not run yet")
