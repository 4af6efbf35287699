"""Page 02: ICLR 2020's numbers against a second transcription, every rule on rows at and just beyond its thresholds,
and the experiments that the page runs.
"""
import pickle
import re
from collections.abc import Iterable
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import interpolate

from posenc_lib import claims
from posenc_lib.claims import claim as paper
from posenc_lib.claims import posenet_readout
from posenc_lib.claims.posenet_readout import CellScore, MiouSummary
from posenc_lib.data import bundled, registry
from posenc_lib.experiments import posenet_readout as experiments
from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.experiments.posenet_readout import MapScore, MiouScore, ReadoutConfig, ScratchConfig
from posenc_lib.nets import classifiers, padding
from posenc_lib.run import records
from posenc_lib.run.config import PROJECT, Recipe, SgdRecipe, Workspace, digest

READOUT = posenet_readout.POSENET_READOUT
READOUT_SIZE = posenet_readout.POSENET_SIZE
DEPTH = posenet_readout.POSENET_DEPTH
PADDING = posenet_readout.POSENET_PADDING
TASK = posenet_readout.POSENET_TASK
SCRATCH = posenet_readout.POSENET_SCRATCH
NAN = float("nan")
SEEDS = (-1, 0, 1)   # a seed's number, and its sign in every spread below
T = 2.484            # half the 95 % interval of -1, 0, 1: 4.303 / sqrt(3)

# Typed a second time: saliency's F and MAE on ECSSD, PASCAL-S and DUT-OMRON, then VOC 2012's mean IoU.
TABLE5 = """
vgg/without_padding  .36 .48  .32 .48  .25 .48  12.3
vgg                  .78 .17  .66 .21  .63 .18  23.1
"""


def test_table_5_is_the_printed_one():
    printed = {}
    for line in TABLE5.split("\n")[1:-1]:
        variant, *numbers = re.split(r"  +| (?=\.\d)", line)
        cells = [(d, m) for d in ("ECSSD", "PASCAL-S", "DUT-OMRON") for m in ("F", "MAE")] + [("VOC 2012", "mean IoU")]
        printed |= {(variant, *cell): float(n) for cell, n in zip(cells, numbers, strict=True)}
    assert posenet_readout.TABLE5.set_index(["variant", "dataset", "measure"])["paper"].to_dict() == printed
    assert claims.TABLES["ICLR 2020, Table 5"] == ("vgg", "vgg/without_padding")
    value = posenet_readout.TABLE5.set_index(["variant", "measure"])["paper"]
    for number in (value["vgg", "mean IoU"], value["vgg/without_padding", "mean IoU"]):
        assert f"{number}" in SCRATCH.paper_value


def test_every_printed_cell_of_the_readouts_stands_once():
    cells = posenet_readout.POSENET
    assert cells["table"].value_counts().to_dict() == {
        "1": 60, "2a": 18, "2b": 18, "3": 12, "4": 15, "6": 36, "fig6": 5}
    assert not cells.duplicated(["table", "variant", "target", "images"]).any()
    assert cells["paper_spc"].between(-1, 1).all() and cells["paper_mae"].between(0, 1).all()


def test_cells_that_the_paper_prints_in_several_tables_agree_but_for_one_of_its_own():
    cells = posenet_readout.POSENET[
        (posenet_readout.POSENET["images"] == "natural") & (posenet_readout.POSENET["table"] != "fig6")
    ]
    same = {"posenet/depth_1": "posenet", "posenet/kernel_3": "posenet", "vgg/depth_1": "vgg", "vgg/kernel_3": "vgg",
            "vgg/all_stages": "vgg"}
    cells = cells.assign(variant=cells["variant"].replace(same))
    printed = cells.groupby(["variant", "target"])[["paper_spc", "paper_mae"]].agg(set)
    assert printed["paper_spc"].map(len).max() == 1
    odd = printed["paper_mae"][printed["paper_mae"].map(len) > 1]
    assert odd.to_dict() == {("posenet", "HS"): {0.712, 0.723}}
    assert cells.groupby(["variant", "target"]).size()["vgg", "H"] == 6


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


