"""Ablations replace exactly the requested channels; plans, presets and gaps that pages 06 and 07 share."""
import pandas as pd
import pytest
import torch

from posenc_lib.experiments import ablation
from posenc_lib.experiments.ablation import Ablation
from posenc_lib.measure import canvas, channels
from posenc_lib.run.records import Record


def test_an_ablation_zeroes_exactly_the_requested_channels_of_a_copy():
    f = torch.rand(2, 512, 2, 3, generator=torch.Generator().manual_seed(0)) + 1
    kept, response = f.clone(), torch.rand(512, generator=torch.Generator().manual_seed(1))
    for n in (100, 300, 50, 0, 100):
        chosen = channels.top_channels(response, n)
        left = Ablation(chosen)(f)
        silent = (left == 0).flatten(2).all(2)
        assert silent.sum(1).tolist() == [n, n] and silent[:, chosen].all()
        assert torch.equal(left[~silent], f[~silent]) and torch.equal(f, kept)


def test_an_ablation_replaces_channels_by_means_inside_a_region():
    f, mean = torch.randn(2, 6, 4, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6.0).double() + 10
    chosen = torch.tensor([4, 1])
    left = Ablation(chosen, mean)(f)
    assert (left[:, 4] == 14).all() and (left[:, 1] == 11).all() and left.dtype == f.dtype
    assert torch.equal(left[:, [0, 2, 3, 5]], f[:, [0, 2, 3, 5]])
    for region in canvas.REGIONS:
        inside = torch.isin(canvas.zones(4, 8), torch.tensor(canvas.REGIONS[region]))
        part = Ablation(chosen, mean, region)(f)
        assert torch.equal(part[..., inside], left[..., inside]) and torch.equal(part[..., ~inside], f[..., ~inside])


@pytest.mark.parametrize("numbers, span", [([2, 6], "2..6"), ([-1], "-1..-1")])
def test_a_channel_beyond_the_layer_is_rejected(numbers, span):
    with pytest.raises(ValueError) as error:
        Ablation(torch.tensor(numbers))(torch.zeros(1, 6, 2, 2))
    assert str(error.value) == f"ablate: channels {span} were requested, but there are only 0..5"


@pytest.fixture(scope="module")
def ranking():
    images = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    conv = torch.nn.Conv2d(3, 20, 3, stride=2, padding=1)
    return channels.rank(lambda x: conv(x).relu(), lambda: images.split(2), stride=2)


def test_a_plan_has_every_kind_at_every_fraction(ranking):
    planned = list(ablation.plan(ranking, (0.15, 4, 0.5), (3, 1, 2), seed=0))
    assert planned[0].kind == "nothing" and planned[0].ablation is ablation.NOTHING
    rules = ("flip", "shift", "decodability", "rms_activation", "lowest_flip")
    expected = [(kind, fraction, n) for fraction, n, sets in ((0.15, 3, 3), (4, 4, 1), (0.5, 10, 2))
                for kind in (*rules, *["random"] * sets, *["rms_matched"] * sets)]
    assert [(p.kind, p.fraction, p.n) for p in planned[1:]] == expected
    assert all(len(p.ablation.channels) == p.n and p.region is None for p in planned)
    flip = channels.top_channels(ranking.rules["flip"], 3)
    assert torch.equal(planned[1].ablation.channels, flip)
    for p in planned:
        ranked = channels.top_channels(ranking.rules["flip"], p.n)
        assert p.shared == p.tags["shared"] == channels.overlap(p.ablation.channels, ranked)
    assert {p.kind: p.shared for p in planned if p.n == 3}["flip"] == 3
    again = list(ablation.plan(ranking, (0.15, 4, 0.5), (3, 1, 2), seed=0))
    assert all(torch.equal(a.ablation.channels, b.ablation.channels) for a, b in zip(planned, again, strict=True))


