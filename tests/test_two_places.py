"""Page 01's two places: what the count of units allows, in random networks, and the experiment that the page runs."""
import pickle
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch

from posenc_lib.data import registry
from posenc_lib.experiments import two_places
from posenc_lib.experiments.two_places import CENTRED, CORNER, TwoPlacesConfig
from posenc_lib.nets.padding import remove_padding
from posenc_lib.run import records
from posenc_lib.run.config import Recipe

CONFIG = TwoPlacesConfig(profile="smoke", data="x", padding="zeros", size=24, gap=2)


def test_the_picture_lies_in_opposite_corners():
    images = torch.arange(1.0, 5).reshape(1, 1, 2, 2)
    first, second = two_places.place(images, 7, 1, fill=9.0)
    assert first[0, 0, 1:3, 1:3].tolist() == second[0, 0, 4:6, 4:6].tolist() == [[1, 2], [3, 4]]
    assert (first == 9).sum() == (second == 9).sum() == 49 - 4
    rgb, _ = two_places.place(torch.zeros(2, 3, 2, 2), 6, 0, torch.tensor([1.0, 2.0, 3.0]))
    assert rgb[:, :, -1, -1].tolist() == [[1, 2, 3]] * 2
    for size, gap in ((6, 2), (6, -1)):
        with pytest.raises(ValueError, match=f"2 pixels with a gap of {gap} does not fit a quadrant of a canvas of 6"):
            two_places.place(images, size, gap)


def test_a_centred_picture_is_as_far_from_the_border_as_from_the_middle():
    for size, gap in ((16, 0), (20, 1), (40, 6)):
        assert two_places.centred_gap(size) == gap
        assert 2 * (2 * gap + two_places.SIDE) == size
    for size in (12, 18):
        with pytest.raises(ValueError, match=f"size={size} does not centre an image of 8 pixels"):
            two_places.centred_gap(size)
    kernel = 3   # R = 5: gap 4 is hopeless, gap 3 is not
    assert two_places.centred_gap(two_places.smallest_hopeless_size(kernel)) == 4
    assert not two_places.can_differ("zeros", 4, kernel) and two_places.can_differ("zeros", 3, kernel)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("padding", two_places.PADDINGS)
def test_pooled_features_of_a_random_network_differ_exactly_where_the_count_says(padding, kernel):
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    for gap in range(2 * kernel + 1):
        c = replace(CONFIG, padding=padding, kernel=kernel)
        differs = 0.0
        for _ in range(3):   # a single network's units may all be silent where it matters
            features = two_places.network(c).double().eval()[:-1]
            with torch.no_grad():
                first, second = map(features, two_places.place(picture, 4 * gap + 12, gap, fill=1.0))
            differs = max(differs, float((first - second).abs().max()))
        assert (differs > 1e-9) == two_places.can_differ(padding, gap, kernel), gap


def test_on_a_canvas_of_zeros_zero_padding_reaches_less_far():
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    features = two_places.network(CONFIG).double().eval()[:-1]
    first, second = (features(canvas) for canvas in two_places.place(picture, 20, 3, fill=0.0))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


def test_a_network_without_padding_shrinks_its_maps_and_has_the_receptive_field_it_says():
    net = two_places.network(replace(CONFIG, padding="none", kernel=5))
    image = torch.zeros(1, 3, 20, 20, requires_grad=True)
    features = net[:6].eval()(image)
    assert features.shape[-2:] == (12, 12)
    torch.nn.init.ones_(net[0].weight)
    torch.nn.init.ones_(net[3].weight)
    net[:6](image + 1)[0, :, 0, 0].sum().backward()
    seen = image.grad[0].abs().sum(0) > 0
    assert seen.sum() == two_places.receptive_field(5) ** 2
    same = remove_padding(two_places.network(replace(CONFIG, kernel=5)))
    assert [layer.padding for layer in same if hasattr(layer, "stride")] == [(0, 0)] * 2


def test_statistics_are_settled_to_those_of_the_canvases():
    net, canvases = two_places.network(CONFIG), torch.rand(6, 3, 16, 16)
    two_places.settle(net, canvases)
    assert not net.training
    before = net[0](canvases)
    torch.testing.assert_close(net[1].running_mean, before.mean((0, 2, 3)))
    torch.testing.assert_close(net[1].running_var, before.var((0, 2, 3)))


