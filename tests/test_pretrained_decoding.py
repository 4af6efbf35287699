"""Page 04: its rules on rows for each of their outcomes, its plan, and a run."""
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from posenc_lib.claims import claim as paper
from posenc_lib.claims.claim import Scale
from posenc_lib.claims.pretrained_decoding import (
    CLAIMS,
    PRETRAINED_LOCATION,
    Accuracy,
    Margin,
    accuracy_rows,
    control_margins,
    judge,
    last_stage,
    location_margins,
    spread,
)
from posenc_lib.claims.pretrained_decoding import scale as scale_of
from posenc_lib.data import registry
from posenc_lib.experiments import pretrained_decoding as experiment
from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.experiments.pretrained_decoding import DecodingConfig, Inputs, PooledLatents
from posenc_lib.nets import classifiers, pretrained
from posenc_lib.run import decoding, records
from posenc_lib.run.config import PROJECT, Recipe, describe, digest


def accuracy(network: str, layer: int) -> Accuracy:
    return Accuracy(network, 3, layer, "in_order", 50.0, 48.0, 52.0, 3, 8, 100.0, 100 / 9)


def margins(compared: str, low: float, high: float) -> list[Margin]:
    """Intervals of one network in two grids, one of them as given, the other far above 0."""
    return [Margin("small/photos", grid, compared, (a + b) / 2, a, b, 3, 90.0, 20.0)
            for grid, a, b in ((3, 30, 40), (5, low, high))]


@pytest.mark.parametrize("above_chance, below_halfway, verdict", [
    ((0.1, 4), (0.1, 9), paper.REPRODUCED),
    ((-0.1, 5.1), (0.1, 9), paper.INCONCLUSIVE),
    ((0.1, 9), (-0.1, 0.1), paper.INCONCLUSIVE),
    ((-0.1, 4.9), (0.1, 9), paper.CONTRADICTED),   # nothing is told
    ((0.1, 9), (-9, -0.1), paper.CONTRADICTED),    # the shuffle takes less than half
])
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_judge(claim, above_chance, below_halfway, verdict):
    result, evidence = claim.judge(margins("chance", *above_chance) + margins("shuffled", *below_halfway))
    assert result == verdict
    assert "small, photographs, 5×5: 90.0 %" in evidence and evidence.endswith("n = 3")


@pytest.mark.parametrize("below_halfway, off_chance, outcome", [
    ((0.1, 9), 0.0, paper.RULED_OUT),
    ((-0.1, 9), 0.0, paper.UNDECIDED),
    ((-9, -0.1), 0.49, paper.RIVAL_HOLDS),
    ((-9, -0.1), 0.51, paper.UNDECIDED),           # a method that tells what is not there
    ((0.1, 9), -0.51, paper.UNDECIDED),
])
def test_the_control_tells_learning_from_architecture(below_halfway, off_chance, outcome):
    circular = Margin("small/random/circular", 3, "chance", off_chance, off_chance, off_chance, 3, 11.1, 100 / 9)
    rows = [*margins("random", *below_halfway), circular]
    result, evidence = PRETRAINED_LOCATION.judge_control(rows)
    assert result == outcome
    assert "small, photographs, 5×5: trained 90.0 %, random 20.0 %), n = 3" in evidence
    assert PRETRAINED_LOCATION.judge_control([row._replace(n=1) for row in rows])[0] == paper.UNDECIDED


def test_margins_are_taken_seed_by_seed_from_the_last_stage():
    accuracies = {"small/photos": {"in_order": (80, 90), "shuffled": (40, 45)},
                  "small/random": {"in_order": (60, 65), "shuffled": (0, 0)}}
    frame = pd.DataFrame([
        {"network": network, "grid": 2, "layer": layer, "head": head, "seed": seed, "accuracy": value * (layer == 4)}
        for network, heads in accuracies.items() for head, values in heads.items()
        for seed, value in enumerate(values) for layer in (3, 4)])
    above, below = location_margins(frame, ["small/photos"])
    assert (above.compared, above.mean, above.n, above.in_order, above.other) == ("chance", 60, 2, 85, 25)
    assert (below.compared, below.mean, below.other) == ("shuffled", 12.5, 42.5)
    assert below.low == below.high == 12.5                      # halfway is at 52.5 and 57.5
    random, circular = control_margins(frame, {"small/photos": "small/random"}, ["small/random"])
    assert (random.compared, random.network, random.mean, random.other) == ("random", "small/photos", -7.5, 62.5)
    assert (circular.compared, circular.network, circular.mean) == ("chance", "small/random", 37.5)


