"""Which widths a network samples symmetrically, and what its pooled latent then makes of a mirror image (page 06)."""
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from posenc_lib.data import bundled
from posenc_lib.experiments import size_parity
from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.experiments.size_parity import Inputs, ParityConfig, crop, mirrored, relative, uneven_layers
from posenc_lib.nets import classifiers, pretrained
from posenc_lib.nets.heads import gap
from posenc_lib.run import records
from posenc_lib.run.config import PROJECT, digest


def symmetric_widths(net: nn.Module, widths: range) -> list[int]:
    return [n for n in widths if not uneven_layers(net.eval(), torch.zeros(1, 3, 32, n))]


@pytest.mark.parametrize("layer, symmetric", [
    (nn.Conv2d(3, 1, 3, stride=2, padding=1), [9, 11]),
    (nn.Conv2d(3, 1, 3, padding=1), [8, 9, 10, 11]),
    (nn.Conv2d(3, 1, 1, stride=2), [9, 11]),
    (nn.Conv2d(3, 1, 2, padding=1), [8, 9, 10, 11]),
    (nn.Conv2d(3, 1, 3, stride=4, dilation=2, padding=2), [9]),
    (nn.MaxPool2d(2), [8, 10]),
    (nn.MaxPool2d(3, stride=2, ceil_mode=True), [9, 11]),
    (nn.AvgPool2d(2, ceil_mode=True), [8, 10]),
    (Conv2dSame(3, 1, 3, stride=2), [9, 11]),
    (Conv2dSame(3, 1, 2), []),
])
def test_a_layer_is_even_where_its_windows_lie_symmetrically(layer, symmetric):
    assert symmetric_widths(nn.Sequential(layer), range(8, 12)) == symmetric


@pytest.mark.parametrize("build, period, remainder", [
    (lambda: classifiers.permutenet(2, width=2), 16, 1),
    (lambda: classifiers.vgg(2, 2), 8, 0),
    (lambda: pretrained.untrained("squeezenet1_1").net, 16, 15),
    (lambda: pretrained.untrained("mobilenetv2_100").net, 32, 1),
])
def test_every_network_has_its_own_symmetric_widths(build, period, remainder):
    widths = range(60, 100)
    assert symmetric_widths(build(), widths) == [n for n in widths if n % period == remainder]


@pytest.mark.parametrize("columns, symmetric", [(33, True), (32, False)])
def test_a_mirrored_network_on_the_mirror_image_gives_the_same_latent_if_no_layer_is_uneven(columns, symmetric):
    torch.manual_seed(0)
    net = classifiers.ResNet18(4).eval()
    images = torch.randn(3, 3, 20, columns)
    with torch.no_grad():
        z = gap(net.features(images))
        difference = (z - gap(mirrored(net).features(images.flip(-1)))).abs().max()
    assert difference < 1e-5 if symmetric else difference > 1e-2


def test_a_crop_is_central():
    images = torch.arange(6.0).repeat(1, 3, 4, 1)
    assert crop(images, 2, 4)[0, 0].tolist() == [[1, 2, 3, 4]] * 2
    assert crop(images, 4, 5)[0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="4x7 pixels were requested, but the images have 4x6"):
        crop(images, 4, 7)


def test_a_difference_is_relative_to_the_spread_over_images_of_all_channels_together():
    z = torch.tensor([[0.0, 5], [2, 5]])                                 # standard deviations sqrt(2) and 0
    assert relative(torch.full((2, 2), -1.0), z) == pytest.approx(2 ** 0.5)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return Inputs(bundled.photos(64)[0], Path(), {}, torch.device("cpu"))


CONFIG = ParityConfig(profile="smoke", dataset="photos", data="", encoder=EncoderConfig(net="resnet18", width=2),
                      images=4, rows=24, narrowest=31, widest=33)


def test_a_run_vanishes_at_symmetric_widths_only_where_it_should(inputs):
    results = size_parity.run(CONFIG, 0, inputs=inputs)
    assert results == size_parity.run(CONFIG, 0, inputs=inputs) != size_parity.run(CONFIG, 1, inputs=inputs)
    *uneven, symmetric = results["rows"]
    assert [row["columns"] for row in results["rows"]] == [31, 32, 33] and results["channels"] == 16
    assert symmetric["uneven"] == 0 and all(row["uneven"] > 0 for row in uneven)
    assert max(symmetric["mirrored_network"], symmetric["symmetrised_flip"]) < 1e-5 < 1e-2 < symmetric["flip"]
    assert min(row[kind] for row in uneven for kind in ("flip", "mirrored_network", "symmetrised_flip")) > 1e-3
    assert symmetric["spearman"] == pytest.approx(1) and symmetric["overlap"] == 1


@pytest.mark.parametrize("net", ["squeezenet1_1", "mobilenetv2_100"])
def test_the_smallest_images_are_large_enough_for_the_imagenet_networks(net, inputs):
    c = size_parity.plan("smoke", inputs.images, {}, "")[-1]
    images, _ = inputs.images.batch(torch.arange(2))
    z = size_parity.build(EncoderConfig(net=net), 0, inputs)(crop(images, c.rows, 17))[-1]
    assert z.shape[0] == 2 and min(z.shape[2:]) >= 1


def test_networks_are_trained_where_the_plan_says_so(inputs):
    plan = size_parity.plan("smoke", inputs.images, {}, "")
    assert [c.encoder.key for c in plan] == ["resnet18/photos", "resnet18/random", "vgg/random"]
    assert {(c.narrowest, c.widest) for c in plan} == {(17, 33)} and len({digest(c) for c in plan}) == 3
    trained, untrained = (size_parity.build(c.encoder, 0, inputs).net.conv1.weight for c in plan[:2])
    assert trained.shape == untrained.shape and not torch.equal(trained, untrained)
    assert size_parity.build(replace(plan[2].encoder), 0, inputs).stages == ("features.5", "features.12",
                                                                             "features.19", "features.26")


def test_the_summary_compares_the_two_kinds_of_width():
    rows = [{"network": "a/random", "seed": 0, "halves": 0.5, "columns": columns, "uneven": uneven, "flip": flip,
             "mirrored_network": 0.1 * uneven, "symmetrised_flip": 0.2 * uneven, "spearman": columns / 10, "overlap": 1}
            for columns, uneven, flip in ((7, 0, 2.0), (8, 1, 4.0), (9, 0, 3.0))]
    summary = size_parity.parity_summary(pd.DataFrame(rows)).iloc[0]
    assert (summary["symmetric"], summary["flip_symmetric"], summary["flip_uneven"]) == ("7, 9", 2.5, 4.0)
    assert summary["sampling"] == pytest.approx(0.1) and summary["at_symmetric"] == 0
    assert summary["spearman"] == 0.8                                    # at 8, the nearest uneven one to 9
    none = size_parity.parity_summary(pd.DataFrame(rows[1:2])).iloc[0]
    assert none["symmetric"] == "" and pd.isna(none["flip_symmetric"]) and pd.isna(none["spearman"])


def test_the_committed_records_vanish_exactly_where_no_layer_is_uneven():
    frame = size_parity.parity_frame(records.load(PROJECT / "records" / "cpu" / "size_parity.jsonl"))
    even = frame["uneven"] == 0
    assert even.any() and not even.all()
    assert frame.loc[even, ["mirrored_network", "symmetrised_flip"]].max(axis=None) < 1e-5
    assert frame.loc[~even, ["mirrored_network", "symmetrised_flip"]].min(axis=None) > 1e-3
    assert frame["flip"].min() > 1e-2
