"""The controls of pages 01 and 02, and Table 5 of ICLR 2020: every rule on runs made to meet it and to just miss it."""
import re

import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import claim as paper
from posenc_lib.claims import padding_artifacts, posenet_readout
from posenc_lib.nets.padding import PADDING_MODES

NAN = float("nan")
SEEDS = (-1, 0, 1)   # a seed's number, and its sign in every spread below

# Typed a second time: saliency's F and MAE on ECSSD, PASCAL-S and DUT-OMRON, then VOC 2012's mean IoU.
TABLE5 = """
VGG, without padding  .36 .48  .32 .48  .25 .48  12.3
VGG                   .78 .17  .66 .21  .63 .18  23.1
"""


def test_table_5_is_the_printed_one():
    printed = {}
    for line in TABLE5.split("\n")[1:-1]:
        variant, *numbers = re.split(r"  +| (?=\.\d)", line)
        cells = [(d, m) for d in ("ECSSD", "PASCAL-S", "DUT-OMRON") for m in ("F", "MAE")] + [("VOC 2012", "mean IoU")]
        printed |= {(variant, *cell): float(n) for cell, n in zip(cells, numbers, strict=True)}
    assert posenet_readout.TABLE5.set_index(["variant", "dataset", "measure"])["paper"].to_dict() == printed
    assert claims.TABLES["ICLR 2020, Table 5"] == ("VGG", "VGG, without padding")
    value = posenet_readout.TABLE5.set_index(["variant", "measure"])["paper"]
    for number in (value["VGG", "mean IoU"], value["VGG, without padding", "mean IoU"]):
        assert f"{number}" in posenet_readout.POSENET_SCRATCH.paper_value


def crossed(run_with: float, trained: float, spread: float = 0.0, seeds=SEEDS, line: float = 1.0) -> pd.DataFrame:
    """Excess of networks by what they were trained and are run with: `line` under zeros where neither moves it; the
    first mode is `run_with` (in columns) or `trained` (in rows) away from the others, with a spread over seeds."""
    return pd.DataFrame([
        {"trained": was, "padding_mode": mode, "seed": seed,
         "excess": line + run_with * (mode == "zeros") + trained * (was == "zeros") + spread * seed * (mode == "zeros")}
        for was in PADDING_MODES for mode in PADDING_MODES for seed in seeds])


@pytest.mark.parametrize("changes, outcome", [
    ({"run_with": 1, "trained": 0.2}, paper.PASSED),
    ({"run_with": 1, "trained": 0.99}, paper.PASSED),
    ({"run_with": 1, "trained": 1.01}, paper.NOT_PASSED),                      # the weights do as much
    ({"run_with": -1, "trained": 0.2, "line": 1.01}, paper.PASSED),            # run with zeros: 0.01
    ({"run_with": -1, "trained": 0.2, "line": 0.99}, paper.NOT_PASSED),        # who never saw zeros has no line
    ({"run_with": 1, "trained": 0.8, "line": 9, "spread": 0.07}, paper.PASSED),      # 0.20 +- 0.17
    ({"run_with": 1, "trained": 0.8, "line": 9, "spread": 0.09}, paper.NOT_PASSED),  # 0.20 +- 0.22
    ({"run_with": 1, "trained": 0, "seeds": (0,)}, paper.NOT_TRIED),
])
def test_the_line_must_go_with_the_padding_and_not_with_the_weights(changes, outcome):
    said, numbers = padding_artifacts.PADDING_ARTIFACTS.judge_control(crossed(**changes))
    assert said == outcome
    assert outcome == paper.NOT_TRIED or ("n = 3" in numbers and "nan" not in numbers)