def test_the_comparison_counts_both_places():
    def top_left_is_first(canvas):
        corner = canvas[:, 0, 0, 0]
        return torch.stack([corner, 0.5 - corner], dim=1)

    scores = two_places.compare(top_left_is_first, replace(CONFIG, gap=0), torch.ones(4, 3, 8, 8), torch.zeros(3))
    assert scores == {"accuracy": 1.0, "difference": 1.0}
    constant = two_places.compare(lambda canvas: torch.zeros(len(canvas), 2), CONFIG, torch.ones(4, 3, 8, 8),
                                  torch.zeros(3))
    assert constant == {"accuracy": 0.5, "difference": 0.0}


@pytest.fixture(scope="module")
def splits():
    return registry.load("digits", "", size=two_places.SIDE, validation=0.0)


@pytest.mark.parametrize("padding, gap, accurate", [("zeros", 0, True), ("none", 0, True), ("none", 4, False),
                                                    ("circular", 0, False)])
def test_training_finds_the_border_where_there_is_one(padding, gap, accurate, splits):
    recipe = Recipe(epochs=1, epoch_steps=40, batch_size=4, learning_rate=0.02, flip=False)
    c = replace(CONFIG, padding=padding, gap=gap, size=16 + 4 * gap, recipe=recipe)
    results = two_places.run(c, 0, None, splits=splits, device=torch.device("cpu"))
    assert results["accuracy"] >= 0.9 if accurate else results["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert (results["difference"] > 0.1) == accurate and (results["difference"] < 1e-4) == (not accurate)


def test_a_run_is_a_function_of_its_configuration_and_seed(splits):
    c = replace(CONFIG, recipe=two_places.SCHEDULES["smoke"]["recipe"])
    state = torch.get_rng_state()
    run = pickle.loads(pickle.dumps(partial(two_places.run, splits=splits, device=torch.device("cpu"))))
    first = run(c, 0, None)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)   # the caller's random state has no effect
    assert run(c, 0, None) == first != run(c, 1, None)


def test_a_white_canvas_does_not_have_the_value_of_zero_padding(splits):
    assert two_places.white(splits).min() > 1


@pytest.mark.parametrize("schedule", two_places.SCHEDULES)
def test_a_schedule_has_sizes_on_both_sides_of_the_limit_and_every_padding(schedule):
    configs = two_places.configs(schedule, "x")
    assert {c.padding for c in configs} == set(two_places.PADDINGS)
    for kernel in {c.kernel for c in configs}:
        possible = {two_places.can_differ("zeros", c.gap, kernel) for c in configs if c.kernel == kernel}
        assert possible == {True, False}
    assert any(c.gap == 0 and c.size > 16 for c in configs)


def test_an_unknown_padding_is_answered_with_the_choices():
    with pytest.raises(ValueError, match=r"padding: 'valid' is not supported; choose from 'zeros', .*, 'none'"):
        replace(CONFIG, padding="valid")


def record(padding: str, size: int, gap: int, seed: int, accuracy: float) -> records.Record:
    config = {"kernel": 3, "padding": padding, "size": size, "gap": gap}
    return records.Record("two_places", "", seed, config, {"accuracy": accuracy, "difference": 1.0})


def test_runs_are_sorted_by_where_the_picture_lies():
    frame = two_places.frame([record("zeros", 16, 0, 0, 1.0), record("zeros", 40, 0, 0, 0.9),
                              record("none", 32, 4, 0, 0.5)])
    assert frame[["placement", "size", "accuracy", "can_differ"]].to_numpy().tolist() == [
        [CENTRED, 16, 100.0, True], [CORNER, 16, 100.0, True], [CORNER, 40, 90.0, True], [CENTRED, 32, 50.0, False]]


def test_the_largest_size_is_that_on_which_every_seed_is_accurate():
    runs = [record("zeros", size, two_places.centred_gap(size), seed, accuracy)
            for size, accuracies in ((16, (1, 1)), (24, (1, 0.995)), (28, (1, 0.98)), (32, (0.5, 0.5)))
            for seed, accuracy in enumerate(accuracies)]
    runs += [record("circular", 16, 0, 0, 0.5), record("zeros", 64, 0, 0, 1.0)]
    found = two_places.largest_sizes(two_places.frame(runs))
    assert found.astype(object).where(found.notna(), None).to_numpy().tolist() == [
        [3, "zeros", 28, 24, 2], [3, "circular", None, None, 1]]
    assert pd.isna(two_places.largest_sizes(two_places.frame(runs[-2:-1]))["predicted"]).all()