@pytest.mark.parametrize("accuracies, low, high", [
    ((90.0, 96.0), 90.0, 96.0),             # of two seeds, both
    ((90.0, 96.0, 99.0), 83.6, 100.0),      # Student's t interval, 83.6 to 106.4, cut
])
def test_an_interval_stays_within_0_to_100_and_needs_three_seeds(accuracies, low, high):
    frame = pd.DataFrame([{"network": "a", "seed": seed, "accuracy": value} for seed, value in enumerate(accuracies)])
    row = spread(frame, ["network"], "accuracy", 0, 100).iloc[0]
    assert (row["low"], row["high"]) == (pytest.approx(low, abs=0.1), pytest.approx(high, abs=0.1))


def test_margins_compare_the_seeds_that_both_networks_have():
    frame = pd.DataFrame([{"network": network, "grid": 2, "layer": 1, "head": "in_order", "seed": seed, "accuracy": 75}
                          for network, seeds in (("a", (0, 1)), ("b", (0, 1, 2))) for seed in seeds])
    row, = control_margins(frame, {"b": "a"}, [])
    assert (row.n, row.mean) == (2, -25.0)


def test_the_last_stage_is_that_of_each_network():
    rows = [accuracy(network, layer) for network, n in (("a", 2), ("b", 4)) for layer in range(1, n + 1)]
    assert [(row.network, row.layer) for row in last_stage(rows)] == [("a", 2), ("b", 4)]


@pytest.fixture(scope="module")
def plan() -> experiment.Plan:
    return experiment.plan("quick", "cifar10", "b4c4614c8422", {}, "")


def test_the_plan_has_every_network_in_every_grid_and_its_random_twin(plan):
    assert [c.key for c in plan.trained] == ["small/photos", "small/digits_on_photos"]
    assert plan.random_twin == {"small/photos": "small/random", "small/digits_on_photos": "small/random"}
    assert [c.key for c in plan.circular] == ["small/photos/circular", "small/random/circular"]
    assert len({digest(c) for c in plan.configs}) == len(plan.configs) == 3 * 5 and plan.imagenet == []


def with_imagenet(plan: experiment.Plan, *nets: str) -> experiment.Plan:
    """The plan with ImageNet networks, and with CIFAR-10 in place of whatever it places."""
    networks = [EncoderConfig(net=net, source="imagenet") for net in nets]
    configs = [replace(c, encoder=network) for c in plan.configs[:3] for network in networks]
    return plan._replace(trained=plan.trained + networks,
                         configs=[replace(c, dataset="cifar10") for c in plan.configs + configs])


@pytest.mark.parametrize("nets, judged, substitutes", [
    ((), ["small/photos"], "a VGG of width 8 trained for 30 steps on photographs for an ImageNet ResNet-18"),
    (("vgg16", "resnet34"), ["vgg16/imagenet", "resnet34/imagenet"],
     "an ImageNet vgg16 and an ImageNet resnet34 for an ImageNet ResNet-18"),
    (("vgg16", "resnet18"), ["resnet18/imagenet"], ""),
])
def test_the_papers_network_is_judged_or_what_stands_in_for_it(plan, nets, judged, substitutes):
    extended = with_imagenet(plan, *nets)
    assert [c.key for c in extended.judged["classification"]] == judged
    scale = scale_of(extended, "classification", available=100)
    assert scale == Scale({"steps": 100 if nets else 30, "images": 3}, substitutes)
    assert scale_of(extended, "classification", available=2).sizes["images"] == 2


def test_steps_are_those_of_the_network_if_its_heads_have_learned(plan):
    def steps(network: int, heads: int) -> float:
        recipe = replace(plan.trained[0].recipe, epoch_steps=network)
        trained = [replace(c, recipe=recipe) for c in plan.trained]
        configs = [replace(c, encoder=replace(c.encoder, recipe=recipe), recipe=replace(c.recipe, epoch_steps=heads))
                   for c in plan.configs if c.encoder in plan.trained]
        return scale_of(plan._replace(trained=trained, configs=configs), "segmentation", available=100).sizes["steps"]

    assert (steps(1000, 200), steps(1000, 59), steps(30, 200), steps(30, 20)) == (1000, 59, 30, 20)


def test_the_segmentation_network_is_always_a_substitute(plan):
    digits = plan._replace(configs=[replace(c, dataset="digits") for c in plan.configs])
    assert scale_of(digits, "segmentation", available=100).substitutes == (
        "a VGG of width 8 trained for 30 steps on digits on photographs for a ResNet-18 trained for segmentation on "
        "PASCAL VOC 2012, digits for CIFAR-10")


