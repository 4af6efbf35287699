"""What could overturn a reading: every control's rule on tables made to meet it, and to just miss it."""
import re

import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import augshift
from posenc_lib.claims import claim as paper


def with_intervals(rows: list[tuple], columns: str, half: float, n: int = 3) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns.split())
    return table.assign(low=table["mean"] - half, high=table["mean"] + half, n=n)


def gains(half: float = 0.5, **means: float) -> pd.DataFrame:
    """Page 05's gains in points, of Cons.8, with less of Cons.16, and of top-1."""
    means = {"term": 3.0, "crops": 2.0, "compute": -1.0} | means
    pairs = {("augshift", "crops"): means["term"], ("crops", "blurpool"): means["crops"],
             ("augshift", "baseline, twice as long"): -9.0, ("augshift", "baseline"): -9.0, ("crops", "baseline"): -9.0}
    rows = [("cifar10", *pair, "cons8", True, mean) for pair, mean in pairs.items()]
    rows += [("cifar10", *pair, measure, False, -9.0) for pair in pairs for measure in ("cons16", "top1")
             if (pair[1], measure) != ("baseline, twice as long", "top1")]
    rows += [("cifar10", "augshift", "baseline, twice as long", "top1", False, means["compute"])]
    return with_intervals(rows, "dataset method against measure first mean", half)


@pytest.mark.parametrize("claim, means, outcome", [
    (augshift.AUGSHIFT_CONSISTENCY, {}, paper.PASSED),
    (augshift.AUGSHIFT_CONSISTENCY, {"term": 0.51}, paper.PASSED),
    (augshift.AUGSHIFT_CONSISTENCY, {"term": 0.5}, paper.NOT_PASSED),
    (augshift.AUGSHIFT_CONSISTENCY, {"term": -3}, paper.NOT_PASSED),
    (augshift.AUGSHIFT_ACCURACY, {}, paper.PASSED),
    (augshift.AUGSHIFT_ACCURACY, {"compute": -1.49}, paper.PASSED),
    (augshift.AUGSHIFT_ACCURACY, {"compute": -1.5}, paper.NOT_PASSED),
    (augshift.AUGSHIFT_BLURPOOL, {"term": 3.1}, paper.PASSED),        # from 2.6, the crops' lead up to 2.5
    (augshift.AUGSHIFT_BLURPOOL, {"term": 3.0}, paper.NOT_PASSED),
    (augshift.AUGSHIFT_BLURPOOL, {"term": 0.51, "crops": -3}, paper.PASSED),
    (augshift.AUGSHIFT_BLURPOOL, {"term": 0.5, "crops": -3}, paper.NOT_PASSED),
])
def test_crops_and_longer_training_must_not_do_what_augshift_does(claim, means, outcome):
    said, numbers = claim.judge_control(gains(**means))
    assert said == outcome
    assert re.search(r"[+-]\d\.\d points \[[+-]\d", numbers) and "n = 3" in numbers and "-9.0" not in numbers


def fills(true: float, identity: float = 100) -> pd.DataFrame:
    return with_intervals([("black", 20), ("reflect", 9), ("circular", 8), ("true", true), ("identity", identity)],
                          "fill mean", 1)


@pytest.mark.parametrize("table, outcome", [
    (fills(1.1), paper.PASSED), (fills(1.0), paper.NOT_PASSED), (fills(-2), paper.NOT_PASSED),
    (fills(5, identity=99), paper.PASSED), (fills(5, identity=98.9), paper.NOT_PASSED)])
def test_augshift_must_gain_whatever_the_border_shows(table, outcome):
    said, numbers = augshift.AUGSHIFT_SHIFTS.judge_control(table)
    assert said == outcome
    assert "black +20.0 points [+19.0, +21.0]" in numbers and "n = 3" in numbers


@pytest.mark.parametrize(
    "claim, table",
    [
        (augshift.AUGSHIFT_CONSISTENCY, gains()),
        (augshift.AUGSHIFT_ACCURACY, gains()),
        (augshift.AUGSHIFT_BLURPOOL, gains()),
        (augshift.AUGSHIFT_SHIFTS, fills(5)),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_a_control_of_a_single_seed_was_not_tried(claim, table):
    assert claim.judge_control(table.assign(n=1)) == (paper.NOT_TRIED, "one seed has no interval; run at least two")
    assert claim.judge_control(table.assign(n=2))[0] in (paper.PASSED, paper.NOT_PASSED)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_what_has_not_been_run_is_neither_a_verdict_nor_an_error(claim):
    assert claim.verdict(pd.DataFrame()) == (paper.NOT_TESTABLE, "not run yet")
    assert claim.control_outcome(pd.DataFrame()) == (paper.NOT_TRIED, "not run yet")