def readouts(half: float, means: dict[str, float]) -> list[CellScore]:
    """The paper's own cells as this run's, with intervals of `half` on each side.

    means  means that differ on natural images: "table|variant|target" -> mean
    """
    unused = set(means)
    rows = []
    for cell in posenet_readout.POSENET.itertuples():
        name = f"{cell.table}|{cell.variant}|{cell.target}"
        mean = cell.paper_spc
        if cell.images == "natural" and name in means:
            mean = means[name]
            unused.discard(name)
        rows.append(CellScore(cell.table, cell.variant, cell.variant, cell.target, cell.images, cell.paper_mae, NAN,
                              NAN, mean, mean - half, mean + half, 3, 0, 1, cell.paper_spc, cell.paper_mae))
    assert not unused
    return rows


@pytest.mark.parametrize(
    "claim, half, means, verdict",
    [
        (READOUT, 0.005, {}, paper.REPRODUCED),
        (READOUT, 0.005, {"1|vgg|H": 0.643}, paper.REPRODUCED),  # 0.099 below
        (READOUT, 0.005, {"1|resnet|V": 0.85}, paper.IN_DIRECTION),  # 0.101 below
        (READOUT, 0.005, {"1|vgg|V": 0.142}, paper.IN_DIRECTION),  # pixels reach 0.136
        (READOUT, 0.005, {"1|vgg|V": 0.140}, paper.NOT_REPRODUCED),
        (READOUT, 0.005, {"1|posenet|VS": 0.38}, paper.NOT_REPRODUCED),  # pixels know it too
        (READOUT, 0.005, {"1|posenet|H": NAN}, paper.REPRODUCED),  # a constant map counts 0
        (READOUT, 0.005, {"1|posenet|H": NAN, "1|vgg|H": 0.004}, paper.NOT_REPRODUCED),
        (READOUT, 0.005, {"1|resnet|G": NAN}, paper.NOT_REPRODUCED),
        (READOUT_SIZE, 0.005, {}, paper.REPRODUCED),
        (READOUT_SIZE, 0.02, {}, paper.IN_DIRECTION),  # intervals overlap
        (READOUT_SIZE, 0.005, {"2a|vgg/depth_2|G": 0.84}, paper.IN_DIRECTION),  # then falls to 0.835
        (READOUT_SIZE, 0.005, {"2b|vgg/kernel_3|H": 0.83}, paper.IN_DIRECTION),
        (READOUT_SIZE, 0.005, {"2a|vgg/depth_3|G": 0.81}, paper.NOT_REPRODUCED),
        (READOUT_SIZE, 0.005, {"2b|vgg/kernel_7|HS": 0.31}, paper.NOT_REPRODUCED),
        (READOUT_SIZE, 0.005, {"2a|posenet/depth_3|H": -1.0}, paper.REPRODUCED),  # it is about the network
        (DEPTH, 0.005, {}, paper.REPRODUCED),
        (DEPTH, 0.3, {}, paper.IN_DIRECTION),
        (DEPTH, 0.005, {"3|vgg/stage_3|G": 0.66}, paper.IN_DIRECTION),
        (DEPTH, 0.005, {"3|vgg/all_stages|H": 0.65}, paper.IN_DIRECTION),  # stage 5 alone has 0.657
        (DEPTH, 0.005, {"3|vgg/stage_5|H": 0.1}, paper.NOT_REPRODUCED),
        (PADDING, 0.005, {}, paper.REPRODUCED),
        (PADDING, 0.005, {"4|posenet/padding_1|G": 0.39}, paper.IN_DIRECTION),  # then falls to 0.380
        (PADDING, 0.15, {}, paper.IN_DIRECTION),  # pixels overlap on HS
        (PADDING, 0.005, {"4|vgg/padding_removed|HS": 0.397}, paper.NOT_REPRODUCED),  # reaches 0.402
        (TASK, 0.005, {}, paper.REPRODUCED),
        (TASK, 0.1, {}, paper.IN_DIRECTION),  # G: 0.914 against 0.871
        (TASK, 0.005, {"6|vgg/segmentation|G": 0.81}, paper.NOT_REPRODUCED),
    ],
)
def test_the_readouts_judges(claim, half, means, verdict):
    verdict_here, numbers = claim.judge(readouts(half, means))
    assert verdict_here == verdict
    assert re.search(r"[+-]\d\.\d\d±\d\.\d\d", numbers) and numbers.endswith("n = 3")
    assert "nan" not in numbers or NAN in means.values()


