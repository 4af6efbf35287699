"""Any network can be probed, the results are correct, and the network is restored."""
import numpy as np
import pytest
import timm
import torch
import torchvision
from test_hooks import Odd, assert_untouched, remembered
from torch import nn
from torch.nn.functional import pad

from posenc_lib import probe
from posenc_lib.measure import channels, metrics
from posenc_lib.nets import classifiers, custom, padding
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import decoding
from posenc_lib.run.config import Recipe

QUICK = Recipe(epochs=1, epoch_steps=3, batch_size=32, flip=False)
MINE = """
import torch
from torch import nn

class Tokens(nn.Module):   # transformer layers on patches; the output is a dict
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, stride=8)
        self.mixers = nn.ModuleList(nn.TransformerEncoderLayer(12, 2, 24, batch_first=True) for _ in range(5))
    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        for mixer in self.mixers:
            tokens = mixer(tokens)
        return {"answer": tokens.mean(1)}

def tokens():
    return Tokens()

def plain():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
                         nn.Conv2d(16, 20, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
NETWORKS = {   # name -> the layers that are found
    "torchvision:resnet18": ["relu", "layer1", "layer2", "layer3", "layer4"],
    "timm:resnet18": ["act1", "layer1", "layer2", "layer3", "layer4"],
    "torchvision:vgg11": ["features.1", "features.4", "features.9", "features.14", "features.19", "features"],
    "torchvision:mobilenet_v2": ["features.1", "features.3", "features.6", "features.13", "features"],
    "timm:convnext_tiny": ["stages.0", "stages.1", "stages.2", "stages"],
    "timm:vit_tiny_patch16_224": ["blocks.2", "blocks.5", "blocks.8", "blocks.11"],
    "mine.py:tokens": ["mixers.0", "mixers.1", "mixers.2", "mixers.4"],
    "mine.py:plain": ["1", "3", "4"],
}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)


def small(mode: str = "zeros", pool: bool = False) -> nn.Sequential:
    """A random network of total stride 4, or 8 with a max-pool of the usual kind."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.MaxPool2d(3, 2, 1) if pool else nn.Identity(), nn.ReLU(),
                        nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1))
    return padding.set_padding_mode(net, mode)


@pytest.mark.parametrize("name, layers", NETWORKS.items(), ids=NETWORKS)
def test_the_layers_that_are_found(mine, name, layers):
    with torch.device("meta"):   # shapes only
        found = probe.find_layers(custom.load(name).model)
    assert [layer.name for layer in found] == layers


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:convnext_tiny", "timm:vit_tiny_patch16_224", "mine.py:tokens",
                                  "mine.py:plain"])
def test_every_network_is_probed_at_the_layers_that_are_found_and_restored(mine, name):
    model, layers = custom.load(name).model.train(), NETWORKS[name]
    size = 224 if "vit" in name else 64
    before = remembered(model)
    result = probe.probe(model, images=probe.sample_images(32)[::30], size=size, grid=2, folds=3, recipe=QUICK)
    assert [layer.name for layer in result.layers] == layers
    assert_untouched(model, before)
    rows = result.accuracy
    assert list(rows["layer"].unique()) == layers and list(rows["head"].unique()) == list(probe.HEADS)
    assert rows[["mean", "chance", "ceiling", "margin"]].notna().all(axis=None) and rows["mean"].between(0, 100).all()
    for layer in result.layers:
        assert result.place_fields[layer.name].shape == (layer.channels, 2, 2)
        assert result.variance_explained[layer.name].shape == (layer.channels,)
        assert result.variance_explained[layer.name].min() >= 0 and result.variance_explained[layer.name].max() <= 1


