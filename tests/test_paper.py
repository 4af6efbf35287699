"""The papers' numbers against a second transcription, and every rule on tables made to meet and to miss it."""
import re

import pandas as pd
import pytest

from posenc_lib import paper

# Typed a second time, in the order of the slide: padding, net, location at 3, 5, 7, image class at 3, 5, 7.
TABLE1 = """
zeros      gapnet      100   100   100   82.6  82.4  82.1
zeros      permutenet  78.8  37.8  21.4  73.6  72.2  69.9
reflect    gapnet      100   100   100   83.8  83.4  82.9
reflect    permutenet  78.3  36.3  23.2  71.1  71.4  65.7
replicate  gapnet      100   100   100   83.1  82.9  82.8
replicate  permutenet  78.3  40.1  23.6  72.0  71.5  71.4
"""
CLAIMS = [c for c in vars(paper).values() if isinstance(c, paper.Claim)]


def test_table_1_is_the_printed_one():
    printed = {}
    for line in TABLE1.split("\n")[1:-1]:
        padding, head, *numbers = line.split()
        cells = [(task, grid) for task in ("location", "image") for grid in (3, 5, 7)]
        printed |= {(padding, head, *cell): float(n) for cell, n in zip(cells, numbers, strict=True)}
    ours = paper.TABLE1.set_index(["padding_mode", "head", "task", "grid"])["paper"].to_dict()
    assert ours == printed and len(paper.TABLE1) == 36


def test_the_headline_numbers_are_those_of_table_1():
    zero = paper.TABLE1.query("padding_mode == 'zeros' and head == 'permutenet' and task == 'location'")
    for number in zero["paper"]:
        assert f"{number} %" in paper.PERMUTENET_LOCATION.printed


