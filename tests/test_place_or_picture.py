"""What an answer follows when the place and the picture disagree."""
from dataclasses import replace

import pytest
import torch

from posenc_lib.base.draws import Draws
from posenc_lib.data import registry
from posenc_lib.experiments import augshift
from posenc_lib.experiments import gapnet_vs_permutenet as placement
from posenc_lib.experiments import place_or_picture as pairs
from posenc_lib.run import records
from posenc_lib.run.config import PROJECT, describe, digest
from posenc_lib.show import figures

CPU = torch.device("cpu")
SPLITS = registry.load("digits", "", validation=0.0)
SMOKE = pairs.configs("smoke", SPLITS.fingerprint)


def model(c: pairs.PairConfig) -> pairs.WithLatent:
    torch.manual_seed(0)
    return pairs.WithLatent(placement.build(c.placement, SPLITS.train)).eval()


def test_an_answer_follows_the_place_the_picture_or_neither():
    answers = torch.tensor([[0, 0, 2], [2, 1, 2]])   # of images of the classes 0 and 1, in the cells 0, 1 and 2
    assert pairs.follows(answers, torch.tensor([0, 1])) == {
        "place": 2 / 4, "picture": 1 / 4, "neither": 1 / 4, "trained": 1.0}
    always_place = torch.arange(3).expand(2, 3)
    assert pairs.follows(always_place, torch.tensor([2, 0]))["place"] == 1
    with pytest.raises(ValueError, match="no image in a cell other than its class's"):
        pairs.follows(torch.tensor([[0]]), torch.tensor([0]))


def test_an_answer_that_is_the_same_in_every_cell_meets_the_place_in_one_broken_pair_of_eight_mistakes():
    label = torch.arange(9).repeat(10)
    right = torch.rand(90, generator=torch.Generator().manual_seed(0)) < 0.7
    answers = torch.where(right, label, (label + 4) % 9)[:, None].expand(-1, 9)
    share = pairs.follows(answers, label)
    assert share["picture"] == share["trained"] == pytest.approx(right.double().mean().item())
    assert share["place"] == pytest.approx((1 - share["picture"]) / 8)


def test_a_circular_gapnet_cannot_answer_by_the_place():
    c = SMOKE["circular"]
    test = placement.labelled(c.placement, SPLITS.test).take(slice(12))
    answers = pairs.PairTask(c, SPLITS.train).answers(model(c), test)
    assert answers.shape == (12, 9) and (answers == answers[:, :1]).all()


def test_answers_are_in_the_order_of_images_and_cells():
    """A network that names the cell, another that names the image."""
    c, test = SMOKE["zero"], SPLITS.test.take(slice(20))
    task = pairs.PairTask(c, SPLITS.train)

    class Names(torch.nn.Module):
        def __init__(self, cell: bool):
            super().__init__()
            self.cell, self.first = cell, torch.nn.Parameter(torch.zeros(1))

        def forward(self, canvases):
            cells = canvases.unfold(2, 16, 16).unfold(3, 16, 16).abs().sum((1, 4, 5)).flatten(1)   # (batch, cell)
            return None, cells if self.cell else cells.amax(1, keepdim=True) * torch.eye(9)[0]

    assert torch.equal(task.answers(Names(True), test), torch.arange(9).expand(20, 9))
    assert not task.answers(Names(False), test).any()


def test_in_training_each_image_is_in_the_cell_of_its_class_or_anywhere():
    images, labels = SPLITS.train.batch(torch.arange(60))
    images, labels = images[labels < 9], labels[labels < 9]

    class Seen(torch.nn.Module):
        def forward(self, canvases):
            self.cells = canvases.unfold(2, 16, 16).unfold(3, 16, 16).abs().sum((1, 4, 5)).flatten(1).argmax(1)
            return torch.zeros(len(canvases), 2), torch.zeros(len(canvases), 9)

    seen = Seen()
    pairs.PairTask(SMOKE["zero"], SPLITS.train).loss(seen, images, labels, Draws(seed=0))
    assert torch.equal(seen.cells, labels)
    pairs.PairTask(SMOKE["zero_anywhere"], SPLITS.train).loss(seen, images, labels, Draws(seed=0))
    assert 0 < (seen.cells == labels).double().mean() < 0.5


def test_the_loss_is_augshifts():
    images, labels = SPLITS.train.batch(torch.arange(12))
    images, labels = images[labels < 9], labels[labels < 9]
    c = SMOKE["zero_augshift"]
    net, task = model(c), pairs.PairTask(c, SPLITS.train)
    canvases, target = task.canvas.canvases(images, labels, labels)
    draws = Draws(seed=3)
    (z1, y1), (z2, y2) = (net(view) for view in augshift.views(task.method, canvases, draws, colour=0.0))
    by_hand = torch.nn.functional.cross_entropy(torch.cat([y1, y2]), target.repeat(2)) + 0.1 * ((z1 - z2) ** 2).mean()
    torch.testing.assert_close(task.loss(net, images, labels, Draws(seed=3)), by_hand)


def test_configurations_differ_and_name_their_variant():
    for schedule in pairs.SCHEDULES:
        configs = pairs.configs(schedule, "data")
        assert len({digest(c) for c in configs.values()}) == len(configs) == len(pairs.VARIANTS)
        assert all(pairs.variant(describe(c)) == name for name, c in configs.items())
    assert pairs.variant(describe(replace(SMOKE["circular"], paired=False))) is None
    with pytest.raises(ValueError, match="blurpool"):
        replace(SMOKE["zero"], method="blurpool")


@pytest.mark.parametrize("name", ["zero_augshift", "zero_shuffled", "circular"])
def test_a_run_is_a_function_of_its_configuration_and_seed(name):
    results = pairs.run(SMOKE[name], 0, splits=SPLITS, device=CPU)
    torch.manual_seed(7)
    assert pairs.run(SMOKE[name], 0, splits=SPLITS, device=CPU) == results
    assert sum(results[answer] for answer in pairs.ANSWERS) == pytest.approx(1)
    assert name != "circular" or results["same"] == 1


COMMITTED = records.load(PROJECT / "records" / "cpu" / "place_or_picture.jsonl")


def test_committed_runs_are_those_of_the_reference_schedule():
    wanted = {digest(c) for c in pairs.configs("reference", SPLITS.fingerprint).values()}
    assert {r.digest for r in COMMITTED} == wanted
    table = pairs.rows(COMMITTED)
    assert table["variant"].notna().all() and table["value"].between(0, 100).all()


def test_a_committed_circular_gapnet_follows_the_picture_as_far_as_it_knows_it():
    circular = [r.results for r in COMMITTED if pairs.variant(r.config) == "circular"]
    assert circular and all(r["same"] == 1 and r["picture"] > 0.5 for r in circular)
    assert all(r["place"] == pytest.approx((1 - r["picture"]) / 8) for r in circular)


def test_bars_stack_to_the_whole(ax):
    rows = pairs.rows([records.Record("place_or_picture", "", seed, describe(SMOKE["zero"]), {
        "place": 0.5 + seed / 10, "picture": 0.25, "neither": 0.25 - seed / 10, "trained": None}) for seed in (0, 1)])
    kinds = dict.fromkeys(pairs.ANSWERS, "0.5")
    figures.shares(rows.rename(columns={"follows": "kind"}), kinds, ["zero", "circular"], ax)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([55, 25, 20])
    assert ax.patches[-1].get_x() == pytest.approx(80)
    assert list(ax.lines[0].get_xdata()) == pytest.approx([50, 60]) and len(ax.lines[1].get_xdata()) == 0