def test_black_and_white_and_noise_images_do_not_affect_the_verdicts():
    rows = [row if row.images == "natural" else row._replace(mean=-1.0, low=-1.0, high=-1.0)
            for row in readouts(0.005, {})]
    for claim in (READOUT, TASK):
        assert claim.judge(rows)[0] == paper.REPRODUCED


def test_the_images_of_fig_6_are_not_judged():
    rows = [row._replace(mean=-1.0, low=-1.0, high=-1.0) if row.table == "fig6" else row for row in readouts(0.005, {})]
    assert PADDING.judge(rows)[0] == paper.REPRODUCED
    assert not [row for row in posenet_readout.judged(rows) if row.table == "fig6" or row.images != "natural"]


NO_GAIN = {f"{end}|{target}": 0.0 for end in ("2a|vgg/depth_3", "2b|vgg/kernel_7") for target in ("H", "G", "HS")}
# (table, variant, network): SPC on all maps
RUNS = {
    ("1", "posenet", "pixels"): 0.0, ("1", "vgg", "small/photos"): 0.8, ("1", "vgg", "vgg16/imagenet"): 0.8,
    ("untrained", "zeros", "small/random"): 0.4, ("untrained_imagenet", "vgg16", "vgg16/random"): 0.4,
    ("untrained", "reflect", "small/random/reflect"): 0.9,
    **{("2a", f"{net}/depth_{n}", net): 0.1 * n * (net == "vgg") for net in ("vgg", "posenet") for n in (1, 2, 3)},
    **{("2b", f"{net}/kernel_{k}", net): 0.1 * k * (net == "vgg") for net in ("vgg", "posenet") for k in (1, 3, 7)},
    **{(table, f"vgg/stage_{n}", "vgg"): 0.1 * n for table in ("3", "matched_channels") for n in (1, 2, 3, 4)},
    ("3", "vgg/all_stages", "vgg"): 0.1,
    ("trained", "zeros", "small/photos"): 0.6, ("trained", "none", "small/photos/none"): 0.1,
    ("6", "vgg", "small/photos"): 0.8, ("6", "vgg/segmentation", "small/digits_on_photos"): 0.8,
}


def runs(changes: dict[str, float], spread: float = 0.0, seeds: Iterable[int] = SEEDS) -> list[MapScore]:
    """Page 02's scores, equal on all maps; on noise images, which are not judged, they are far off.

    changes  "table|variant|target" or "table|variant|target|network" -> mean, with a `spread` over its seeds
    """
    unused = set(changes)
    rows = []
    for (table, variant, network), spc in RUNS.items():
        for target in experiments.TARGETS:
            names = [f"{table}|{variant}|{target}", f"{table}|{variant}|{target}|{network}"]
            changed = [name for name in names if name in changes]
            unused -= set(changed)
            for images in ("natural", "noise"):
                for seed in seeds:
                    mean = changes[changed[0]] + spread * seed if changed else spc
                    value = -1.0 if images == "noise" else None if mean != mean else mean
                    rows.append(MapScore(table, variant, network, network.split("/")[0], seed, target, images, 1, 0.1,
                                         value, 0))
    assert not unused
    return rows


