"""Page 01: its rules on rows for each of their outcomes, and the experiment that the page runs."""
import pickle
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pytest
import torch

from posenc_lib.claims import claim as paper
from posenc_lib.claims import padding_artifacts
from posenc_lib.claims.padding_artifacts import Excess, SeedExcess
from posenc_lib.data import registry
from posenc_lib.experiments import padding_artifacts as experiments
from posenc_lib.experiments.padding_artifacts import ExcessScore, PaddingConfig, PaddingInputs
from posenc_lib.measure import metrics
from posenc_lib.nets import classifiers
from posenc_lib.nets.padding import PADDING_MODES, set_padding_mode
from posenc_lib.run import records
from posenc_lib.run.config import Recipe, Workspace, describe

SEEDS = (-1, 0, 1)   # a seed's number, and its sign in every spread below
CLAIM = padding_artifacts.PADDING_ARTIFACTS


def excess(zeros: tuple[float, float], minus_circular: tuple[float, float]) -> list[Excess]:
    """Intervals of trained networks: the excess under zero padding, and what it is above that of circular padding."""
    intervals = {("random", "zeros", None): (1, 2), ("random", "zeros", "circular"): (1, 2),
                 ("trained", "zeros", None): zeros, ("trained", "zeros", "circular"): minus_circular,
                 ("trained", "reflect", None): (-2, -1)}
    return [Excess(*names, (low + high) / 2, low, high, 3) for names, (low, high) in intervals.items()]


@pytest.mark.parametrize("zeros, minus_circular, verdict", [
    ((0.01, 1), (0.01, 1), paper.REPRODUCED),
    ((0.01, 1), (-0.01, 1), paper.INCONCLUSIVE),
    ((-0.01, 0.26), (1, 2), paper.INCONCLUSIVE),
    ((-0.01, 0.24), (1, 2), paper.CONTRADICTED),
    ((1, 2), (-2, -1), paper.CONTRADICTED),         # the excess is there, under circular padding more of it
])
def test_the_judge(zeros, minus_circular, verdict):
    result, numbers = CLAIM.judge(excess(zeros, minus_circular))
    assert result == verdict
    assert "trained, zero padding minus circular" in numbers and "n = 3" in numbers and "reflect" not in numbers


def crossed(
    run_with: float, trained: float, spread: float = 0.0, seeds: Iterable[int] = SEEDS, line: float = 1.0
) -> list[SeedExcess]:
    """Excess of trained networks by the mode they were trained with and the mode they run with.

    `line` everywhere, `run_with` more when run with zeros and `trained` more when trained with zeros; the excess under
    zeros has a `spread` over seeds.
    """
    return [SeedExcess("trained", was, mode, seed, line + run_with * (mode == "zeros") + trained * (was == "zeros")
                       + spread * seed * (mode == "zeros"))
            for was in PADDING_MODES for mode in PADDING_MODES for seed in seeds]


@pytest.mark.parametrize("changes, outcome", [
    ({"run_with": 1, "trained": 0.99}, paper.RULED_OUT),
    ({"run_with": 1, "trained": 1.01}, paper.RIVAL_HOLDS),                           # the weights do as much
    ({"run_with": -1, "trained": 0.2, "line": 1.01}, paper.RULED_OUT),               # run with zeros: 0.01
    ({"run_with": -1, "trained": 0.2, "line": 0.99}, paper.RIVAL_HOLDS),             # trained without zeros: no line
    ({"run_with": 1, "trained": 0.8, "line": 9, "spread": 0.07}, paper.RULED_OUT),   # 0.20 +- 0.17
    ({"run_with": 1, "trained": 0.8, "line": 9, "spread": 0.09}, paper.UNDECIDED),   # 0.20 +- 0.22
    ({"run_with": 1, "trained": 0, "seeds": (0,)}, paper.UNDECIDED),
])
def test_the_control_tells_the_padding_from_the_weights(changes, outcome):
    result, numbers = CLAIM.judge_control(crossed(**changes))
    assert result == outcome
    assert paper.SINGLE_SEED in numbers or ("n = 3" in numbers and "nan" not in numbers)