@pytest.mark.parametrize("pool", [False, True], ids=["no pool", "max-pool"])
@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_a_random_network_is_exactly_at_chance_without_a_response_to_the_border_and_far_above_with_one(mode, pool):
    torch.manual_seed(0)
    net = classifiers.Classifier("cifar_resnet18", 10, width=8).net   # a ResNet-18 without max-pool
    if pool:
        net.maxpool = nn.MaxPool2d(3, 2, 1)
    padding.set_padding_mode(net, mode)
    result = probe.probe(net, ["layer4"], images=probe.sample_images(16)[::3], size=48, folds=4, recipe=Recipe(
        epochs=1, epoch_steps=60, batch_size=64, learning_rate=3e-2, flip=False))
    row, _, permuted = result.accuracy.to_dict("records")
    leak = probe.padding_report(net, probe.sample_images(48)[::30], modes=()).leak(probe.AS_BUILT)
    if mode == "circular" and not pool:
        assert (row["low"], row["mean"], row["high"]) == pytest.approx((100 / 9,) * 3)
        assert row["ceiling"] == pytest.approx(100 / 9) and row["margin"] == 0 and leak is None
        assert result.variance_explained["layer4"].max() < 1e-9
    else:
        assert row["mean"] > (80 if mode == "zeros" else 15) and row["low"] > 100 / 9 and row["margin"] > 0
        assert row["ceiling"] == 100 and leak == ("conv1" if mode == "zeros" else "maxpool")
        assert permuted["mean"] < 25


def test_a_circular_resnet_leaks_through_its_max_pool_only():
    net, images = torchvision.models.resnet18(), probe.sample_images(64, full_height=True)[::6]
    report = probe.padding_report(net, images, modes=("circular",))
    assert (report.leak("as_built"), report.leak()) == ("conv1", "maxpool")
    assert report.operations["fills"].value_counts().to_dict() == {"zeros": 16 + 1, "minus infinity": 1}
    net.maxpool = nn.Identity()
    assert probe.padding_report(net, images, modes=("circular",)).leak() is None


def test_a_transformer_without_positional_encoding_is_exactly_at_chance():
    net = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2)
    leaks = []
    for _ in range(2):
        result = probe.probe(net, ["blocks.1"], grid=2, images=probe.sample_images(32)[::15], size=64, recipe=QUICK)
        leaks.append((probe.padding_report(net, size=64, modes=()).leak("as_built"),
                      round(result.accuracy["ceiling"].max())))
        nn.init.zeros_(net.pos_embed)
    assert leaks == [("blocks.0.norm1", 100), (None, 25)] and set(result.accuracy["mean"]) == {25}


def test_padding_in_a_forward_method_is_detected_though_no_layer_declares_it():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

        def forward(self, x):
            around = pad(x, (1,) * 4, mode="circular")
            return self.second(pad(self.first(around), (1,) * 4))

    report = probe.padding_report(Padded(), size=32, modes=("circular",))
    assert report.operations.empty and (report.leak("as_built"), report.leak()) == ("second", "second")


def test_the_report_measures_every_layer_under_every_mode():
    net = small(pool=True)
    images = probe.sample_images(32, full_height=True)
    before = remembered(net)
    report = probe.padding_report(net, images)
    assert_untouched(net, before)
    rows = report.layers.set_index(["layer", "padding_mode"])
    assert set(rows.index) == {(layer, mode) for layer in "012345"
                               for mode in ("as_built", *PADDING_MODES)} and not report.refused
    assert (rows.xs("as_built", level=1)["shift_sensitivity"] == rows.xs("zeros", level=1)["shift_sensitivity"]).all()
    for mode in PADDING_MODES:
        with torch.no_grad(), padding.switched(net, mode):
            f = net[:1](images)
        mean, low, high = metrics.mean_interval(metrics.border_energy(f).tolist())
        assert rows.loc["0", mode][["energy", "low", "high", "n"]].tolist() == pytest.approx([mean, low, high, 12])
    shifted = images.roll((16, 16), (-2, -1))
    with torch.no_grad():
        z, after = (net(x).mean((-2, -1)) for x in (images, shifted))
    sensitivity = float(((after - z).norm(dim=1) / z.norm(dim=1)).mean())
    assert rows.loc["5", "as_built"]["shift_sensitivity"] == pytest.approx(sensitivity, rel=1e-4)
    assert np.isnan(rows.loc["5", "zeros"]["energy"]) == (min(f.shape[-2:]) <= 2)


def test_a_mode_that_a_network_refuses_is_reported_and_the_others_run():
    images = probe.sample_images(32, full_height=True)[::6]
    report = probe.padding_report(timm.create_model("mobilenetv2_100", pad_type="same"), images, modes=("circular",))
    assert "Conv2dSame" in report.refused["circular"] and set(report.layers["padding_mode"]) == {"as_built"}
    deep = nn.Sequential(nn.Conv2d(3, 4, 3, 8, 1), nn.Conv2d(4, 4, 7, 1, 3))
    report = probe.padding_report(deep, size=16, modes=("reflect", "zeros"))   # 3 pixels do not fit into a map of 2
    assert "layer 1: reflect padding of" in report.refused["reflect"] and "zeros" in set(report.layers["padding_mode"])