@pytest.mark.parametrize(
    "claim, changes, spread, outcome",
    [
        (READOUT, {}, 0, paper.PASSED),
        (READOUT, {"1|vgg|V|vgg16/imagenet": 0.41}, 0, paper.PASSED),
        (READOUT, {"1|vgg|V|vgg16/imagenet": 0.4}, 0, paper.NOT_PASSED),  # equal is not above
        (READOUT, {"untrained|zeros|VS": 0.81}, 0, paper.NOT_PASSED),
        (READOUT, {"untrained_imagenet|vgg16|H": 0.81}, 0, paper.NOT_PASSED),
        (READOUT, {"1|vgg|G|small/photos": 0.42}, 0.019 / T, paper.PASSED),
        (READOUT, {"1|vgg|G|small/photos": 0.42}, 0.021 / T, paper.NOT_PASSED),
        (READOUT, {"1|vgg|shuffled_H": 0.0}, 0, paper.PASSED),  # none of the paper's maps
        (READOUT, {"untrained|zeros|H": NAN}, 0, paper.PASSED),  # undefined counts 0
        (READOUT_SIZE, {}, 0, paper.PASSED),
        (READOUT_SIZE, {"2a|posenet/depth_3|H": 0.19}, 0, paper.PASSED),  # the network gains 0.2
        (READOUT_SIZE, {"2a|posenet/depth_3|H": 0.21}, 0, paper.NOT_PASSED),
        (READOUT_SIZE, {"2b|posenet/kernel_7|HS": 0.61}, 0, paper.NOT_PASSED),  # 0.6
        (READOUT_SIZE, {"2b|posenet/kernel_7|HS": 0.58}, 0.019 / T, paper.PASSED),
        (READOUT_SIZE, {"2b|posenet/kernel_7|HS": 0.58}, 0.021 / T, paper.NOT_PASSED),
        (READOUT_SIZE, {"2a|posenet/depth_3|V": 0.9}, 0, paper.PASSED),  # not a map of Table 2
        (READOUT_SIZE, {"2a|vgg/depth_3|H": 0.1, "2a|posenet/depth_3|H": 0.5}, 0, paper.PASSED),  # nothing gained on H
        (READOUT_SIZE, NO_GAIN, 0, paper.NOT_TRIED),
        (DEPTH, {}, 0, paper.PASSED),
        (DEPTH, {"matched_channels|vgg/stage_4|G": 0.11}, 0, paper.PASSED),
        (DEPTH, {"matched_channels|vgg/stage_4|G": 0.1}, 0, paper.NOT_PASSED),
        (DEPTH, {"matched_channels|vgg/stage_4|H": 0.12}, 0.019 / T, paper.PASSED),
        (DEPTH, {"matched_channels|vgg/stage_4|H": 0.12}, 0.021 / T, paper.NOT_PASSED),
        (DEPTH, {"3|vgg/stage_4|H": 0.0, "matched_channels|vgg/stage_4|HS": 0.0}, 0, paper.PASSED),
        (PADDING, {}, 0, paper.PASSED),
        (PADDING, {"trained|none|HS": 0.29}, 0, paper.PASSED),  # half of 0.6 is 0.3
        (PADDING, {"trained|none|HS": 0.31}, 0, paper.NOT_PASSED),
        (PADDING, {"trained|none|H": 0.28}, 0.019 / T, paper.PASSED),
        (PADDING, {"trained|none|H": 0.28}, 0.021 / T, paper.NOT_PASSED),
        (PADDING, {"trained|none|G": NAN, "trained|none|V": 0.9}, 0, paper.PASSED),
        (PADDING, {"trained|zeros|G": 0.0}, 0, paper.NOT_TRIED),
        (TASK, {}, 0, paper.PASSED),
        (TASK, {"6|vgg/segmentation|HS": 0.41}, 0, paper.PASSED),
        (TASK, {"6|vgg/segmentation|HS": 0.39}, 0, paper.NOT_PASSED),
        (TASK, {"untrained|zeros|G": 0.78}, 0.019 / T, paper.PASSED),
        (TASK, {"untrained|zeros|G": 0.78}, 0.021 / T, paper.NOT_PASSED),
        (TASK, {"untrained|reflect|G": 1.0, "6|vgg|G": 1.0}, 0, paper.PASSED),
    ],
)
def test_the_controls_of_the_readouts(claim, changes, spread, outcome):
    result, numbers = claim.judge_control(runs(changes, spread))
    assert result == outcome
    assert "n = 3" in numbers and "nan" not in numbers
    assert outcome == paper.NOT_TRIED or re.search(r"[+-]\d\.\d\d±\d\.\d\d", numbers)


@pytest.mark.parametrize(
    "claim",
    [
        READOUT,
        READOUT_SIZE,
        DEPTH,
        PADDING,
        TASK,
    ],
    ids=lambda claim: claim.id,
)
def test_one_seed_of_a_readout_is_no_control(claim):
    assert claim.judge_control(runs({}, seeds=(0,)))[0] == paper.NOT_TRIED