def test_claims_have_names_of_their_own():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 4
    assert all(claim.statement and claim.source and claim.control and claim.page for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_rule_names_every_verdict_and_is_the_judges_docstring(claim):
    assert re.findall(r"\*(.+?)\*", claim.rule.lower().replace("\n", " "))[:3] == [
        paper.REPRODUCED, paper.IN_DIRECTION, paper.NOT_REPRODUCED]
    assert " ".join(claim.rule.split()) == " ".join(claim.judge.__doc__.split())


def table(**means: float) -> pd.DataFrame:
    """The paper's own Table 1 (3x3) as this run's summary, intervals of one point on each side; circular at chance.

    means  what differs: head_task=value, in the replicate cell; interval_head_task, its half width
    """
    rows = paper.TABLE1[paper.TABLE1["grid"] == 3].copy()
    circular = rows[rows["padding_mode"] == "zeros"].assign(padding_mode="circular", paper=float("nan"))
    rows = pd.concat([rows, circular], ignore_index=True)
    rows["chance"] = rows["task"].map({"location": 100 / 9, "image": 10.0})
    rows["mean"] = rows["paper"].fillna(rows["chance"])
    half = pd.Series(1.0, rows.index)
    for name, value in means.items():
        *width, head, task = name.split("_")
        cell = (rows["padding_mode"] == "replicate") & (rows["head"] == head) & (rows["task"] == task)
        if width:
            half[cell] = value
        else:
            rows.loc[cell, "mean"] = value
    return rows.assign(backbone="resnet18", low=rows["mean"] - half, high=rows["mean"] + half, n=3)


@pytest.mark.parametrize("claim, means, verdict", [
    (paper.GAPNET_LOCATION, {}, paper.REPRODUCED),
    (paper.GAPNET_LOCATION, {"gapnet_location": 99.0}, paper.REPRODUCED),
    (paper.GAPNET_LOCATION, {"gapnet_location": 98.9}, paper.IN_DIRECTION),
    (paper.GAPNET_LOCATION, {"gapnet_location": 55.6}, paper.IN_DIRECTION),     # halfway is 55.56
    (paper.GAPNET_LOCATION, {"gapnet_location": 55.5}, paper.NOT_REPRODUCED),
    (paper.PERMUTENET_LOCATION, {}, paper.REPRODUCED),
    (paper.PERMUTENET_LOCATION, {"permutenet_location": 83.2}, paper.REPRODUCED),     # 4.9 off
    (paper.PERMUTENET_LOCATION, {"permutenet_location": 83.4}, paper.IN_DIRECTION),   # 5.1 off
    (paper.PERMUTENET_LOCATION, {"permutenet_location": 20.0}, paper.IN_DIRECTION),
    (paper.PERMUTENET_LOCATION, {"permutenet_location": 99.5}, paper.NOT_REPRODUCED),  # the interval reaches 100
    (paper.PERMUTENET_LOCATION, {"permutenet_location": 50, "interval_permutenet_location": 51}, paper.NOT_REPRODUCED),
    (paper.PERMUTENET_IMAGE, {}, paper.REPRODUCED),
    (paper.PERMUTENET_IMAGE, {"permutenet_image": 66.9, "permutenet_location": 60}, paper.IN_DIRECTION),
    (paper.PERMUTENET_IMAGE, {"permutenet_image": 67.1, "permutenet_location": 60}, paper.REPRODUCED),
    (paper.PERMUTENET_IMAGE, {"permutenet_image": 67.1, "permutenet_location": 90}, paper.NOT_REPRODUCED),
])
def test_table_1s_judges(claim, means, verdict):
    said, numbers = claim.judge(table(**means))
    assert said == verdict
    assert re.search(r"\d", numbers) and "nan" not in numbers


def test_semantics_and_location_are_compared_above_chance():
    """Image 45 of 80 % is halfway from chance; so is location at 55.6 of 100 %, though 45 / 80 > 55.6 / 100."""
    image = {"gapnet_image": 80.0, "permutenet_image": 45.0}
    assert paper.PERMUTENET_IMAGE.judge(table(**image, permutenet_location=55.5))[0] == paper.IN_DIRECTION
    assert paper.PERMUTENET_IMAGE.judge(table(**image, permutenet_location=55.6))[0] == paper.NOT_REPRODUCED


def test_nothing_is_said_of_the_shuffle_where_gapnet_has_learned_nothing():
    learned = table()
    idle = (learned["head"] == "gapnet") & (learned["task"] == "image") & (learned["padding_mode"] == "reflect")
    verdict, said = paper.PERMUTENET_IMAGE.judge(learned.assign(low=learned["low"].where(~idle, learned["chance"])))
    assert verdict == paper.NOT_TESTABLE and "not above chance in 1 of 6 cells; image, reflect" in said


def test_each_permutenet_is_compared_with_the_gapnet_of_its_own_backbone():
    weak = {"gapnet_image": 50, "permutenet_image": 45, "gapnet_location": 60, "permutenet_location": 20}
    both = pd.concat([table(permutenet_location=70), table(**weak).assign(backbone="nin")])   # 70 % is above NIN's 60
    said, numbers = paper.PERMUTENET_LOCATION.judge(both)
    assert said == paper.IN_DIRECTION and "of 6 cells" in numbers
    said, numbers = paper.PERMUTENET_IMAGE.judge(both)
    assert said == paper.IN_DIRECTION and "means of 6 cells" in numbers


def excess(zeros: float, reflect: float, replicate: float) -> pd.DataFrame:
    """Border energy above that in true surroundings, in doublings; trained networks have the given one, random 1."""
    rows = [(net, mode, mean, mean - 0.1, mean + 0.1) for net, means in
            (("random", (1, 1, 1)), ("trained", (zeros, reflect, replicate)))
            for mode, mean in zip(paper.PADDED, means, strict=True)]
    rows += [(net, "circular", -1.0, -1.1, -0.9) for net in ("random", "trained")]
    return pd.DataFrame(rows, columns=["net", "padding_mode", "mean", "low", "high"]).assign(n=3)


@pytest.mark.parametrize("means, verdict", [
    ((1, 0.2, 0.2), paper.REPRODUCED),
    ((1, 0.2, 0.05), paper.IN_DIRECTION),       # one interval reaches 0
    ((1, -1, -1), paper.IN_DIRECTION),
    ((0.05, 0.2, 0.2), paper.NOT_REPRODUCED),
])
def test_the_judge_of_padding_artifacts(means, verdict):
    said, numbers = paper.PADDING_ARTIFACTS.judge(excess(*means))
    assert said == verdict
    assert "n = 3" in numbers and "circular" not in numbers


def test_a_single_seed_is_not_judged():
    table = pd.DataFrame({"n": [3, 1]})
    for claim in paper.CLAIMS:
        assert claim.verdict(table) == (paper.NOT_TESTABLE, "one seed has no interval; run at least two")
