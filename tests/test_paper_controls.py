"""What could overturn a reading: every control's rule on tables made to meet it, and to just miss it."""
import re

import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import claim as paper
from posenc_lib.claims import gapnet_vs_permutenet, pretrained_decoding


def with_intervals(rows: list[tuple], columns: str, half: float, n: int = 3) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns.split())
    return table.assign(low=table["mean"] - half, high=table["mean"] + half, n=n)


def blind(off: float) -> pd.DataFrame:
    """GAPNet under circular padding at chance in three grids, `off` points from it in the last; PermuteNet and zero
    padding far from it."""
    rows = [("gapnet", "circular", "location", grid, 100 / grid ** 2 + off * (grid == 7), 100 / grid ** 2)
            for grid in (3, 5, 7)]
    rows += [("permutenet", "circular", "location", 3, 20.0, 11.1), ("gapnet", "zeros", "location", 3, 100.0, 11.1),
             ("gapnet", "zeros", "image", 3, 50.0, 10.0)]
    return with_intervals(rows, "head padding_mode task grid mean chance", 0)


@pytest.mark.parametrize("off, outcome", [(0, paper.PASSED), (0.49, paper.PASSED), (-0.49, paper.PASSED),
                                          (0.51, paper.NOT_PASSED), (-0.51, paper.NOT_PASSED)])
def test_gapnet_must_be_at_chance_under_circular_padding(off, outcome):
    said, numbers = gapnet_vs_permutenet.GAPNET_LOCATION.tried(blind(off))
    assert said == outcome
    assert off == 0 or f"chance (2.0 %) of 3 (backbone, grid): {100 / 49 + off:.1f} % [" in numbers


def test_without_circular_padding_the_control_of_gapnet_was_not_tried():
    table = blind(0)
    assert gapnet_vs_permutenet.GAPNET_LOCATION.tried(table[table["padding_mode"] != "circular"])[0] == paper.NOT_TRIED


def shuffled(half: float = 2, gapnet: float = 100, **means: float) -> pd.DataFrame:
    """Page 03's ways of shuffling; on a black canvas nothing is learned."""
    means = {"none": 99, "fixed": 98, "batch": 40, "sample": 38, "test": 12} | means
    rows = [("permutenet", order, "mean", mean) for order, mean in means.items()]
    rows += [("gapnet", "none", "mean", gapnet), ("gapnet", "none", "black", 5), ("permutenet", "none", "black", 5)]
    return with_intervals(rows, "head permutation fill mean", half).assign(chance=100 / 9)


@pytest.mark.parametrize("means, outcome", [
    ({}, paper.PASSED),
    ({"none": 95, "fixed": 95}, paper.PASSED),
    ({"none": 94.9}, paper.NOT_PASSED),                        # the head is worse, whatever the order
    ({"fixed": 94.9}, paper.NOT_PASSED),                       # any shuffle costs something
    ({"fixed": 105.1}, paper.NOT_PASSED),
    ({"batch": 93.9}, paper.PASSED),                           # up to 95.9, the others from 96
    ({"batch": 94}, paper.NOT_PASSED),
    ({"sample": 94}, paper.NOT_PASSED),
    ({"test": 94}, paper.NOT_PASSED),
    ({"half": 30}, paper.NOT_PASSED),                          # down to 68, up to 70
    ({"half": 28}, paper.PASSED),
    ({"gapnet": 13, "none": 13, "fixed": 13}, paper.NOT_TRIED),     # from 11, chance is 11.1
    ({"gapnet": 14, "none": 14, "fixed": 14}, paper.NOT_PASSED),
])
def test_only_an_order_that_changes_may_cost_the_location(means, outcome):
    said, numbers = gapnet_vs_permutenet.PERMUTENET_LOCATION.tried(shuffled(**means))
    assert said == outcome
    assert re.search(r"\d+\.\d % \[-?\d", numbers)


def answers(three: float, nine: float, gapnet: float = 5.0) -> pd.DataFrame:
    """What is kept, image class minus location, by number of answers, +- 2; GAPNet's own lower bound above chance."""
    return with_intervals([(3, three, 40.0), (9, nine, gapnet)], "answers mean gapnet", 2)