def test_the_gap_of_a_ranking_is_its_cost_beyond_each_control():
    draws = torch.arange(41.0).double()
    cost = {("flip", 0.5): 3 + draws, ("random", 0.5): 1 + 0 * draws, ("rms_matched", 0.5): draws}
    beyond_random, beyond_matched = ablation.ranking_gaps(cost, ["flip"], [0.5], scale=100)
    tags = {"kind": "flip", "fraction": 0.5}
    assert beyond_random == {**tags, "against": "random", "value": 200.0, "low": pytest.approx(100 * (3 + 0.975)),
                             "high": pytest.approx(100 * (2 + 39.025))}
    assert beyond_matched == {**tags, "against": "rms_matched", "value": 300.0, "low": 300.0, "high": 300.0}


def test_the_first_bootstrap_weights_are_the_test_set_itself():
    weights = ablation.bootstrap_weights(5, 20, seed=1)
    assert weights.shape == (21, 5) and torch.equal(weights[0], torch.ones(5)) and (weights.sum(1) == 5).all()
    assert torch.equal(weights, ablation.bootstrap_weights(5, 20, seed=1))


def test_rows_are_gathered_and_gaps_summarised_over_seeds():
    rows = [[{"kind": "flip", "against": "random", "value": value, "low": value - 1, "high": value + 1}]
            for value in (1.0, 2.0)]
    runs = [Record("e", "d1", seed, {}, {"gaps": row}) for seed, row in enumerate(rows)]
    gaps = ablation.rows_of(runs, "gaps", "network", {"d1": "plain"})
    assert gaps["network"].tolist() == ["plain", "plain"] and gaps["seed"].tolist() == [0, 1]
    table = ablation.gap_table(gaps, ["kind", "against"], seed=1)
    assert isinstance(table, pd.DataFrame) and len(table) == 1
    row = table.iloc[0]
    assert row["mean"] == 1.5 and row["n"] == 2 and row["bootstrap"] == "+2.0 [+1.0, +3.0]"


def test_two_networks_have_their_values_in_place_of_an_interval():
    frame = pd.DataFrame({"detector": "csp", "seed": [0, 1], "value": [1.0, 4.0]})
    row = ablation.summarise(frame, ["detector"], "value").iloc[0]
    assert (row["mean"], row["low"], row["high"], row["n"]) == (2.5, 1.0, 4.0, 2)
    frame = pd.concat([frame, frame.assign(seed=[2, 3])])
    assert ablation.summarise(frame, ["detector"], "value")["low"][0] < 1
    one = pd.DataFrame({"detector": "faster", "seed": [0], "value": [7.0]})
    both = ablation.summarise(pd.concat([frame[:2], one]), ["detector"], "value")
    assert both["n"].tolist() == [2, 1] and both["low"][0] == 1 and both["low"].isna().tolist() == [False, True]
    assert ablation.spread(1) == "one network" and "two" in ablation.spread(2) and "n = 3" in ablation.spread(3)


def test_overlaps_are_counted_beside_those_expected():
    rows = pd.DataFrame([("random", 0.1465, 2), ("random", 0.1465, 4), ("rms_matched", 0.1465, 0), ("flip", 0.1465, 3)],
                        columns=["kind", "fraction", "shared"])
    table = ablation.overlaps(rows, 20, [300 / 2048]).set_index("kind")          # records round fractions to 4 digits
    assert table.loc["random"].tolist() == [300 / 2048, 3, 9 / 20, 3.0] and table.loc["rms_matched", "shared"] == 0
    assert ablation.overlaps(rows.drop(columns="shared"), 20, [300 / 2048])["shared"].isna().all()


def test_a_preset_is_the_data_sets_own_or_that_for_any():
    presets = {"quick": {"streets": 1, "any": 2}, "paper": {"camvid": 3}}
    assert ablation.select(presets, "quick", "streets") == 1 and ablation.select(presets, "quick", "mine") == 2
    with pytest.raises(ValueError, match=r"^dataset: profile paper has no preset for 'mine'; choose one of camvid$"):
        ablation.select(presets, "paper", "mine")
