"""The section of page 05 on exact shifts: adaptive polyphase sampling, and agreement shift by shift."""
import json
import pickle
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from posenc_lib.data import registry
from posenc_lib.data.imageset import ImageSet
from posenc_lib.experiments import augshift, shift_phase
from posenc_lib.nets import polyphase
from posenc_lib.nets.classifiers import Classifier
from posenc_lib.run import records
from posenc_lib.run.config import PROFILES, PROJECT, describe, digest
from posenc_lib.run.records import Record

SHIFTS = [(0, 1), (1, 0), (3, -2), (-5, 7), (8, 4)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- adaptive polyphase sampling

def test_components_are_the_four_strided_maps():
    f = noise(3, 2, 6, 4)
    split = polyphase.components(f)
    strided = [f[..., row::2, col::2] for row in (0, 1) for col in (0, 1)]
    assert torch.equal(split, torch.stack(strided, 1))
    with pytest.raises(ValueError, match="a 5x4 map has components of different sizes"):
        polyphase.components(noise(1, 1, 5, 4))


@pytest.mark.parametrize("component, row, col", [(0, 2, 4), (1, 2, 5), (2, 3, 4), (3, 3, 5)])
def test_the_component_of_largest_norm_is_kept(component, row, col):
    f = noise(4, 3, 8, 8)
    f[:, 1, row, col] = -100.0   # a large norm, and no large sum
    assert polyphase.strongest(f).tolist() == [component] * 4
    assert torch.equal(polyphase.keep(f, polyphase.strongest(f)), f[..., row % 2::2, col % 2::2])


@pytest.mark.parametrize("shift", SHIFTS)
def test_what_is_kept_moves_with_the_map(shift):
    f = noise(6, 3, 8, 8)
    kept, moved = (polyphase.keep(x, polyphase.strongest(x)) for x in (f, f.roll(shift, (2, 3))))
    turned = [torch.equal(moved[n], kept[n].roll((row, col), (1, 2))) for n in range(6)
              for row in range(4) for col in range(4)]
    assert sum(turned) == 6   # each is its own map, turned once
    assert not torch.equal(f[..., ::2, ::2].sum((2, 3)), f.roll((0, 1), (2, 3))[..., ::2, ::2].sum((2, 3)))


def network(method: str) -> Classifier:
    c = augshift.AugShiftConfig(profile="", dataset="", data="", method=method, width=4)
    return augshift.initialise(c, 5, seed=0).eval()


@pytest.mark.parametrize("shift", SHIFTS)
def test_under_circular_shifts_only_adaptive_sampling_is_exact(shift):
    x = noise(8, 3, 16, 16)
    for method, exact in (("polyphase", True), ("circular_padding", shift == (8, 8))):
        net = network(method)
        with torch.no_grad():
            z, moved = net(x)[0], net(x.roll(shift, (2, 3)))[0]
        assert torch.allclose(z, moved, atol=1e-5, rtol=1e-5) == exact


def test_both_branches_of_a_block_keep_the_same_component():
    """By hand, with the component that the first activation chooses."""
    block = network("polyphase").net.layer2[0]
    x = noise(5, 4, 8, 8)
    with torch.no_grad():
        inner = block.act1(block.bn1(block.conv1(x)))
        chosen = polyphase.strongest(inner).tolist()
        assert len(set(chosen)) > 1
        rows = [(inner[[n]][..., k // 2::2, k % 2::2], x[[n]][..., k // 2::2, k % 2::2]) for n, k in enumerate(chosen)]
        by_hand = [block.act2(block.bn2(block.conv2(main)) + block.downsample(short)) for main, short in rows]
        torch.testing.assert_close(block(x), torch.cat(by_hand))


@pytest.mark.parametrize("name, blur, layer", [("resnet18", False, "net.conv1"), ("resnet50", False, "net.conv1"),
                                               ("cifar_resnet18", True, "net.layer2.0.downsample.0")])
def test_a_stride_that_cannot_be_made_adaptive_is_named(name, blur, layer):
    with torch.device("meta"):
        net = Classifier(name, 3, blur=blur)
    with pytest.raises(ValueError, match=f"polyphase: layer {layer} has a stride of"):
        polyphase.sample_adaptively(net)


# ---- agreement by shift

class Column(nn.Module):
    """Says the column of the brightest pixel modulo a period."""
    def __init__(self, period: int):
        super().__init__()
        self.period = period

    def forward(self, x):
        at = x.sum(1).flatten(1).argmax(1) % x.shape[-1] % self.period
        return at[:, None].float(), one_hot(at, self.period).float()


def dots(columns: list[int], side: int = 16) -> ImageSet:
    pixels = torch.zeros(len(columns), 3, side, side, dtype=torch.uint8)
    pixels[torch.arange(len(columns)), :, 5, columns] = 255
    return ImageSet("made", "test", pixels, torch.zeros(len(columns), dtype=torch.long), ("a",), (0.5,) * 3, (0.2,) * 3)


def agreement_by_shift(net: nn.Module, images: ImageSet, fill: str) -> list[float]:
    return shift_phase.agreement(shift_phase.answers_by_shift(net, images, fill))


def test_answers_by_hand():
    answers = shift_phase.answers_by_shift(Column(4), dots([0, 5], side=8), "circular")
    assert answers.T.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 0], [1, 2, 3, 0, 1, 2, 3, 0, 1]]


def test_agreement_by_hand():
    """The answer comes back with the period; a dot that leaves under a black border answers for column 0."""
    curve = agreement_by_shift(Column(4), dots([0, 9]), "circular")
    assert curve == [1.0 if pixels % 4 == 0 else 0.0 for pixels in range(17)]
    curve = agreement_by_shift(Column(16), dots([0, 9]), "constant")
    assert curve == [1.0, *[0.0] * 15, 0.5]   # the first has left, and all-black answers column 0, as it was


@pytest.mark.parametrize("fill", shift_phase.FILLS)
def test_a_circular_shift_by_the_side_is_none_and_a_black_one_is_everything(fill):
    curve = agreement_by_shift(Column(16), dots([3, 4, 5]), fill)
    assert len(curve) == 17 and curve[0] == 1 and curve[-1] == (1.0 if fill == "circular" else 0.0)


def test_a_line_has_no_teeth_and_teeth_have_no_slope():
    line = [1 - pixels / 64 for pixels in range(33)]
    assert shift_phase.tooth(line) == pytest.approx(0) and shift_phase.border_loss(line) == pytest.approx(0.25)
    comb = [1.0 if pixels % 8 == 0 else 0.6 for pixels in range(33)]
    assert shift_phase.tooth(comb) == pytest.approx(0.4) and shift_phase.border_loss(comb) == 0
    ends = [0.0, *line[1:-1], 0.0]
    assert shift_phase.border_loss(ends) == pytest.approx(0.25)   # the ends are left out


# ---- runs

@pytest.fixture(scope="module")
def data():
    return {"digits": registry.load("digits", "", validation=0.0)}


def test_there_is_a_network_of_every_method_in_every_schedule(data):
    assert set(shift_phase.SCHEDULES) == set(shift_phase.SEEDS) == {*PROFILES, "long"}
    for schedule in shift_phase.SCHEDULES:
        configs = shift_phase.configs(schedule, "digits", data["digits"])
        assert [c.network.method for c in configs] == list(shift_phase.METHODS)
        assert len({digest(c) for c in configs}) == len(configs)
        assert {(c.network.profile, c.side, c.network.recipe.flip) for c in configs} == {(schedule, 16, False)}
    other = shift_phase.configs("long", "cifar10", data["digits"])[0].network
    assert other.recipe.flip and other.recipe.epoch_steps == 15 and other.width == 8


def test_a_run_is_a_function_of_configuration_and_seed(data):
    c = replace(shift_phase.configs("smoke", "digits", data["digits"])[-1])
    assert c.network.method == "polyphase"
    run = pickle.loads(pickle.dumps(partial(shift_phase.run, data=data, device="cpu")))   # as a worker gets it
    results = json.loads(json.dumps(run(c, 0, None), allow_nan=False))
    torch.rand(3)
    assert json.loads(json.dumps(shift_phase.run(c, 0, data=data, device="cpu"))) == results
    assert results["curves"]["circular"] == [1.0] * 17 and len(results["curves"]["constant"]) == 17
    slides = torch.tensor(results["slides"]["circular"])   # (image, pixels): adaptive sampling never changes its answer
    assert slides.shape == (4, 17) and (slides == slides[:, :1]).all()
    made = [Record("shift_phase", digest(c), 0, json.loads(json.dumps(describe(c))), results)]
    frame = shift_phase.curves(made)
    assert len(frame) == 34 and set(frame["fill"]) == set(shift_phase.FILLS) and frame["value"].max() == 100
    row = shift_phase.measures(made).set_index("fill").loc["circular"]
    assert (row["border_loss"], row["tooth"], row["lowest"]) == (0, 0, 100)


def measured(seeds: int = 2, **changes: dict) -> pd.DataFrame:
    """Measures that meet every prediction; `changes` by method and fill: what differs in the last seed."""
    as_predicted = {"baseline": (40, 10, 30), "two_crops": (20, 4, 60), "augshift": (25, 4, 60),
                    "blurpool": (45, 2, 40), "circular_padding": (0, 20, 60), "polyphase": (0, 0, 100)}
    rows = []
    for seed in range(seeds):
        for method, (lost, tooth, lowest) in as_predicted.items():
            for fill in shift_phase.FILLS:
                row = {"method": method, "seed": seed, "fill": fill, "top1": 80.0, "border_loss": lost, "tooth": tooth,
                       "lowest": lowest}
                if method == "polyphase" and fill == "constant":
                    row["border_loss"] = 50
                if seed == seeds - 1:
                    row |= changes.get(f"{method}_{fill}", {})
                rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("changes, failed", [
    ({}, []),
    ({"polyphase_circular": {"lowest": 99.0}}, [0]),
    ({"circular_padding_circular": {"border_loss": 1.0}}, [1]), ({"circular_padding_circular": {"tooth": 0.0}}, [1]),
    ({"baseline_circular": {"tooth": -1.0}}, [2, 3]), ({"blurpool_circular": {"tooth": 11.0}}, [3]),
    ({"two_crops_circular": {"border_loss": 41.0}}, [4]), ({"augshift_circular": {"border_loss": 41.0}}, [4]),
    ({"polyphase_constant": {"border_loss": 0.0}}, [5]), ({"baseline_constant": {"tooth": -9.0}}, []),
])
def test_a_prediction_holds_if_every_seed_has_it(changes, failed):
    found = shift_phase.predictions(measured(**changes))
    assert len(found) == 6 and found.index[~found["holds"]].tolist() == failed
    assert found["evidence"].str.contains("by seed").all()


def test_the_page_has_the_predictions_that_are_tested():
    page = " ".join((PROJECT / "notebooks" / "05_augshift.py").read_text().replace("\n#", " ").split())
    for prediction in shift_phase.predictions(measured())["prediction"]:
        text = prediction.replace("the total stride", "8").replace("the stride", "8")
        assert text in page, text


def test_the_committed_runs_have_the_control():
    runs = records.load(PROJECT / "records" / "cpu" / "shift_phase.jsonl")
    if not runs:
        pytest.skip("no committed run")
    exact = [run.results["curves"]["circular"] for run in runs if run.config["network"]["method"] == "polyphase"]
    assert len(exact) >= 2 and all(min(curve) == 1 for curve in exact)