# (table, variant, network): SPC on H, V, G, HS, VS, where it is not the last row's
RUNS = {
    ("1", "PosENet", "pixels"): 0.0, ("1", "VGG", "small, photographs"): 0.8, ("1", "VGG", "vgg16, ImageNet"): 0.8,
    ("untrained", "zeros", "small, random"): 0.4, ("untrained ImageNet", "vgg16", "vgg16, random"): 0.4,
    ("untrained", "reflect", "small, random, reflect"): 0.9,
    **{("2a", f"{net}, {n} layer{'s' * (n > 1)}", net): 0.1 * n * (net == "VGG") for net in ("VGG", "PosENet")
       for n in (1, 2, 3)},
    **{("2b", f"{net}, {k}x{k}", net): 0.1 * k * (net == "VGG") for net in ("VGG", "PosENet") for k in (1, 3, 7)},
    **{(table, f"VGG, stage {n}", "VGG"): 0.1 * n for table in ("3", "matched") for n in (1, 2, 3, 4)},
    ("3", "VGG, all stages", "VGG"): 0.1,
    ("trained", "zeros", "small, photographs"): 0.6, ("trained", "none", "small, photographs, none"): 0.1,
    ("6", "VGG", "small, photographs"): 0.8, ("6", "VGG, segmentation", "small, digits_on_photos"): 0.8,
}


def runs(changes: dict[str, float], spread: float = 0.0, seeds=SEEDS) -> pd.DataFrame:
    """Page 02's runs, all maps alike.  changes  "table/variant/target", or with the network: mean; `spread` of its
    seeds; noise images, which nothing is judged by, are far off."""
    rows = [{"table": table, "variant": variant, "network": network, "target": target, "images": images, "seed": seed,
             "spc": spc if images == "natural" else -1.0}
            for (table, variant, network), spc in RUNS.items() for target in ("H", "V", "G", "HS", "VS", "shuffled H")
            for images in ("natural", "noise") for seed in seeds]
    frame = pd.DataFrame(rows)
    for name, mean in changes.items():
        table, variant, target, *network = name.split("/")
        cell = (frame["table"] == table) & (frame["variant"] == variant) & (frame["target"] == target)
        cell &= (frame["images"] == "natural") & frame["network"].isin(network or frame["network"])
        assert cell.any(), name
        frame.loc[cell, "spc"] = mean + spread * frame["seed"][cell]
    return frame.astype({"spc": object}).replace({"spc": {NAN: None}})


T = 2.484   # half the 95 % interval of -1, 0, 1: 4.303 / sqrt(3)