def scratch(changes: dict[str, float], spread: float = 0.0, seeds: Iterable[int] = SEEDS) -> list[MiouScore]:
    """Mean IoU, percent, from scratch; changes  "mode/scored_on": mean, with a spread over seeds."""
    means = {"zeros/picture": 30.0, "reflect/picture": 25.0, "none/picture": 12.0, "zeros/window": 28.0,
             "reflect/window": 40.0, "none/window": 20.0} | changes
    return [MiouScore(*name.split("/"), seed, mean + spread * seed * (name in changes))
            for name, mean in means.items() for seed in seeds]


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
    result, numbers = SCRATCH.judge_control(scratch(changes, spread))
    assert result == outcome and numbers.endswith("n = 3")
    assert SCRATCH.judge_control(scratch(changes, seeds=(0,)))[0] == paper.NOT_TRIED


@pytest.mark.parametrize("none, half, verdict", [
    (25.0, 2.4, paper.REPRODUCED), (25.0, 2.6, paper.IN_DIRECTION), (29.9, 2, paper.IN_DIRECTION),
    (30.1, 0, paper.NOT_REPRODUCED)])
def test_the_judge_of_table_5(none, half, verdict):
    rows = [MiouSummary(row.padding_mode, row.scored_on, row.miou, row.miou - half, row.miou + half, 3)
            for row in scratch({"none/picture": none}, seeds=(0,))]
    verdict_here, numbers = SCRATCH.judge(rows)
    assert verdict_here == verdict and "with zero padding 30.0 %" in numbers


def test_every_table_of_the_2020_paper_is_shown_by_a_claim_of_one_page():
    shown = [(table, claim.page) for claim in claims.CLAIMS for table in claim.tables if table.startswith("ICLR")]
    assert {table for table, _ in shown} == {table for table in claims.TABLES if table.startswith("ICLR")}
    assert {page for _, page in shown} == {"02_posenet_readout"}


def test_a_summary_has_the_mean_and_interval_over_seeds_next_to_the_papers_number():
    rows = posenet_readout.summarise(runs({"1|vgg|H|small/photos": 0.5}, spread=0.1))
    found = {(row.table, row.network, row.target, row.images): row for row in rows}
    row = found["1", "small/photos", "H", "natural"]
    assert (row.mean, row.n, row.paper_spc, row.paper_mae) == (pytest.approx(0.5), 3, 0.742, 0.149)
    assert row.high - row.mean == pytest.approx(0.1 * T, rel=1e-3)
    undefined = posenet_readout.summarise(runs({"1|posenet|H": NAN}))
    row = next(row for row in undefined if row.cell == ("1", "posenet", "H", "natural"))
    assert row.mean != row.mean and row.n is None
    assert READOUT.verdict(posenet_readout.judged(undefined))[0] != paper.NOT_TESTABLE


@pytest.mark.parametrize("changes, spread, direction", [
    ({}, 0, "same"), ({"1|vgg|H|small/photos": -0.2}, 0, "opposite"), ({"1|vgg|H|small/photos": 0.2}, 0.1, "open")])
def test_the_direction_of_a_cell_is_that_of_its_difference_seed_by_seed(changes, spread, direction):
    scores = runs(changes, spread)
    cells = {row.cell: row for row in posenet_readout.summarise(scores) if row.network in ("pixels", "small/photos")}
    step = posenet_readout.step(cells["1", "vgg", "H", "natural"], scores)
    assert step.direction == direction and step.against == "posenet" and step.paper == pytest.approx(0.73)
    assert posenet_readout.step(cells["1", "posenet", "H", "natural"], scores) is None


# The experiments.

SIZE = 48
RECIPE = Recipe(epochs=1, epoch_steps=1, batch_size=4, flip=False)
SETTINGS = {"profile": "smoke", "dataset": "photos", "data": "x", "size": SIZE, "hidden": 2,
            "recipe": SgdRecipe(epochs=1, batch_size=4)}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace("smoke", out=str(tmp_path_factory.mktemp("out")))


@pytest.fixture(scope="module")
def inputs(workspace):
    splits = registry.load("photos", "", size=SIZE, validation=0.0)
    return experiments.readout_inputs(splits, workspace, {}, size=SIZE, train_images=4, test_images=3)