@pytest.mark.parametrize("rule", probe.RULES)
def test_rankings_are_those_of_page_06(rule):
    net, images = small("replicate"), probe.sample_images(48)[:10]

    def features(x):
        return net(x)

    with torch.no_grad():
        theirs = channels.rank(features, lambda: images.split(4), stride=4)
        rms_activation = channels.rms_activation(features, images.split(4))
    order, response = probe.rank(net, "5", images, rule, batch=4)
    rules = {**theirs.signed, **theirs.rules, "rms_activation": rms_activation}
    expected = rules[rule]
    torch.testing.assert_close(response.double(), expected.double(), rtol=1e-4, atol=1e-6)
    assert torch.equal(order, channels.top_channels(response, 32)) and sorted(order.tolist()) == list(range(32))


def test_channels_of_tokens_can_be_ranked_and_ablated():
    net = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1, num_classes=7)
    images = probe.sample_images(64)[::20]
    order, response = probe.rank(net, "blocks.0", images)
    assert sorted(order.tolist()) == list(range(192)) and (response[order].diff() <= 0).all()
    seen = []

    def evaluate(model):
        handle = model.norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        score = float(model(images).square().mean())
        handle.remove()
        return score

    rows = probe.attack(net, "blocks.0", order[:5], evaluate, draws=2)
    assert not seen[1][..., order[:5]].any() and seen[0][..., order[:5]].any()
    assert rows["ablated"].tolist() == ["none", "targets", "random"] and rows["n"].tolist() == [1, 1, 2]


def test_an_attack_reports_the_score_without_the_targets_and_without_random_sets_of_the_same_size():
    net = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1))
    x = torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 4, 4)
    rms_activation = torch.arange(8.0)

    def evaluate(model):
        return float(model(x).sum())   # 28 with all channels

    rows = probe.attack(net, "0", [6, 7], evaluate, draws=30, seed=1, rms_activation=rms_activation)
    rows = rows.set_index("ablated")
    assert rows.loc["none", ["mean", "harm"]].tolist() == [28, 0]
    assert rows.loc["targets", ["mean", "harm", "n"]].tolist() == [15, 13, 1] and np.isnan(rows.loc["targets", "low"])
    sets = [sum(28 for _ in "1") - float(s.sum()) for s in channels.random_sets(8, 2, 30, 1)]
    assert rows.loc["random", ["mean", "low", "high"]].tolist() == pytest.approx(
        [np.mean(sets), *np.quantile(sets, [0.025, 0.975])])
    assert rows.loc["rms_matched", "mean"] == 15   # each stratum has one channel, so it is the targets themselves


@pytest.mark.parametrize("fail", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("call", [
    lambda net: probe.probe(net, images=torch.zeros(4, 3, 8, 8), size=32, grid=2, folds=2, recipe=QUICK, batch=4),
    lambda net: probe.rank(net, "conv", torch.zeros(4, 3, 16, 16)),
    lambda net: probe.padding_report(net, torch.zeros(4, 3, 16, 16)),
    lambda net: probe.attack(net, "conv", [0], lambda net: float(net(torch.zeros(1, 3, 8, 8)).sum()), draws=2),
], ids=["probe", "rank", "padding_report", "attack"])
def test_an_interrupted_network_is_restored(call, fail):
    net = Odd().train()
    calls = []

    def interrupt(module, inputs):
        calls.append(1)
        if len(calls) == 3:
            raise fail

    net.register_forward_pre_hook(interrupt)
    before = remembered(net)
    with pytest.raises((fail, ValueError)):   # a network's own error becomes one sentence
        call(net)
    assert len(calls) == 3
    assert_untouched(net, before)
    call(net)                               # not interrupted
    assert_untouched(net, before)


@pytest.mark.parametrize("call, sentence", [
    (lambda net: probe.probe(net, ["layer9"]), "Sequential has no layer 'layer9'; similar names are"),
    (lambda net: probe.probe(net, ["6"], size=32), "6 of Sequential outputs no feature map; layers that do"),
    (lambda net: probe.probe(net, size=16, grid=9), "a 9x9 grid was requested; a canvas of 16 pixels with stride 4 "
                                                    "allows 2 to 4 cells"),
    (lambda net: probe.probe(net, size=32, grid=1), "a 1x1 grid was requested"),
    (lambda net: probe.probe(net, size=32, images=torch.zeros(5, 3, 8, 8)), "6 folds of 5 images were requested"),
    (lambda net: probe.probe(net, size=32, images=torch.zeros(5, 3, 8, 8), folds=1), "1 folds of 5"),
    (lambda net: probe.find_layers(nn.Linear(7, 2)), "Linear cannot take images of shape "),
    (lambda net: probe.find_layers(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), size=8), "no layer of Sequ"),
    (lambda net: probe.rank(net, "5", torch.zeros(2, 3, 32, 32), "size"),
     "rule: 'size' .*'flip', 'shift', 'decodability', 'rms_activation', 'left'"),
    (lambda net: probe.attack(net, "5", [0], lambda net: 1.0), "`evaluate` did not run layer 5"),
    (lambda net: probe.attack(net, "5", [99], lambda net: float(net(torch.zeros(1, 3, 8, 8)).sum())),
     r"channels 99..99 were requested, but there are only 0..31"),
], ids=range(11))
def test_errors_are_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        call(nn.Sequential(*small(), nn.Flatten()))
    assert "\n" not in str(raised.value)