@pytest.mark.parametrize(
    "claim, changes, spread, outcome",
    [
        (posenet_readout.POSENET_READOUT, {}, 0, paper.PASSED),
        (posenet_readout.POSENET_READOUT, {"1/VGG/V/vgg16, ImageNet": 0.41}, 0, paper.PASSED),
        (posenet_readout.POSENET_READOUT, {"1/VGG/V/vgg16, ImageNet": 0.4}, 0, paper.NOT_PASSED),  # equal is not above
        (posenet_readout.POSENET_READOUT, {"untrained/zeros/VS": 0.81}, 0, paper.NOT_PASSED),
        (posenet_readout.POSENET_READOUT, {"untrained ImageNet/vgg16/H": 0.81}, 0, paper.NOT_PASSED),
        (posenet_readout.POSENET_READOUT, {"1/VGG/G/small, photographs": 0.42}, 0.019 / T, paper.PASSED),
        (posenet_readout.POSENET_READOUT, {"1/VGG/G/small, photographs": 0.42}, 0.021 / T, paper.NOT_PASSED),
        (posenet_readout.POSENET_READOUT, {"1/VGG/shuffled H": 0.0}, 0, paper.PASSED),  # none of the paper's maps
        (posenet_readout.POSENET_READOUT, {"untrained/zeros/H": NAN}, 0, paper.PASSED),  # undefined counts 0
        (posenet_readout.POSENET_SIZE, {}, 0, paper.PASSED),
        (posenet_readout.POSENET_SIZE, {"2a/PosENet, 3 layers/H": 0.19}, 0, paper.PASSED),  # the network gains 0.2
        (posenet_readout.POSENET_SIZE, {"2a/PosENet, 3 layers/H": 0.21}, 0, paper.NOT_PASSED),
        (posenet_readout.POSENET_SIZE, {"2b/PosENet, 7x7/HS": 0.61}, 0, paper.NOT_PASSED),  # 0.6
        (posenet_readout.POSENET_SIZE, {"2b/PosENet, 7x7/HS": 0.58}, 0.019 / T, paper.PASSED),
        (posenet_readout.POSENET_SIZE, {"2b/PosENet, 7x7/HS": 0.58}, 0.021 / T, paper.NOT_PASSED),
        (posenet_readout.POSENET_SIZE, {"2a/PosENet, 3 layers/V": 0.9}, 0, paper.PASSED),  # not a map of Table 2
        (
            posenet_readout.POSENET_SIZE,
            {"2a/VGG, 3 layers/H": 0.1, "2a/PosENet, 3 layers/H": 0.5},
            0,
            paper.PASSED,
        ),  # no gain to ask
        (
            posenet_readout.POSENET_SIZE,
            {f"{end}/{on}": 0.0 for end in ("2a/VGG, 3 layers", "2b/VGG, 7x7") for on in ("H", "G", "HS")},
            0,
            paper.NOT_TRIED,
        ),
        (posenet_readout.POSENET_DEPTH, {}, 0, paper.PASSED),
        (posenet_readout.POSENET_DEPTH, {"matched/VGG, stage 4/G": 0.11}, 0, paper.PASSED),
        (posenet_readout.POSENET_DEPTH, {"matched/VGG, stage 4/G": 0.1}, 0, paper.NOT_PASSED),
        (posenet_readout.POSENET_DEPTH, {"matched/VGG, stage 4/H": 0.12}, 0.019 / T, paper.PASSED),
        (posenet_readout.POSENET_DEPTH, {"matched/VGG, stage 4/H": 0.12}, 0.021 / T, paper.NOT_PASSED),
        (posenet_readout.POSENET_DEPTH, {"3/VGG, stage 4/H": 0.0, "matched/VGG, stage 4/HS": 0.0}, 0, paper.PASSED),
        (posenet_readout.POSENET_PADDING, {}, 0, paper.PASSED),
        (posenet_readout.POSENET_PADDING, {"trained/none/HS": 0.29}, 0, paper.PASSED),  # half of 0.6 is 0.3
        (posenet_readout.POSENET_PADDING, {"trained/none/HS": 0.31}, 0, paper.NOT_PASSED),
        (posenet_readout.POSENET_PADDING, {"trained/none/H": 0.28}, 0.019 / T, paper.PASSED),
        (posenet_readout.POSENET_PADDING, {"trained/none/H": 0.28}, 0.021 / T, paper.NOT_PASSED),
        (posenet_readout.POSENET_PADDING, {"trained/none/G": NAN, "trained/none/V": 0.9}, 0, paper.PASSED),
        (posenet_readout.POSENET_PADDING, {"trained/zeros/G": 0.0}, 0, paper.NOT_TRIED),
        (posenet_readout.POSENET_TASK, {}, 0, paper.PASSED),
        (posenet_readout.POSENET_TASK, {"6/VGG, segmentation/HS": 0.41}, 0, paper.PASSED),
        (posenet_readout.POSENET_TASK, {"6/VGG, segmentation/HS": 0.39}, 0, paper.NOT_PASSED),
        (posenet_readout.POSENET_TASK, {"untrained/zeros/G": 0.78}, 0.019 / T, paper.PASSED),
        (posenet_readout.POSENET_TASK, {"untrained/zeros/G": 0.78}, 0.021 / T, paper.NOT_PASSED),
        (posenet_readout.POSENET_TASK, {"untrained/reflect/G": 1.0, "6/VGG/G": 1.0}, 0, paper.PASSED),
    ],
)
def test_the_controls_of_the_readouts(claim, changes, spread, outcome):
    said, numbers = claim.judge_control(runs(changes, spread))
    assert said == outcome
    assert "n = 3" in numbers and "nan" not in numbers
    assert outcome == paper.NOT_TRIED or re.search(r"[+-]\d\.\d\d±\d\.\d\d", numbers)