def test_excess_is_averaged_over_crops_then_over_layers():
    scores = [ExcessScore("trained", "zeros", seed, mode, layer, value + (mode == "reflect"))
              for seed in (0, 1) for mode in ("zeros", "reflect")
              for layer, values in (("conv1", [1.0, 3.0]), ("layer1", [5.0 + seed])) for value in values]
    scores.append(ExcessScore("trained", "zeros", 0, "zeros", "conv1", None))   # an undefined crop is left out
    rows = padding_artifacts.excess_by_seed(scores)
    assert {(row.padding_mode, row.seed): row.excess for row in rows} == {
        ("zeros", 0): 3.5, ("zeros", 1): 4.0, ("reflect", 0): 4.5, ("reflect", 1): 5.0}
    summary, = padding_artifacts.summarise(rows)   # a trained network counts in its own mode
    assert (summary.padding_mode, summary.mean, summary.n) == ("zeros", 3.75, 2)
    table = experiments.excess_by_layer(scores)
    assert table[["layer", "mean", "n"]].to_numpy().tolist() == [["conv1", 2.0, 2], ["layer1", 5.5, 2]]


def test_random_networks_count_in_every_mode_and_zero_padding_is_compared_seed_by_seed():
    scores = [ExcessScore("random", None, seed, mode, "conv1", 10.0 * seed + (mode == "zeros"))
              for seed in (0, 1) for mode in PADDING_MODES]
    rows = padding_artifacts.excess_by_seed(scores)
    assert all(row.trained is None for row in rows)
    summary = padding_artifacts.summarise(rows)
    others = [mode for mode in PADDING_MODES if mode != "zeros"]
    assert [(row.padding_mode, row.minus, row.n) for row in summary] == [
        *((mode, None, 2) for mode in PADDING_MODES), *(("zeros", mode, 2) for mode in others)]
    assert {(row.low, row.high) for row in summary if row.minus} == {(1.0, 1.0)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> PaddingInputs:
    workspace = Workspace("smoke", out=str(tmp_path_factory.mktemp("out")))
    splits = registry.load("photos", "", size=48, validation=0.0)
    return experiments.padding_inputs("photos", splits._replace(test=splits.test.subsample(6)), workspace)


def test_a_schedule_other_than_the_profiles_is_that_of_all_runs(inputs):
    long = experiments.padding_inputs("photos", inputs.splits, inputs.workspace, "long")
    assert len(long.pieces) > len(inputs.pieces)
    preset = experiments.SCHEDULES["long"]
    assert {(c.profile, c.width, c.crop) for c in experiments.configs(long)} == {("long", preset["width"], 128)}
    assert experiments.configs(long)[-1].recipe == preset["recipe"]
    assert {c.profile for c in experiments.configs(inputs)} == {"smoke"}


def test_a_piece_is_the_crop_with_its_context(inputs):
    assert inputs.pieces.images.shape[1:] == (3, 64 + 2 * 112, 64 + 2 * 112) and len(inputs.pieces) >= 2
    assert inputs.fingerprint.startswith(inputs.pieces.fingerprint)


def test_the_maps_in_true_surroundings_do_not_depend_on_the_padding_of_the_piece(inputs):
    torch.manual_seed(0)
    net = classifiers.gapnet(6, width=4).eval()
    piece = inputs.pieces.normalise(inputs.pieces.images[:1])
    truth = [experiments.crop_window(experiments.feature_maps(set_padding_mode(net, mode), piece, ["layer4"])["layer4"],
                                     4, 4, 112 // 16) for mode in ("zeros", "circular")]
    torch.testing.assert_close(*truth, rtol=1e-4, atol=1e-5)


def test_the_comparison_is_that_of_its_parts(inputs):
    torch.manual_seed(0)
    net, layers = classifiers.gapnet(6, width=4).eval(), experiments.LAYERS["resnet"]
    piece = inputs.pieces.normalise(inputs.pieces.images[:2])
    rows, examples = experiments.compare_modes(net, piece, layers, 112)
    assert [(row["padding_mode"], row["layer"]) for row in rows] == [
        (mode, layer) for mode in PADDING_MODES for layer in layers]
    assert set(examples) == {*PADDING_MODES, experiments.TRUTH}
    f = experiments.feature_maps(set_padding_mode(net, "reflect"), piece[..., 112:-112, 112:-112], ["layer2"])["layer2"]
    truth = experiments.feature_maps(net, piece, ["layer2"])["layer2"][..., 28:44, 28:44]
    row, = (row for row in rows if (row["padding_mode"], row["layer"]) == ("reflect", "layer2"))
    expected = metrics.border_energy(f) - metrics.border_energy(truth)
    assert row["excess"] == pytest.approx(expected.tolist(), abs=1e-3)
    assert row["error"] == pytest.approx(metrics.padding_error(f, truth).tolist(), rel=5e-4, abs=1e-8)


def test_an_undefined_excess_is_none():
    net = classifiers.gapnet(6, width=4).eval()
    rows, _ = experiments.compare_modes(net, torch.zeros(1, 3, 288, 288), {"conv1": 2}, 112)
    assert all(row["excess"] == [None] for row in rows)


def test_the_channel_that_is_shown_is_the_one_that_the_mode_changes_most():
    truth = torch.zeros(3, 2, 2)
    changed = truth.clone()
    changed[1] = 0.12345
    shown = experiments.most_changed_channel({"zeros": changed, experiments.TRUTH: truth}, "zeros")
    assert shown == {"zeros": [[0.123, 0.123]] * 2, experiments.TRUTH: [[0.0, 0.0]] * 2}


@pytest.mark.parametrize("settings", [
    {}, {"net": "trained", "trained": "reflect", "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=4)}])
def test_a_run_is_a_function_of_its_configuration_and_seed(settings, inputs):
    c = PaddingConfig(profile="smoke", dataset="photos", data="x", width=4, crop=64, **settings)
    state = torch.get_rng_state()
    run = pickle.loads(pickle.dumps(partial(experiments.run, inputs=inputs)))   # as it goes to a worker
    first = run(c, 0, None)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)   # the caller's random state has no effect
    assert run(c, 0, None) == first
    other = run(c, 1, None)
    assert other["maps"] != first["maps"] and "example" not in other
    assert set(first["example"]) == {*PADDING_MODES, experiments.TRUTH}
    assert ("accuracy" in first) == (c.net == "trained")


def test_the_configurations_are_a_random_network_and_one_trained_with_each_mode(inputs):
    configs = experiments.configs(inputs)
    assert [(c.net, c.trained) for c in configs] == [("random", None), *(("trained", mode) for mode in PADDING_MODES)]
    assert {(c.width, c.crop, c.data) for c in configs} == {(4, 64, inputs.fingerprint)}


def test_the_scale_is_that_of_the_smallest_network_and_of_the_trained_ones(inputs):
    configs = experiments.configs(inputs)
    imagenet = replace(configs[0], net="imagenet", width=2)   # of its own kind, and not judged
    runs = [records.Record("padding_artifacts", "", 0, describe(c), {})
            for c in (*configs, replace(configs[-1], width=64), imagenet)]
    scale = padding_artifacts.scale(runs)
    assert scale.sizes == {"steps": 2, "width": 4}
    assert scale.substitutes.startswith("ResNet-18 of width 4, 2 training steps and photos for ")
    assert CLAIM.verdict(excess((1, 2), (1, 2)), scale)[0] == paper.NOT_TESTABLE


def test_without_runs_the_claim_is_not_testable():
    judged = CLAIM.judged([], padding_artifacts.scale([]))
    assert (judged.verdict, judged.outcome) == (paper.NOT_TESTABLE, paper.NOT_TRIED)


@pytest.mark.parametrize("zeros, verdict", [((0.01, 1), paper.SUBSTITUTE), ((-0.01, 1), paper.INCONCLUSIVE),
                                            ((-1, 0.24), paper.CONTRADICTED)])
def test_from_enough_steps_every_verdict_can_be_reached(zeros, verdict, inputs):
    recipe = Recipe(epochs=1, epoch_steps=padding_artifacts.STEPS)
    runs = [records.Record("padding_artifacts", "", 0, describe(replace(c, recipe=recipe)), {})
            for c in experiments.configs(inputs)]
    result, numbers = CLAIM.verdict(excess(zeros, (1, 2)), padding_artifacts.scale(runs))
    assert result == verdict
    assert ("a set-up that the slides do not state" in numbers) == (verdict == paper.SUBSTITUTE)


def test_padding_errors_are_read_by_distance_in_pixels_of_the_image():
    maps = [{"padding_mode": mode, "layer": "layer2", "excess": [0.5, None], "error": [0.4, 0.1]}
            for mode in ("zeros", "reflect")]
    runs = [records.Record("padding_artifacts", "", 0, {"net": net, "trained": trained}, {"maps": maps})
            for net, trained in (("random", None), ("trained", "reflect"), ("imagenet", "zeros"))]
    errors = experiments.error_scores(runs)
    assert {(score.net, score.padding_mode) for score in errors} == {
        ("random", "zeros"), ("random", "reflect"), ("trained", "reflect")}
    assert [(score.distance, score.error) for score in errors[:2]] == [(0, 0.4), (4, 0.1)]
    assert [score.excess for score in experiments.excess_scores(runs)[:2]] == [0.5, None]