def test_the_committed_records_have_the_keys_of_the_heads_and_todays_digests(plan):
    recorded = records.load(PROJECT / "records" / "cpu" / "pretrained_decoding.jsonl")
    heads = {row["head"] for record in recorded for row in record.results["layers"]}
    assert heads == set(decoding.HEADS)
    defaults = {name: getattr(DecodingConfig, name) for name in ("canvases", "recipe")}   # with which they were run
    random = [replace(c, **defaults) for c in plan.configs if c.encoder == plan.untrained[0]]
    assert {digest(c) for c in random} <= {record.digest for record in recorded}
    rows = accuracy_rows(experiment.accuracy_frame([r for r in recorded if r.digest == digest(random[0])]))
    assert {row.network for row in rows} == {"small/random"} and {row.n for row in rows} == {3}
    assert len(experiment.ridge_frame([r for r in recorded if r.digest == digest(random[0])])) == 2 * 3


def record_of(c: DecodingConfig, seed: int = 0) -> records.Record:
    return records.Record("pretrained_decoding", digest(c), seed, describe(c), {"layers": []})


def test_a_plan_is_read_off_its_records(plan):
    runs = [record_of(c) for c in plan.configs]
    assert [experiment.config_of(record) for record in runs] == plan.configs
    assert experiment.recorded_plan(runs) == (plan, runs)


def test_of_several_segmentation_networks_the_one_trained_longest_counts(plan):
    segments = plan.judged["segmentation"][0]
    longer = replace(segments, recipe=replace(segments.recipe, epoch_steps=segments.recipe.epoch_steps + 1))
    runs = [record_of(replace(plan.configs[0], encoder=c)) for c in (longer, segments, plan.trained[0])]
    read, kept = experiment.recorded_plan(runs)
    assert read.judged["segmentation"] == [longer] and kept == [runs[0], runs[2]]
    assert [c.encoder for c in read.configs] == [longer, plan.trained[0]]


def test_a_claim_without_a_network_is_not_testable(plan):
    frame = pd.DataFrame([{"network": "small/random", "grid": 3, "layer": 1, "head": "in_order", "seed": 0,
                           "accuracy": 11.0}])
    nothing = judge(plan._replace(trained=[]), frame, available=100)
    assert [j.verdict for j in nothing.values()] == [paper.NOT_TESTABLE] * 2
    assert [j.outcome for j in nothing.values()] == [paper.NOT_TRIED] * 2


def latents_of(position: torch.Tensor, grid: int, images: int = 6) -> PooledLatents:
    number, location = torch.cartesian_prod(torch.arange(images), torch.arange(grid ** 2)).T
    return PooledLatents([position[location]], location, number)


def test_the_ridge_places_cells_between_those_it_has_seen_only_if_the_code_is_smooth():
    grid = 5
    smooth = torch.tensor([divmod(n, grid) for n in range(grid ** 2)], dtype=torch.float) @ torch.randn(
        2, 6, generator=torch.Generator().manual_seed(0))
    listed = torch.eye(grid ** 2)
    seen, between = experiment.ridge_between_cells(latents_of(smooth, grid), latents_of(smooth, grid), grid)
    assert seen > 0.99 and between > 0.99
    seen, between = experiment.ridge_between_cells(latents_of(listed, grid), latents_of(listed, grid), grid)
    assert seen > 0.99 and between < 0.1


def test_zero_padding_makes_cells_distinguishable():
    images = registry.load("digits", "", validation=0.0).test
    encoder = pretrained.small_vgg(classifiers.vgg(3, 2))
    assert experiment.distinguishable_cells(encoder, images, 3)[-1] > 1


def test_a_run_depends_on_configuration_and_seed_only():
    splits = registry.load("digits", "", validation=0.0)
    c = DecodingConfig(profile="smoke", dataset="digits", data=splits.fingerprint, encoder=EncoderConfig(width=2),
                       canvases=90, channels=2, recipe=Recipe(epochs=1, epoch_steps=2, batch_size=16, flip=False))
    run = pickle.loads(pickle.dumps(partial(experiment.run, inputs=Inputs(splits, Path(), {}, torch.device("cpu")))))
    torch.manual_seed(5)
    first = run(c, 0)
    torch.manual_seed(6)
    assert run(c, 0) == first and run(c, 1) != first
    assert [(row["layer"], row["head"]) for row in first["layers"]] == [
        (layer, head) for layer in range(1, 5) for head in decoding.HEADS]
    assert all(row["accuracy"] <= row["ceiling"] for row in first["layers"] if row["head"] == "in_order")
    assert first["r2_seen"] <= 1 and first["r2_between"] <= 1
