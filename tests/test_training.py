"""The loop learns, repeats itself bit by bit, goes on from where it was stopped, and says what is wrong."""
import os
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar
from unittest.mock import Mock

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn
from torch.nn.functional import cross_entropy

from posenc_lib.base import files
from posenc_lib.data import imageset, registry
from posenc_lib.nets import classifiers
from posenc_lib.run import training
from posenc_lib.run.config import PolyRecipe, Recipe, SgdRecipe

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.01)
SGD = SgdRecipe(epochs=3, batch_size=16, drop=2)


@pytest.fixture(scope="module")
def digits():
    return registry.load("digits", "", size=8).train.take(slice(0, 40))


def build(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.2),
                         nn.Conv2d(16, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def noisy_loss(model, images, labels, draws):
    """Draws, as placing images does; so does the dropout, from a generator of its own."""
    noise = draws(torch.randn, images.shape)
    return cross_entropy(model(images + 0.1 * noise), labels)


def fitted(train, *, recipe=RECIPE, seed=0, **options):
    model = build()
    history = training.fit(model, train, noisy_loss, recipe, seed=seed, **options)
    return model, history


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def seen(train, recipe):
    """The (images, labels) of every step that `fit` takes, on a model that learns nothing."""
    batches = []

    def loss(model, images, labels, draws):
        batches.append((images.cpu(), labels.cpu()))
        return model(images).sum() * 0

    training.fit(nn.Conv2d(3, 1, 1), train, loss, recipe, seed=1)
    return batches


def test_the_loss_falls_and_the_model_comes_back_ready_to_evaluate(digits):
    model, history = fitted(digits, recipe=replace(RECIPE, epochs=12))
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]
    assert not model.training


def test_one_seed_gives_one_run_and_another_seed_another(digits):
    first, history = fitted(digits)
    torch.rand(7)   # the caller's randomness has no part in it
    again, history_again = fitted(digits)
    other, _ = fitted(digits, seed=1)
    assert same(first, again) and history == history_again
    assert not same(first, other)


