"""Page 08's runs: what is compared, that a run is a function of its configuration and seed, and the rows it gives."""
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from posenc_lib import probe
from posenc_lib.experiments import your_own_model
from posenc_lib.experiments.pretrained_decoding import DecodingConfig
from posenc_lib.experiments.your_own_model import ProbeConfig
from posenc_lib.run import records
from posenc_lib.run.config import PROFILES, PROJECT, Workspace, digest

TINY = {"profile": "smoke", "size": 64, "grid": 2, "images": 4, "folds": 2, "steps": 2}


def test_heads_are_trained_as_on_page_04():
    assert DecodingConfig.recipe == probe.RECIPE


@pytest.mark.parametrize("profile, n", list(zip(PROFILES, (3, 14, 14), strict=True)))
def test_convolutional_networks_are_compared_with_and_without_circular_padding(profile, n):
    runs = [(c.network, c.padding_mode) for c in your_own_model.configs(profile)]
    assert len(runs) == len(set(runs)) == n
    assert {mode for network, mode in runs if network.startswith("vit")} == {"zeros"}
    convolutional = [network for network, _ in runs if not network.startswith("vit")]
    assert all((network, mode) in runs for network in convolutional for mode in ("zeros", "circular"))


def test_the_recorded_runs_are_of_the_networks_of_the_quick_profile_and_have_todays_digests():
    recorded = records.load(PROJECT / "records" / "cpu" / "your_own_model.jsonl")
    configs = [ProbeConfig(**{name: value for name, value in record.config.items() if name != "class"})
               for record in recorded]
    assert [digest(c) for c in configs] == [record.digest for record in recorded]
    assert {(c.network, c.padding_mode) for c in configs} == {
        (c.network, c.padding_mode) for c in your_own_model.configs("quick")}
    rows = your_own_model.to_rows(recorded)
    assert len(rows) == len(recorded) * len(probe.HEADS) and set(rows["head"]) == set(probe.HEADS)


@pytest.mark.parametrize("name", your_own_model.ARCHITECTURES)
def test_every_architecture_is_built_for_the_size(name):
    with torch.device("meta"):
        net = your_own_model.ARCHITECTURES[name](96)
        assert net(torch.zeros(2, 3, 96, 96)).shape == (2, 1000)


def test_only_the_vision_transformer_without_positions_has_none():
    with_positions, without = (your_own_model.ARCHITECTURES[name](32).pos_embed
                               for name in ("vit_tiny", "vit_tiny_without_positions"))
    assert with_positions.abs().min() > 0 and not without.any()


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match=r"network: 'resnet19' .*'resnet18', 'resnet18_without_maxpool'"):
        ProbeConfig(profile="smoke", network="resnet19")


def test_a_run_is_a_picklable_function_of_configuration_and_seed(tmp_path):
    run = partial(your_own_model.run, workspace=Workspace("smoke", "", str(tmp_path)))
    run = pickle.loads(pickle.dumps(run))
    c = ProbeConfig(network="mobilenet_v2", padding_mode="circular", **TINY)
    results = run(c, 0)
    assert run(c, 0) == results
    assert results["layer"] == "features" and results["first"] == "none"
    assert results["shift_sensitivity"] <= probe.MIN_SENSITIVITY
    assert {row["head"]: (row["mean"], row["ceiling"]) for row in results["accuracy"]} == dict.fromkeys(
        probe.HEADS, (25, 25))


def test_the_network_in_depth_is_a_small_one_without_weights(tmp_path):
    encoder, key = your_own_model.encoder_in_depth("", "smoke", tmp_path)
    assert key == "small/photos" and not encoder.net.training


def test_ablations_cover_every_fraction_and_rule():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 20, 3, 2, 1), nn.ReLU())
    images = torch.randn(4, 3, 16, 16)
    (layer,) = probe.find_layers(net, ["1"], size=16)
    rankings = {rule: probe.rank(net, "1", images, rule) for rule in ("decodability", "flip", "rms_activation")}
    rows = your_own_model.ablation_rows(net, layer, rankings, lambda net: float(net(images).sum()), draws=2)
    assert rows[["percent", "rule"]].drop_duplicates().to_numpy().tolist() == [
        [percent, rule] for percent in (5, 15, 50) for rule in ("decodability", "flip")]
    assert rows["ablated"].tolist() == ["none", "targets", "random", "rms_matched"] * 6
    half = rows[(rows["percent"] == 50) & (rows["rule"] == "flip")].set_index("ablated")
    expected = net(images)[:, rankings["flip"][0][10:]].sum().item()
    assert half.loc["targets", "mean"] == pytest.approx(expected, rel=1e-5)