def test_the_test_sets_are_photographs_black_white_and_noise(inputs):
    assert {name: len(images) for name, images in inputs.tests.items()} == {
        "natural": 3, "black": 1, "white": 1, "noise": 3}
    assert int(inputs.tests["black"].images.max()) == 0 and int(inputs.tests["white"].images.min()) == 255
    noise = inputs.tests["noise"].images.float()
    assert noise.mean() == pytest.approx(127.5, abs=2) and 50 < noise.std() < 64


def test_the_targets_are_the_papers_maps_and_a_shuffled_one():
    maps = experiments.target_maps(SIZE)
    assert len(maps) == len(experiments.TARGETS) == 6 and 0 <= maps.min() < maps.max() <= 1
    assert torch.equal(maps[5].flatten().sort().values, maps[0].flatten().sort().values)
    assert not torch.equal(maps[5], maps[0])


@pytest.mark.parametrize("settings", [{}, {"stage": 2, "channels": 3}, {"depth": 2, "kernel": 1}])
def test_a_readout_run_is_a_function_of_its_configuration_and_seed(settings, inputs):
    c = ReadoutConfig(encoder=EncoderConfig(width=2), **SETTINGS, **settings)
    state = torch.get_rng_state()
    first = experiments.run_readout(c, 0, None, inputs=inputs)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)   # the caller's random state has no effect
    experiments._recent_features.cache_clear()
    assert experiments.run_readout(c, 0, None, inputs=inputs) == first
    other = experiments.run_readout(c, 1, None, inputs=inputs)
    assert other["loss"] != first["loss"] and "predicted" not in other
    tests = ("natural", "black", "white", "noise", "first")
    assert [(row["target"], row["images"]) for row in first["maps"]] == [
        (target, images) for images in tests for target in experiments.TARGETS]
    assert torch.tensor(first["predicted"]).shape == (6, 28, 28)


def test_pixels_that_are_constant_give_an_undefined_score(inputs):
    c = ReadoutConfig(encoder=EncoderConfig(net="pixels"), **SETTINGS)
    rows = experiments.run_readout(c, 0, None, inputs=inputs)["maps"]
    assert all((row["spc"] is None, row["undefined"]) == (True, 1) for row in rows if row["images"] == "black")
    assert all(row["undefined"] == 0 for row in rows if row["images"] == "natural")


def test_the_map_metrics_of_a_perfect_map_are_one_and_zero():
    targets = experiments.target_maps(SIZE)
    rows = list(experiments.map_metrics(targets[None], targets, "natural"))
    assert [row["target"] for row in rows] == list(experiments.TARGETS)
    assert all(row["spc"] == pytest.approx(1) and row["mae"] == 0 for row in rows)


def test_a_run_goes_to_a_worker_by_pickle(inputs, workspace):
    c = ReadoutConfig(encoder=EncoderConfig(width=2), **SETTINGS)
    run = pickle.loads(pickle.dumps(partial(experiments.run_readout, inputs=inputs)))
    assert run(c, 0, None) == experiments.run_readout(c, 0, None, inputs=inputs)


@pytest.fixture(scope="module")
def cells(inputs):
    encoders = experiments.make_encoders("smoke", {}, "")
    return experiments.plan("smoke", "photos", inputs, encoders)


def test_the_plan_has_every_cell_of_the_paper_that_can_be_run_here_and_the_controls(cells):
    printed = set(zip(posenet_readout.POSENET["table"], posenet_readout.POSENET["variant"], strict=True))
    planned = {cell[:2] for cell in cells}
    assert printed - planned == {("1", "resnet"), ("3", "vgg/stage_5"), ("6", "vgg/saliency")}
    assert {table for table, _ in planned - printed} == {"matched_channels", "untrained", "trained", "coordinates"}
    configs = experiments.configs(cells)
    assert len(configs) == len(set(configs)) and set(configs) == {cell.config for cell in cells}
    assert set(experiments.configs(cells, "1")) <= set(configs)
    networks = [c.encoder for c in configs]   # network by network, so that features are computed once
    assert sum(a != b for a, b in pairwise(networks)) == len(set(networks)) - 1


