"""A run's own random numbers, the captured step that reads them from tables, and runs side by side."""
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout

from posenc_lib.base.draws import Draws, Dropout, drawing
from posenc_lib.data import registry
from posenc_lib.measure import canvas
from posenc_lib.nets import heads
from posenc_lib.run import streams, training
from posenc_lib.run.config import CosineRecipe, PolyRecipe, Recipe, SgdRecipe

SHORT = {"epochs": 3, "batch_size": 6}   # 40 images: six full batches and one of 4
RECIPES = {"Recipe": Recipe(**SHORT), "SgdRecipe": SgdRecipe(**SHORT, drop=1, learning_rate=0.01),
           "CosineRecipe": CosineRecipe(**SHORT, warmup=1, learning_rate=0.01, flip=True),
           "PolyRecipe": PolyRecipe(epochs=3, epoch_steps=9, batch_size=6, learning_rate=0.01),
           "PolyRecipe, AdamW": PolyRecipe(epochs=3, epoch_steps=9, batch_size=6, learning_rate=1e-3, adamw=True)}
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@pytest.fixture(scope="module")
def digits():
    return registry.load("digits", "", size=8).train.take(slice(0, 40))


class Net(nn.Module):
    """A backbone and a head, for recipes with two groups; batch normalisation, dropout and shuffled channels."""
    def __init__(self, drop: nn.Module | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
                                      nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(drop or Dropout(0.3), heads.Shuffle("batch", 16), nn.Linear(16, 4))

    def forward(self, images):
        return self.head(self.backbone(images))


def location_loss(net, images, labels, draws):
    location = draws(torch.randint, 4, labels.shape)
    return cross_entropy(net(canvas.place(images, location, 2)), location)


@pytest.fixture
def captured(monkeypatch):
    """Train by the path that a GPU takes, the captured step run as it is written.  -> how many steps were replayed"""
    replays = []
    monkeypatch.setattr(training, "_capturable", lambda *_: True)
    monkeypatch.setattr(training, "_graph", lambda body: lambda: (replays.append(1), body()))
    return replays


def trained(digits, recipe, **options):
    net = Net()
    return net, training.fit(net, digits, location_loss, recipe, seed=3, **options)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def plain_loop(images, recipe, seed):
    """Training without any of `fit`: torch's global generator for the layers, another for what the loss draws."""
    net, losses = Net(nn.Dropout(0.3)).to(memory_format=torch.channels_last), []
    optimizer = recipe.optimizer(recipe.groups(net))
    for epoch in range(recipe.epochs):
        torch.manual_seed((seed << 20) + epoch)
        generator = torch.Generator().manual_seed((seed << 20) + epoch)
        steps, n = recipe.epoch_steps, len(images)
        passes = 1 if steps is None else -(-steps * recipe.batch_size // n)
        order = torch.cat([torch.randperm(n, generator=generator) for _ in range(passes)])
        for group in optimizer.param_groups:
            group["lr"] = group["scale"] * recipe.rate(epoch)
        total = torch.zeros(())
        batches = order.split(recipe.batch_size)[:steps]
        for index in batches:
            mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (images.mean, images.std))
            x = (images.images[index].float() / 255 - mean) / std
            if recipe.flip:
                x = torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5, x.flip(-1), x)
            location = torch.randint(4, (len(x),), generator=generator)
            canvases = torch.zeros(len(x), 3, 16, 16)
            for n_th, cell in enumerate(location.tolist()):
                row, col = divmod(cell, 2)
                canvases[n_th, :, 8 * row:8 * row + 8, 8 * col:8 * col + 8] = x[n_th]
            loss = cross_entropy(net(canvases.contiguous(memory_format=torch.channels_last)), location)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        losses.append(total.item() / len(batches))
    return net, losses


@every_recipe
def test_a_step_as_a_gpu_captures_it_is_the_plain_step_bit_by_bit(digits, recipe, captured):
    net, history = trained(digits, recipe)
    reference, losses = plain_loop(digits, recipe, seed=3)
    assert same(net, reference)
    assert [h["loss"] for h in history] == losses
    full = recipe.epoch_steps or 40 // recipe.batch_size
    assert len(captured) == recipe.epochs * full - training._Captured.warm_up   # the smaller batches are not replayed


@every_recipe
def test_a_cpu_step_is_the_plain_step_bit_by_bit(digits, recipe):
    net, history = trained(digits, recipe)
    reference, losses = plain_loop(digits, recipe, seed=3)
    assert same(net, reference) and [h["loss"] for h in history] == losses


@every_recipe
def test_a_captured_run_that_was_stopped_ends_as_if_it_had_not_been(digits, recipe, captured, tmp_path):
    (whole, _), file, epochs = trained(digits, recipe), tmp_path / "run.pt", []

    def stop_in_the_second(net):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        trained(digits, recipe, checkpoint=file, evaluate=stop_in_the_second)
    resumed, history = trained(digits, recipe, checkpoint=file)
    assert same(resumed, whole) and len(history) == 3