def test_the_callers_randomness_is_untouched(digits):
    model = build()
    before = torch.get_rng_state()
    training.fit(model, digits, noisy_loss, RECIPE, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("recipe", [RECIPE, SGD], ids=lambda recipe: type(recipe).__name__)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(digits, tmp_path, recipe):
    file, epochs = tmp_path / "new" / "run.pt", []

    def killed_in_the_second_epoch(model):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return {"epoch": len(epochs)}

    with pytest.raises(KeyboardInterrupt):
        fitted(digits, recipe=recipe, evaluate=killed_in_the_second_epoch, checkpoint=file)
    def counted(model):
        epochs.append(1)
        return {"epoch": len(epochs) - 1}

    resumed, history = fitted(digits, recipe=recipe, evaluate=counted, checkpoint=file)
    whole, losses = fitted(digits, recipe=recipe)
    assert same(resumed, whole)
    assert [h["loss"] for h in history] == [h["loss"] for h in losses]
    assert [h["epoch"] for h in history] == [1, 2, 3]   # the first was not trained again

    done, history_done = fitted(digits, recipe=recipe, evaluate=lambda model: pytest.fail("trained again"),
                                checkpoint=file)
    assert same(done, whole) and history_done == history


def test_the_learning_rate_falls_to_a_tenth_at_its_epoch(digits):
    """A loss that rises as the bias does: each epoch's one step takes the bias down by the learning rate."""
    model, biases = nn.Conv2d(3, 1, 1), [0.0]
    nn.init.zeros_(model.bias)

    def bias(model):
        biases.append(model.bias.item())
        return {}

    training.fit(model, digits, lambda model, images, *_: model(images).mean(),
                 replace(SGD, epochs=4, epoch_steps=1, momentum=0.0, weight_decay=0.0), seed=0, evaluate=bias)
    assert [a - b for a, b in pairwise(biases)] == pytest.approx([0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("recipe", [replace(RECIPE, flip=False), SGD], ids=lambda recipe: type(recipe).__name__)
def test_frozen_features_in_half_precision_are_learned_from_in_single(recipe):
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)).half()
    labels = (inputs[:, 0] > 0).long()
    heads, histories = [], []
    for kept in (inputs, inputs.float()):
        torch.manual_seed(0)
        heads.append(nn.Linear(4, 2))
        histories.append(training.fit(heads[-1], imageset.Samples(kept, labels), lambda head, z, y, _: cross_entropy(
            head(z), y), replace(recipe, epochs=20, learning_rate=0.1), seed=0))
    assert heads[0].weight.dtype == torch.float32 and same(*heads) and histories[0] == histories[1]
    assert (heads[0](inputs.float()).argmax(1) == labels).float().mean() > 0.9


def test_evaluation_is_without_dropout_and_without_gradients(digits):
    def evaluate(model):
        assert not model.training and not torch.is_grad_enabled()
        return {}
    fitted(digits, recipe=replace(RECIPE, epochs=1), evaluate=evaluate)


def test_a_checkpoint_is_the_old_one_or_the_whole_new_one(tmp_path):
    file = tmp_path / "run.pt"
    files.save_atomically({"step": 1}, file)
    with pytest.raises(Exception, match=r"pickle|local object"):   # in the words of Python 3.11 or 3.13
        files.save_atomically({"step": 2, "unsaveable": lambda: None}, file)
    assert torch.load(file, weights_only=True) == {"step": 1}


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


@pytest.mark.parametrize("damage", ["cut off", "no checkpoint", "a trap", "another network's"])
def test_a_checkpoint_that_cannot_be_read_is_told_in_one_sentence(digits, tmp_path, monkeypatch, damage):
    file = tmp_path / "run.pt"
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    fitted(digits, recipe=replace(RECIPE, epochs=1), checkpoint=file)
    if damage == "cut off":
        file.write_bytes(file.read_bytes()[:-1000])
    elif damage == "another network's":
        torch.save({"model": nn.Linear(2, 2).state_dict(), "optimizer": {}, "history": []}, file)
    else:
        torch.save(Trap() if damage == "a trap" else {"weights": 1}, file)
    with pytest.raises(ValueError, match=r"fit: cannot resume from checkpoint .*run\.pt \(.+\); delete it to"):
        fitted(digits, checkpoint=file)
    assert not (tmp_path / "sprung").exists()   # no pickle is run


def test_a_loss_that_is_not_finite_stops_the_run(digits):
    def nowhere(*batch):
        return noisy_loss(*batch) * float("nan")

    with pytest.raises(FloatingPointError, match="fit: the loss is nan by step 3 of epoch 1; lower the learning"):
        training.fit(build(), digits, nowhere, RECIPE, seed=0)


def test_each_image_comes_once_a_pass_in_a_new_order(digits):
    numbered = replace(digits, labels=torch.arange(40))
    batches = [labels for _, labels in seen(numbered, Recipe(epochs=2, batch_size=16))]
    assert [len(b) for b in batches] == [16, 16, 8] * 2
    first, second = torch.cat(batches[:3]), torch.cat(batches[3:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(40))
    assert not torch.equal(first, second)


def test_more_steps_than_a_pass_go_round_again(digits):
    numbered = replace(digits, labels=torch.arange(40))
    labels = [labels for _, labels in seen(numbered, Recipe(epochs=1, epoch_steps=6, batch_size=16))]
    assert [len(b) for b in labels] == [16] * 6
    assert torch.cat(labels)[:80].bincount().tolist() == [2] * 40
    assert len(seen(numbered, Recipe(epochs=1, epoch_steps=2, batch_size=16))) == 2


@pytest.mark.parametrize("flip", [True, False])
def test_flipping_mirrors_about_half_of_the_images_and_changes_nothing_else(digits, flip):
    numbered = replace(digits, labels=torch.arange(40))
    for images, labels in seen(numbered, Recipe(epochs=1, batch_size=40, flip=flip)):
        originals = digits.normalise(digits.images[labels])
        kept = (images == originals).flatten(1).all(1)
        mirrored = (images == originals.flip(-1)).flatten(1).all(1)
        assert (kept | mirrored).all()
        assert 10 < kept.sum() < 30 if flip else kept.all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="about the CPU's own memory format")
@pytest.mark.parametrize("width, channels_last", [(8, False), (16, True)])
def test_narrow_strided_1x1_convolutions_are_kept_from_channels_last(digits, width, channels_last):
    """There oneDNN writes beyond its memory, see `training._memory_format`; images in that format alone are enough."""
    net, formats = classifiers.permutenet(10, width=width), []
    net.conv1.register_forward_hook(lambda _, inputs, f: formats.extend(
        x.is_contiguous(memory_format=torch.channels_last) for x in (*inputs, f)))

    def loss(net, images, labels, _):
        return cross_entropy(net(images.contiguous(memory_format=torch.channels_last)), labels)

    training.fit(net, digits, loss, Recipe(epochs=1, epoch_steps=1, batch_size=4), seed=0)
    assert net.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert formats == [channels_last] * 2 and not net._forward_pre_hooks


def test_features_cannot_be_mirrored():
    samples = imageset.Samples(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"mirrors images, but a batch has shape \(4, 2\); use a recipe"):
        training.fit(nn.Linear(2, 2), samples, lambda net, x, *_: net(x).sum(), Recipe(epochs=1, batch_size=4), seed=0)


def one_of(processes: int, rank: int) -> Fabric:
    return Mock(spec=Fabric, world_size=processes, global_rank=rank)


def test_processes_share_a_batch_in_equal_parts():
    index = torch.randperm(12)
    parts = [training._part(index, one_of(4, rank)) for rank in range(4)]
    assert [len(part) for part in parts] == [3] * 4
    assert torch.cat(parts).sort().values.tolist() == list(range(12))


@pytest.mark.parametrize("size", [10, 3])
def test_a_batch_that_does_not_divide_among_processes_is_refused(size):
    for rank in range(4):   # by all of them, or the others would wait
        with pytest.raises(ValueError, match=f"fit: a batch of {size} cannot be divided among 4 processes; give a"):
            training._part(torch.arange(size), one_of(4, rank))


def test_what_reads_by_itself_is_told_the_epochs_own_seed(digits):
    class Told(imageset.Trainable):
        seeds, __len__ = [], lambda self: 40

        def to(self, device):
            return self

        def batches(self, indices, seed):
            self.seeds.append(seed)
            return map(digits.batch, indices)

    for seed in (0, 1):
        fitted(Told(), seed=seed)
    assert len(set(Told.seeds)) == len(Told.seeds) == 2 * RECIPE.epochs
    seeds = Told.seeds.copy()
    fitted(Told(), seed=1)
    assert Told.seeds[2 * RECIPE.epochs:] == seeds[RECIPE.epochs:]


class WithBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(16, 10)
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                                      nn.Flatten())

    def forward(self, images):
        return self.head(self.backbone(images))