@pytest.mark.parametrize("table, outcome", [
    (answers(2.1, 2.1), paper.PASSED),
    (answers(2.0, 9), paper.NOT_PASSED),          # the interval starts at 0
    (answers(9, 1.9), paper.NOT_PASSED),
    (answers(-9, -9), paper.NOT_PASSED),
    (answers(9, 9, gapnet=0.1), paper.PASSED),
    (answers(9, 9, gapnet=0.0), paper.NOT_TRIED),
    (answers(9, float("nan"), gapnet=-3), paper.NOT_TRIED),
])
def test_semantics_must_survive_better_at_equally_many_answers(table, outcome):
    said, numbers = gapnet_vs_permutenet.PERMUTENET_IMAGE.tried(table)
    assert said == outcome
    assert said == paper.NOT_TRIED or ("9 answers" in numbers and "n = 3" in numbers)


def decoded(trained: float = 90, random: float = 80, blind: float = 0.0, half: float = 2) -> pd.DataFrame:
    """Page 04's last layers, in two grids: two trained networks, one at 3x3 as given, and their random twins."""
    rows = [(role, network, of, grid, mean, half) for grid in (3, 5) for role, network, of, mean in (
        ("trained", "a", "a, random", 90), ("trained", "b", "b, random", trained if grid == 3 else 90),
        ("random", "a, random", "a, random", 10), ("random", "b, random", "b, random", random if grid == 3 else 10))]
    rows += [("circular", "c", "c", grid, 100 / grid ** 2 + blind * (grid == 5), 0) for grid in (3, 5)]
    table = pd.DataFrame(rows, columns=["role", "network", "of", "grid", "mean", "half"])
    return table.assign(low=table["mean"] - table["half"], high=table["mean"] + table["half"], n=3,
                        chance=100 / table["grid"] ** 2)


@pytest.mark.parametrize("means, outcome", [
    ({}, paper.PASSED),
    ({"random": 85.9}, paper.PASSED),              # up to 87.9, trained from 88
    ({"random": 86}, paper.NOT_PASSED),
    ({"random": 99}, paper.NOT_PASSED),
    ({"trained": 84}, paper.NOT_PASSED),           # from 82, random up to 82
    ({"half": 4.9}, paper.PASSED),
    ({"half": 5}, paper.NOT_PASSED),
    ({"blind": 0.49}, paper.PASSED),
    ({"blind": 0.51}, paper.NOT_PASSED),           # a reader that tells what is not there
])
def test_training_must_tell_more_than_random_weights(means, outcome):
    said, numbers = pretrained_decoding.PRETRAINED_LOCATION.tried(decoded(**means))
    assert said == outcome
    assert "b, 3×3: " in numbers and re.search(r"n = 3, random \d", numbers) and "nan" not in numbers


@pytest.mark.parametrize(
    "claim, table",
    [
        (gapnet_vs_permutenet.GAPNET_LOCATION, blind(0)),
        (gapnet_vs_permutenet.PERMUTENET_LOCATION, shuffled()),
        (gapnet_vs_permutenet.PERMUTENET_IMAGE, answers(9, 9)),
        (pretrained_decoding.PRETRAINED_LOCATION, decoded()),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_a_control_of_a_single_seed_was_not_tried(claim, table):
    assert claim.tried(table.assign(n=1)) == (paper.NOT_TRIED, "one seed has no interval; run at least two")
    assert claim.tried(table.assign(n=2))[0] in (paper.PASSED, paper.NOT_PASSED)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_what_has_not_been_run_is_neither_a_verdict_nor_an_error(claim):
    assert claim.verdict(pd.DataFrame()) == (paper.NOT_TESTABLE, "not run yet")
    assert claim.outcome(pd.DataFrame()) == (paper.NOT_TRIED, "not run yet")


def test_a_control_of_which_a_part_was_run_is_not_tried():
    table = with_intervals([("gapnet", "none", 100.0), ("permutenet", "batch", 80.0)], "head permutation mean", 1)
    outcome, because = gapnet_vs_permutenet.PERMUTENET_LOCATION.outcome(table.assign(fill="mean", chance=11.1))
    assert outcome == paper.NOT_TRIED and "not every way" in because
    table = with_intervals([(9, 5.0, 40.0)], "answers mean gapnet", 1)
    outcome, because = gapnet_vs_permutenet.PERMUTENET_IMAGE.outcome(table)
    assert outcome == paper.NOT_TRIED and "with 3 and with 9" in because
