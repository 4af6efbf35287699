"""Confidence maps of GAPNet, the regions of the map that vote, and a head that reads the border itself."""
from dataclasses import replace

import pytest
import torch
from torch import nn

from posenc_lib.data import registry
from posenc_lib.experiments import gapnet_vs_permutenet as gapnet
from posenc_lib.experiments import where_it_reads as reads
from posenc_lib.measure import canvas
from posenc_lib.run import records
from posenc_lib.run.config import PROJECT, digest
from posenc_lib.show import figures

CPU = torch.device("cpu")
SPLITS = registry.load("digits", "", validation=0.0)
CONFIGS = {(c.placement.backbone, c.placement.padding_mode, c.head): c
           for c in reads.configs("reference", SPLITS.fingerprint)}


def small(c: reads.ReadsConfig) -> reads.ReadsConfig:
    return replace(c, placement=replace(c.placement, **reads.SCHEDULES["smoke"][c.placement.backbone]))


def in_all_cells(net: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """The pooled latents and the logits of one digit in each of nine cells."""
    images, _ = SPLITS.test.batch(torch.zeros(9, dtype=torch.long))
    with torch.no_grad():
        f = net.features(canvas.place(images, torch.arange(9), 3))
        return f.mean((-2, -1)), net.head(f)


def test_the_logit_is_the_mean_of_the_confidence_map():
    net = reads.build(small(CONFIGS["nin", "zeros", "zeros"]), SPLITS.train).eval()
    canvases = canvas.place(SPLITS.test.batch(torch.arange(9))[0], torch.arange(9), 3)
    maps = reads.confidence_maps(net, canvases)
    assert maps.shape == (9, 9, 12, 12)
    torch.testing.assert_close(maps.mean((-2, -1)), net(canvases))


def test_evidence_is_the_correct_label_minus_the_mean_of_the_others():
    maps = torch.tensor([[1.0, 2, 6], [3, 5, 1]])[:, :, None, None]   # (batch, label, 1, 1)
    assert reads.evidence(maps, torch.tensor([2, 0])).flatten().tolist() == [6 - 1.5, 3 - 3]


def test_a_constant_map_is_evidence_for_no_cell_on_average():
    maps = torch.randn(1, 9, 4, 4).expand(9, -1, -1, -1)
    torch.testing.assert_close(reads.evidence(maps, torch.arange(9)).mean(0), torch.zeros(4, 4))


def test_regions_split_the_map():
    for side in (3, 6, 12):
        where = reads.regions(side, 3)
        assert torch.equal(where.sum(0), torch.ones(9, side, side, dtype=torch.long))
        assert (where[0].flatten(1).sum(1) == (side // 3) ** 2).all()
    corner = reads.regions(6, 3)[:, 0]   # image, border, empty with the image top left
    assert corner[0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert corner.flatten(1).sum(1).tolist() == [4, 17, 15]
    with pytest.raises(ValueError, match="4x4 cannot be cut into 3x3"):
        reads.regions(4, 3)


@pytest.mark.parametrize("backbone", ["resnet18", "nin"])
def test_under_circular_padding_only_a_zero_padded_3x3_head_sees_the_cell(backbone):
    released = CONFIGS[backbone, "circular", "zeros"]
    changes = {}
    for head in reads.HEADS:
        torch.manual_seed(0)
        z, logits = in_all_cells(reads.build(replace(released, head=head), SPLITS.train).eval())
        assert (z - z[0]).abs().max() < 1e-5 * z.abs().max()
        changes[head] = ((logits - logits[0]).abs().max() / logits.abs().max()).item()
    assert changes["zeros"] > 2e-5 > 2e-6 > max(changes["circular"], changes["1x1"])


def test_a_circular_head_and_a_1x1_head_are_linear_in_z():
    for head in ("circular", "1x1"):
        net = reads.build(replace(small(CONFIGS["resnet18", "circular", "zeros"]), head=head), SPLITS.train)
        conv = net.head[0]
        channels = torch.randn(5, net.channels, 6, 6)
        by_z = channels.mean((-2, -1)) @ conv.weight.sum((-2, -1)).T + conv.bias
        torch.testing.assert_close(net.head(channels), by_z)


def test_the_released_pair_is_the_gapnet_of_page_03():
    c = small(CONFIGS["resnet18", "zeros", "zeros"])
    torch.manual_seed(1)
    here = reads.build(c, SPLITS.train).state_dict()
    torch.manual_seed(1)
    there = gapnet.build(c.placement, SPLITS.train).state_dict()
    assert here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here)


def test_configurations_differ_and_a_head_has_to_be_one_of_three():
    for schedule, n in (("smoke", 7), ("quick", 7), ("reference", 9)):
        assert len({digest(c) for c in reads.configs(schedule, "data")}) == n
    with pytest.raises(ValueError, match="5x5"):
        replace(CONFIGS["nin", "zeros", "zeros"], head="5x5")


@pytest.mark.parametrize("backbone, side", [("resnet18", 3), ("nin", 12)])
def test_a_run_is_a_function_of_its_configuration_and_seed(backbone, side):
    c = small(CONFIGS[backbone, "zeros", "zeros"])
    results = reads.run(c, 0, splits=SPLITS, device=CPU)
    torch.manual_seed(7)
    assert reads.run(c, 0, splits=SPLITS, device=CPU) == results
    assert torch.tensor(results["evidence"]).shape == torch.tensor(results["empty_canvas"]).shape == (9, side, side)
    assert sum(results["area"].values()) == pytest.approx(1)
    assert sum(results["votes"].values()) == pytest.approx(torch.tensor(results["evidence"]).mean().item(), abs=1e-3)
    assert torch.tensor(results["empty_canvas"]).mean(0).abs().max() < 2e-3   # rounded


class Local(nn.Module):
    """A network whose confidence in its cell is 1 at the image's positions and 0 elsewhere."""
    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Identity())

    def features(self, canvases):
        cells = torch.nn.functional.max_pool2d(canvases.abs().amax(1, keepdim=True), 16)   # (batch, 1, 3, 3)
        here = (cells.flatten(1) > 0).float()
        return torch.diag_embed(here).reshape(-1, 9, 3, 3)


def test_votes_of_a_network_that_reads_the_image_alone_are_the_images():
    c = small(CONFIGS["resnet18", "zeros", "zeros"]).placement
    results = reads.measure(c, Local(), SPLITS.test.take(slice(3)), CPU)
    assert results["accuracy"] == 1
    assert results["votes"] == results["votes_changed"] == pytest.approx({"image": 1 / 9, "border": 0, "empty": 0})
    assert results["right"]["image"] == 1 and results["right"]["border"] < 0.2
    frame = reads.by_region([records.Record("where_it_reads", "", 0, {}, results)])
    assert frame["share"].tolist() == pytest.approx([100, 0, 0]) and frame["area"].sum() == pytest.approx(100)
    assert reads.by_region([]).empty


def test_what_an_empty_canvas_already_gives_is_counted_by_kind_of_cell():
    total, empty = torch.ones(9, 2, 2), torch.zeros(9, 2, 2)
    empty[0], empty[4] = 1, -1
    run = records.Record("where_it_reads", "", 0, {}, {"evidence": total.tolist(), "empty_canvas": empty.tolist()})
    assert reads.on_an_empty_canvas([run, run]) == {"corners": 25, "edges": 0, "the centre": -100}
    assert reads.on_an_empty_canvas([]) == {}


COMMITTED = records.load(PROJECT / "records" / "cpu" / "where_it_reads.jsonl")


def test_committed_runs_are_complete_and_make_tables():
    wanted = {digest(c) for c in reads.configs("reference", SPLITS.fingerprint)}
    assert {r.digest for r in COMMITTED} == wanted
    table = reads.accuracies(COMMITTED)
    assert len(table) == len(COMMITTED) and table["accuracy"].between(0, 100).all()
    assert reads.mean_maps(reads.released(COMMITTED, "nin"), changed=True).shape == (9, 12, 12)
    assert reads.mean_maps([], changed=False) is None


def test_of_the_committed_circular_networks_those_with_the_released_head_tell_the_location():
    table = reads.accuracies(COMMITTED).query("padding_mode == 'circular'")
    released = table["head"] == "zeros"
    assert (table.loc[~released, "accuracy"] - 100 / 9).abs().max() < 1e-6
    assert table.loc[released, "accuracy"].min() > 30


def test_maps_are_laid_out_as_the_canvas(ax):
    maps = torch.zeros(9, 6, 6)
    maps[5] = 1
    figures.evidence_maps(maps, ax)
    assert len(ax.images) == len(ax.patches) == 9
    frame = ax.patches[5]   # cell 5: row 1, column 2
    assert frame.get_xy() == (2 * 7.5 + 4, 7.5 + 2) and frame.get_width() == frame.get_height() == 2


def test_every_network_is_a_dot(ax):
    table = reads.accuracies([records.Record("where_it_reads", "", 0, {
        "placement": {"backbone": "nin", "padding_mode": mode}, "head": head}, {"accuracy": 0.5})
        for mode in reads.BACKBONES for head in reads.HEADS])
    figures.accuracy_by_head(table, {head: head for head in reads.HEADS}, ax, chance=11.1)
    dots = [line for line in ax.lines if line.get_label() != "chance"]
    assert sum(len(line.get_xdata()) for line in dots) == 6 and len(dots) == 2