@dataclass(frozen=True, kw_only=True)
class Kept(PolyRecipe):
    """A recipe whose optimizers can be looked at."""
    made: ClassVar[list] = []

    def optimizer(self, parameters, **options):
        self.made.append(super().optimizer(parameters, **options))
        return self.made[-1]


@pytest.mark.parametrize("adamw", [False, True])
def test_every_group_learns_at_its_scale_times_the_epochs_rate(digits, adamw):
    recipe, model, rates = Kept(epochs=4, epoch_steps=1, adamw=adamw, backbone_scale=0.25), WithBackbone(), []

    def look(model):
        of = {id(p): group["lr"] for group in recipe.made[-1].param_groups for p in group["params"]}
        rates.append((of[id(model.backbone[0].weight)], of[id(model.head.weight)]))
        return {}

    training.fit(model, digits, noisy_loss, recipe, seed=0, evaluate=look)
    assert rates == [pytest.approx((0.25 * recipe.rate(epoch), recipe.rate(epoch))) for epoch in range(4)]
    assert len(set(rates)) == 4


@pytest.mark.parametrize("adamw", [False, True])
@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_a_backbone_of_scale_0_keeps_its_weights(digits, adamw, scale):
    model, before = WithBackbone(), WithBackbone()
    training.fit(model, digits, noisy_loss, PolyRecipe(epochs=2, epoch_steps=2, adamw=adamw, backbone_scale=scale),
                 seed=0)
    pairs = zip(model.backbone.parameters(), before.backbone.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) == (scale == 0)
    assert not torch.equal(model.head.weight, before.head.weight)


def test_a_run_with_two_groups_goes_on_from_its_checkpoint(digits, tmp_path):
    recipe, whole = PolyRecipe(epochs=4, epoch_steps=2, adamw=True, learning_rate=0.01), WithBackbone()
    training.fit(whole, digits, noisy_loss, recipe, seed=0)

    def killed_in_the_second_epoch(model):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return {}

    epochs, file = [], tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        training.fit(WithBackbone(), digits, noisy_loss, recipe, seed=0, checkpoint=file,
                     evaluate=killed_in_the_second_epoch)
    resumed = WithBackbone()
    training.fit(resumed, digits, noisy_loss, recipe, seed=0, checkpoint=file)
    assert same(resumed, whole)
