"""The papers' numbers against a second transcription, and every rule on tables made to meet and to miss it."""
import re

import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import (
    augshift,
    gapnet_vs_permutenet,
    padding_artifacts,
    pedestrian_detection,
    posenet_readout,
    pretrained_decoding,
    region_attack,
)
from posenc_lib.claims import claim as paper
from posenc_lib.run.config import PROJECT

MODULES = (padding_artifacts, posenet_readout, gapnet_vs_permutenet, pretrained_decoding, augshift, region_attack,
           pedestrian_detection)
CLAIMS = [c for module in MODULES for c in vars(module).values() if isinstance(c, paper.Claim)]


def test_claims_have_names_of_their_own():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 4
    assert all(claim.statement and claim.source and claim.control and claim.page for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_rule_names_every_verdict_and_is_the_judges_docstring(claim):
    assert re.findall(r"\*(.+?)\*", claim.rule.lower().replace("\n", " "))[:3] == [
        paper.REPRODUCED, paper.IN_DIRECTION, paper.NOT_REPRODUCED]
    assert " ".join(claim.rule.split()) == " ".join(claim.judge.__doc__.split())


def excess(zeros: float, reflect: float, replicate: float) -> pd.DataFrame:
    """Border energy above that in true surroundings, in doublings; trained networks have the given one, random 1."""
    rows = [(net, mode, mean, mean - 0.1, mean + 0.1) for net, means in
            (("random", (1, 1, 1)), ("trained", (zeros, reflect, replicate)))
            for mode, mean in zip(gapnet_vs_permutenet.PADDED, means, strict=True)]
    rows += [(net, "circular", -1.0, -1.1, -0.9) for net in ("random", "trained")]
    return pd.DataFrame(rows, columns=["net", "padding_mode", "mean", "low", "high"]).assign(n=3)


@pytest.mark.parametrize("means, verdict", [
    ((1, 0.2, 0.2), paper.REPRODUCED),
    ((1, 0.2, 0.05), paper.IN_DIRECTION),       # one interval reaches 0
    ((1, -1, -1), paper.IN_DIRECTION),
    ((0.05, 0.2, 0.2), paper.NOT_REPRODUCED),
])
def test_the_judge_of_padding_artifacts(means, verdict):
    said, numbers = padding_artifacts.PADDING_ARTIFACTS.judge(excess(*means))
    assert said == verdict
    assert "n = 3" in numbers and "circular" not in numbers


def test_a_single_seed_is_not_judged():
    table = pd.DataFrame({"n": [3, 1]})
    for claim in claims.CLAIMS:
        assert claim.verdict(table) == (paper.NOT_TESTABLE, "one seed has no interval; run at least two")


def test_every_claim_is_on_the_list_and_has_a_page_in_the_order_of_the_pages():
    assert sorted(c.id for c in claims.CLAIMS) == sorted(c.id for c in CLAIMS)
    pages = [claim.page for claim in claims.CLAIMS]
    assert pages == sorted(pages)
    for name in pages:
        assert (PROJECT / "notebooks" / f"{name}.py").is_file()


def test_every_printed_cell_of_the_readouts_stands_once():
    cells = posenet_readout.POSENET
    assert cells["table"].value_counts().to_dict() == {
        "1": 60, "2a": 18, "2b": 18, "3": 12, "4": 15, "6": 36, "Fig. 6": 5}
    assert not cells.duplicated(["table", "variant", "target", "images"]).any()
    assert cells["paper_spc"].between(-1, 1).all() and cells["paper_mae"].between(0, 1).all()


def test_cells_that_the_paper_prints_in_several_tables_agree_but_for_one_of_its_own():
    cells = posenet_readout.POSENET[
        (posenet_readout.POSENET["images"] == "natural") & (posenet_readout.POSENET["table"] != "Fig. 6")
    ]
    same = {"PosENet, 1 layer": "PosENet", "PosENet, 3x3": "PosENet", "VGG, 1 layer": "VGG", "VGG, 3x3": "VGG",
            "VGG, all stages": "VGG"}
    cells = cells.assign(variant=cells["variant"].replace(same))
    printed = cells.groupby(["variant", "target"])[["paper_spc", "paper_mae"]].agg(set)
    assert printed["paper_spc"].map(len).max() == 1
    odd = printed["paper_mae"][printed["paper_mae"].map(len) > 1]
    assert odd.to_dict() == {("PosENet", "HS"): {0.712, 0.723}}
    assert cells.groupby(["variant", "target"]).size()["VGG", "H"] == 6


def test_every_cell_of_the_readouts_is_set_against_one_that_is_there_or_is_one():
    there = set(
        zip(
            posenet_readout.POSENET["table"],
            posenet_readout.POSENET["variant"],
            posenet_readout.POSENET["target"],
            strict=True,
        )
    )
    bases = {(table, base) for (table, _), base in posenet_readout.POSENET_AGAINST.items()}
    for table, variant, target in there:
        assert ((table, variant) in bases) != ((table, variant) in posenet_readout.POSENET_AGAINST)
        base = posenet_readout.POSENET_AGAINST.get((table, variant), variant)
        assert (table, base, target) in there, f"{base} of Table {table} has no {target}"
    assert set(posenet_readout.POSENET_AGAINST) | bases == {cell[:2] for cell in there}


NAN = float("nan")


def readouts(half: float, means: dict[str, float]) -> pd.DataFrame:
    """The paper's own cells as this run's summary, intervals of `half` on each side.

    means  what differs on natural images: "table/variant/target" -> mean
    """
    rows = posenet_readout.POSENET[posenet_readout.POSENET["table"] != "Fig. 6"].copy()
    rows["mean"] = rows["paper_spc"]
    for name, value in means.items():
        table, variant, target = name.split("/")
        cell = (rows["table"] == table) & (rows["variant"] == variant) & (rows["target"] == target)
        assert cell.any(), name
        rows.loc[cell & (rows["images"] == "natural"), "mean"] = value
    return rows.assign(network=rows["variant"], low=rows["mean"] - half, high=rows["mean"] + half, n=3)


@pytest.mark.parametrize(
    "claim, half, means, verdict",
    [
        (posenet_readout.POSENET_READOUT, 0.005, {}, paper.REPRODUCED),
        (posenet_readout.POSENET_READOUT, 0.005, {"1/VGG/H": 0.643}, paper.REPRODUCED),  # 0.099 below
        (posenet_readout.POSENET_READOUT, 0.005, {"1/ResNet/V": 0.85}, paper.IN_DIRECTION),  # 0.101 below
        (posenet_readout.POSENET_READOUT, 0.005, {"1/VGG/V": 0.142}, paper.IN_DIRECTION),  # pixels reach 0.136
        (posenet_readout.POSENET_READOUT, 0.005, {"1/VGG/V": 0.140}, paper.NOT_REPRODUCED),
        (posenet_readout.POSENET_READOUT, 0.005, {"1/PosENet/VS": 0.38}, paper.NOT_REPRODUCED),  # pixels know it too
        (posenet_readout.POSENET_READOUT, 0.005, {"1/PosENet/H": NAN}, paper.REPRODUCED),  # a constant map counts 0
        (posenet_readout.POSENET_READOUT, 0.005, {"1/PosENet/H": NAN, "1/VGG/H": 0.004}, paper.NOT_REPRODUCED),
        (posenet_readout.POSENET_READOUT, 0.005, {"1/ResNet/G": NAN}, paper.NOT_REPRODUCED),
        (posenet_readout.POSENET_SIZE, 0.005, {}, paper.REPRODUCED),
        (posenet_readout.POSENET_SIZE, 0.02, {}, paper.IN_DIRECTION),  # intervals overlap
        (posenet_readout.POSENET_SIZE, 0.005, {"2a/VGG, 2 layers/G": 0.84}, paper.IN_DIRECTION),  # then falls to 0.835
        (posenet_readout.POSENET_SIZE, 0.005, {"2b/VGG, 3x3/H": 0.83}, paper.IN_DIRECTION),
        (posenet_readout.POSENET_SIZE, 0.005, {"2a/VGG, 3 layers/G": 0.81}, paper.NOT_REPRODUCED),
        (posenet_readout.POSENET_SIZE, 0.005, {"2b/VGG, 7x7/HS": 0.31}, paper.NOT_REPRODUCED),
        (
            posenet_readout.POSENET_SIZE,
            0.005,
            {"2a/PosENet, 3 layers/H": -1},
            paper.REPRODUCED,
        ),  # it is about the network
        (posenet_readout.POSENET_DEPTH, 0.005, {}, paper.REPRODUCED),
        (posenet_readout.POSENET_DEPTH, 0.3, {}, paper.IN_DIRECTION),
        (posenet_readout.POSENET_DEPTH, 0.005, {"3/VGG, stage 3/G": 0.66}, paper.IN_DIRECTION),
        (
            posenet_readout.POSENET_DEPTH,
            0.005,
            {"3/VGG, all stages/H": 0.65},
            paper.IN_DIRECTION,
        ),  # stage 5 alone has 0.657
        (posenet_readout.POSENET_DEPTH, 0.005, {"3/VGG, stage 5/H": 0.1}, paper.NOT_REPRODUCED),
        (posenet_readout.POSENET_PADDING, 0.005, {}, paper.REPRODUCED),
        (
            posenet_readout.POSENET_PADDING,
            0.005,
            {"4/PosENet, padding 1/G": 0.39},
            paper.IN_DIRECTION,
        ),  # then falls to 0.380
        (posenet_readout.POSENET_PADDING, 0.15, {}, paper.IN_DIRECTION),  # pixels overlap on HS
        (
            posenet_readout.POSENET_PADDING,
            0.005,
            {"4/VGG, padding removed/HS": 0.397},
            paper.NOT_REPRODUCED,
        ),  # reaches 0.402
        (posenet_readout.POSENET_TASK, 0.005, {}, paper.REPRODUCED),
        (posenet_readout.POSENET_TASK, 0.1, {}, paper.IN_DIRECTION),  # G: 0.914 against 0.871
        (posenet_readout.POSENET_TASK, 0.005, {"6/VGG, segmentation/G": 0.81}, paper.NOT_REPRODUCED),
    ],
)
def test_the_readouts_judges(claim, half, means, verdict):
    said, numbers = claim.judge(readouts(half, means))
    assert said == verdict
    assert re.search(r"[+-]\d\.\d\d±\d\.\d\d", numbers) and numbers.endswith("n = 3")
    assert "nan" not in numbers or NAN in means.values()


def test_black_and_white_and_noise_images_have_no_part_in_the_readouts_verdicts():
    rows = readouts(0.005, {})
    rows.loc[rows["images"] != "natural", ["mean", "low", "high"]] = -1.0
    for claim in (posenet_readout.POSENET_READOUT, posenet_readout.POSENET_TASK):
        assert claim.judge(rows)[0] == paper.REPRODUCED