def test_more_steps_than_a_table_has_rows_fill_it_again(digits, captured, monkeypatch):
    recipe = replace(RECIPES["PolyRecipe"], epoch_steps=11)
    whole, _ = trained(digits, recipe)
    monkeypatch.setattr(training, "CHECK_EVERY", 4)
    assert same(trained(digits, recipe)[0], whole)


def test_the_global_generator_has_no_part_in_a_run(digits, captured):
    """So what another run draws meanwhile cannot change it."""
    def disturbed(net, images, labels, draws):
        torch.rand(int(torch.randint(9, ())))
        return location_loss(net, images, labels, draws)

    net = Net()
    training.fit(net, digits, disturbed, RECIPES["Recipe"], seed=3)
    assert same(net, trained(digits, RECIPES["Recipe"])[0])


def test_a_checkpoint_goes_on_where_the_optimizer_is_made_otherwise(digits, tmp_path):
    """A GPU's optimizer is capturable and keeps its rates on the device; its file has to serve a CPU all the same."""
    recipe, file = RECIPES["Recipe"], tmp_path / "run.pt"
    whole, _ = trained(digits, recipe)
    trained(digits, replace(recipe, epochs=2), checkpoint=file)
    state = torch.load(file)
    for group in state["optimizer"]["param_groups"]:
        group |= {"capturable": True, "lr": torch.tensor(99.0)}
    torch.save(state, file)
    assert same(trained(digits, recipe, checkpoint=file)[0], whole)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dropout_is_torchs_bit_by_bit(memory_format):
    x = torch.randn(4, 5, 6, 7).contiguous(memory_format=memory_format)
    layer = Dropout(0.3)
    torch.manual_seed(0)
    expected = dropout(x, 0.3)
    torch.manual_seed(0)
    assert torch.equal(layer(x), expected)
    with drawing(layer, Draws(seed=0)):
        assert torch.equal(layer(x), expected)
    assert torch.equal(layer.eval()(x), x)


def test_draws_of_coming_steps_are_those_that_the_steps_would_make():
    def step(draws):
        return draws(torch.rand, 3), draws(torch.randperm, 5), draws(torch.randint, 9, (2,))

    one_by_one, ahead = Draws(seed=5), Draws(seed=5)
    expected = [step(one_by_one) for _ in range(4)]
    first = step(ahead)
    table, row = ahead.table(3), torch.zeros(1, dtype=torch.long)
    table.fill(3)
    read = []
    for _ in range(3):
        with table.read(row):
            read.append(step(ahead))
        row += 1
    for a, b in zip([first, *read], expected, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert torch.equal(ahead(torch.rand, 2), one_by_one(torch.rand, 2))   # and the generator goes on from there


def test_layers_draw_from_a_run_only_inside_its_block():
    net, z = heads.Shuffle("batch", 50), torch.arange(50.0)[None]
    with drawing(net, Draws(seed=1)):
        first = net(z)
    with drawing(net, Draws(seed=1)):
        torch.manual_seed(7)
        assert torch.equal(net(z), first)
    torch.manual_seed(7)
    assert not torch.equal(net(z), first)


def test_runs_side_by_side_are_those_of_one_after_the_other(digits, captured):
    recipe = replace(RECIPES["Recipe"], epochs=2)

    def work(seed):
        net = Net()
        training.fit(net, digits, location_loss, recipe, seed=seed)
        return seed, net

    alone = dict(work(seed) for seed in range(4))
    together = dict(streams.run_side_by_side(work, [(seed,) for seed in range(4)], 3))
    assert together.keys() == alone.keys()
    assert all(same(together[seed], alone[seed]) for seed in alone)


def test_lanes_replay_at_the_same_time():
    """Each waits in its replay for the other, so neither would end if one lane had to wait for the other's end."""
    meeting = threading.Barrier(2, timeout=20)

    def work(n):
        with streams.yield_turn():
            meeting.wait()
        return n

    assert sorted(streams.run_side_by_side(work, [(0,), (1,)], 2)) == [0, 1]


def test_an_error_in_one_lane_ends_the_others_where_they_are_whole():
    ended = []

    def work(n):
        if n == 0:
            raise ValueError("lane 0")
        ended.append(n)
        return n

    with pytest.raises(ValueError, match="lane 0"):
        list(streams.run_side_by_side(work, [(n,) for n in range(30)], 1))
    assert len(ended) < 30
    with streams.yield_turn():   # this thread belongs to no lane
        pass


def test_a_caller_who_stops_stops_the_lanes():
    begun, stopped = threading.Event(), []

    def work(n):
        if n == 0:
            return n
        begun.set()
        for _ in range(2000):
            try:
                with streams.yield_turn():
                    threading.Event().wait(0.01)
            except InterruptedError:
                stopped.append(n)
                raise

    results = streams.run_side_by_side(work, [(0,), (1,)], 2)
    assert next(results) == 0 and begun.wait(20)
    results.close()
    assert stopped == [1]