def test_scores_are_read_from_records(cells):
    maps = [{"target": "H", "images": images, "n_images": 1, "mae": 0.1, "spc": value, "undefined": 0}
            for images, value in (("natural", 0.5), ("first", 0.7))]
    runs = [records.Record("posenet_readout", digest(c), seed, {}, {"maps": maps})
            for c in experiments.configs(cells) for seed in (0, 1)]
    scores = experiments.map_scores(cells, runs, seeds=[0])
    assert {score.seed for score in scores if score.table == "1"} == {0, 1}
    assert {score.seed for score in scores if score.table != "1"} == {0}
    assert {(score.table == "fig6", score.images, score.spc) for score in scores} == {
        (True, "natural", 0.7), (False, "natural", 0.5)}


def test_a_set_without_an_entry_has_the_scale_of_any_set():
    assert experiments.image_scale("smoke", "photos")["size"] == 80
    assert experiments.image_scale("paper", "ecssd") == {"size": 224}


def test_recorded_runs_have_the_digests_of_todays_configurations():
    found = records.load(PROJECT / "records" / "cpu" / "posenet_readout.jsonl")
    assert found
    for record in found:
        config = dict(record.config)
        kind = {"ReadoutConfig": ReadoutConfig, "ScratchConfig": ScratchConfig}[config.pop("class")]
        for name in ("encoder", "network"):
            if name in config:
                recipe = config[name]["recipe"] and Recipe(**tuples(config[name]["recipe"]))
                config[name] = EncoderConfig(**{**config[name], "recipe": recipe})
        if "recipe" in config:
            config["recipe"] = SgdRecipe(**tuples(config["recipe"]))
        assert digest(kind(**config)) == record.digest
        assert {row["target"] for row in record.results.get("maps", [])} <= set(experiments.TARGETS)


def tuples(recipe: dict) -> dict:
    return {**recipe, "betas": tuple(recipe["betas"])}


@pytest.mark.parametrize("crop", [80, 96])
def test_the_unpadded_map_is_the_window_of_the_padded_one(crop):
    torch.manual_seed(0)
    net = classifiers.vgg(3, 2, task="segment").eval()
    x, labels = torch.randn(2, 3, crop, crop), torch.randint(3, (2, crop, crop))
    offset = experiments.OFFSET
    with torch.no_grad():
        padded, unpadded = net(x), padding.remove_padding(net)(x[..., offset:, offset:])
    window, target = experiments.crop_to_window(padded, labels)
    torch.testing.assert_close(window, unpadded)
    assert torch.equal(experiments.crop_to_window(unpadded, labels)[0], unpadded)
    assert target.shape[1:] == unpadded.shape[2:] == (experiments.window_side(crop),) * 2
    resized, same = experiments.resize_to_image(unpadded, labels)
    assert torch.equal(resized, interpolate(unpadded, (crop, crop), mode="bilinear")) and torch.equal(same, labels)
    assert torch.equal(experiments.resize_to_image(padded, labels)[0], padded)


@pytest.fixture(scope="module")
def streets():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "STREET_SEEDS", {"train": range(8), "test": range(8, 10)})
        return registry.load("streets", "", size=80, validation=0.0)


@pytest.mark.parametrize("mode, window", [("zeros", False), ("none", False), ("none", True)])
def test_training_from_scratch_is_a_function_of_configuration_and_seed(mode, window, streets, workspace):
    network = EncoderConfig(source="streets", width=2, padding_mode=mode, crop=80, recipe=RECIPE)
    c = ScratchConfig(profile="smoke", network=network, window=window)
    state = torch.get_rng_state()
    run = pickle.loads(pickle.dumps(partial(experiments.run_scratch, splits=streets, workspace=workspace)))
    first, again, other = run(c, 0, None), run(c, 0, None), run(c, 1, None)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again != other and set(first) == {"picture", "window"}
    assert all(0 <= value <= 1 for value in first.values())


def test_an_unpadded_network_is_scored_where_it_was_trained():
    def record(mode, window):
        config = {"network": {"padding_mode": mode}, "window": window}
        return records.Record("posenet_readout", "", 0, config, {"picture": 0.1, "window": 0.2})

    found = experiments.scratch_scores([record("zeros", False), record("none", False), record("none", True)])
    assert [(score.padding_mode, score.scored_on, score.miou) for score in found] == [
        ("zeros", "picture", 10.0), ("zeros", "window", 20.0), ("none", "picture", 10.0), ("none", "window", 20.0)]