def test_latents_that_are_not_finite_are_refused():
    net = small()
    net[0].bias.data[3] = torch.inf
    with pytest.raises(ValueError, match="layer 0 outputs values that are not finite"):
        probe.probe(net, ["0"], images=torch.zeros(6, 3, 8, 8), size=32, recipe=QUICK)


def test_heads_are_tested_on_images_they_were_not_trained_on(monkeypatch):
    folds, decode = [], decoding.decode

    def recorded(latents, location, tested, tested_location, **options):
        folds.append((latents[0], location, tested[0], tested_location))
        return decode(latents, location, tested, tested_location, **options)

    monkeypatch.setattr(decoding, "decode", recorded)
    result = probe.probe(small(), ["5"], images=probe.sample_images(8)[::10], size=32, grid=2, folds=4, recipe=QUICK)
    assert [len(tested) for _, _, tested, _ in folds] == [12, 8, 8, 8]      # 9 images in 4 cells
    every = torch.cat([tested for _, _, tested, _ in folds])                # in the images' order
    for n, (seen, location, tested, tested_location) in enumerate(folds):
        start = sum(len(t) for _, _, t, _ in folds[:n])
        assert torch.equal(torch.cat([every[:start], every[start + len(tested):]]), seen)
        assert location.tolist() == [0, 1, 2, 3] * (len(seen) // 4)
        assert tested_location.tolist() == [0, 1, 2, 3] * (len(tested) // 4)
    assert set(result.accuracy["n"]) == {4}


def test_every_image_is_placed_in_every_cell_of_the_centred_grid():
    seen = []
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 8, 1))
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 5, 5) + 1
    probe.probe(net, ["0"], images=images, size=38, folds=2, grid=2, recipe=QUICK)   # 40: cells of 16, a margin of 4
    canvases = seen[-1]                                                              # passes before trace the layers
    assert canvases.shape == (8, 3, 40, 40)
    for n, canvas in enumerate(canvases):
        row, col = 4 + 16 * (n % 4 // 2), 4 + 16 * (n % 2)
        assert torch.equal(canvas[:, row:row + 16, col:col + 16], probe._resize(images, 16)[n // 4])
        assert (canvas != 0).sum() == 3 * 16 * 16


def test_sample_images_are_crops_of_every_photograph_in_turn():
    windows, ends = probe.sample_images(24), probe.sample_images(16, full_height=True)
    assert windows.shape == (90, 3, 24, 24) and ends.shape == (12, 3, 16, 16)
    plain = probe.sample_images(24, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert plain.min() >= 0 and plain.max() <= 1 + 1e-5
    torch.testing.assert_close(windows, probe.normalise(255 * plain))
    assert len({float(p.sum()) for p in plain}) == 90
    assert torch.equal(probe.sample_images(24, 12), windows[torch.arange(12) * 90 // 12])
    assert torch.equal(probe.sample_images(24, 99), windows)