@pytest.mark.parametrize(
    "claim",
    [
        posenet_readout.POSENET_READOUT,
        posenet_readout.POSENET_SIZE,
        posenet_readout.POSENET_DEPTH,
        posenet_readout.POSENET_PADDING,
        posenet_readout.POSENET_TASK,
    ],
    ids=lambda claim: claim.id,
)
def test_one_seed_of_a_readout_is_no_control(claim):
    assert claim.judge_control(runs({}, seeds=(0,)))[0] == paper.NOT_TRIED


def scratch(changes: dict[str, float], spread: float = 0.0, seeds=SEEDS) -> pd.DataFrame:
    """Mean IoU, percent, from scratch; changes  "mode/scored": mean, with a spread over seeds."""
    means = {"zeros/picture": 30.0, "reflect/picture": 25.0, "none/picture": 12.0, "zeros/window": 28.0,
             "reflect/window": 40.0, "none/window": 20.0} | changes
    return pd.DataFrame([{"padding_mode": name.split("/")[0], "scored": name.split("/")[1], "seed": seed,
                          "miou": mean + spread * seed * (name in changes)} for name, mean in means.items()
                         for seed in seeds])


@pytest.mark.parametrize("changes, spread, outcome", [
    ({}, 0, paper.PASSED),
    ({"none/window": 27.9}, 0, paper.PASSED),
    ({"none/window": 28.1}, 0, paper.NOT_PASSED),          # where it sees, it is as good
    ({"reflect/picture": 29.9}, 0, paper.PASSED),
    ({"reflect/picture": 30.1}, 0, paper.NOT_PASSED),      # a map as large does it
    ({"reflect/picture": 28}, 1.9 / T, paper.PASSED),
    ({"reflect/picture": 28}, 2.1 / T, paper.NOT_PASSED),
    ({"none/picture": 90}, 0, paper.PASSED),
])
def test_zeros_must_win_where_both_see_and_against_a_map_as_large(changes, spread, outcome):
    said, numbers = posenet_readout.POSENET_SCRATCH.judge_control(scratch(changes, spread))
    assert said == outcome and numbers.endswith("n = 3")
    assert posenet_readout.POSENET_SCRATCH.judge_control(scratch(changes, seeds=(0,)))[0] == paper.NOT_TRIED


@pytest.mark.parametrize("none, half, verdict", [
    (25.0, 2.4, paper.REPRODUCED), (25.0, 2.6, paper.IN_DIRECTION), (29.9, 2, paper.IN_DIRECTION),
    (30.1, 0, paper.NOT_REPRODUCED)])
def test_the_judge_of_table_5(none, half, verdict):
    table = scratch({"none/picture": none}).groupby(["padding_mode", "scored"], as_index=False)["miou"].mean()
    table = table.rename(columns={"miou": "mean"}).assign(n=3)
    said, numbers = posenet_readout.POSENET_SCRATCH.judge(
        table.assign(low=table["mean"] - half, high=table["mean"] + half)
    )
    assert said == verdict and "with zero padding 30.0 %" in numbers


def test_every_table_of_the_2020_paper_is_shown_by_a_claim_of_one_page():
    shown = [(table, claim.page) for claim in claims.CLAIMS for table in claim.tables if table.startswith("ICLR")]
    assert {table for table, _ in shown} == {table for table in claims.TABLES if table.startswith("ICLR")}
    assert {page for _, page in shown} == {"02_posenet_readout"}
