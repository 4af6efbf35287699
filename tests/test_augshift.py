"""Each method sees, classifies and pulls what its row says; consistency is what a pencil makes of the shifts drawn."""
import pytest
import torch
from timm.layers import BlurPool2d
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from posenc_lib.base.draws import Draws
from posenc_lib.data.imageset import ImageSet
from posenc_lib.experiments import augshift
from posenc_lib.experiments.augshift import (
    AUGSHIFT,
    METHODS,
    AugShiftConfig,
    build,
    consistency,
    objective,
    predict,
    random_shifts,
    views,
)
from posenc_lib.measure import metrics
from posenc_lib.measure.canvas import FILLS
from posenc_lib.nets import padding
from posenc_lib.run.config import digest

SEEN = {"baseline": ["whole"], "crop": ["crop"], "crops": ["crop", "crop"], "augshift": ["crop", "crop"],
        "blurpool": ["whole"], "blurpool+augshift": ["crop", "crop"], "mse-only": ["whole", "crop"],
        "random-padding": ["whole"], "circular": ["whole"]}
PULLED = {"augshift", "blurpool+augshift", "mse-only"}


def experiment(method: str = "augshift", **changes) -> AugShiftConfig:
    return AugShiftConfig(**{"profile": "smoke", "dataset": "d", "data": "x", "method": method, "width": 2, **changes})


def network(method: str, **changes) -> nn.Module:
    torch.manual_seed(0)
    return build(experiment(method, **changes), 3)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=random(seed))


def images(pixels: torch.Tensor, labels: torch.Tensor) -> ImageSet:
    return ImageSet("made", "test", pixels, labels, tuple("abc"), (0.5, 0.4, 0.3), (0.25, 0.5, 0.2))


def dots(n: int, side: int = 16) -> ImageSet:
    """Black images with one white pixel at the centre; every third label is its column in a window of 16, 8."""
    pixels = torch.zeros(n, 3, side, side, dtype=torch.uint8)
    pixels[:, :, side // 2, side // 2] = 255
    return images(pixels, torch.where(torch.arange(n) % 3 == 0, 8, 5))


class Brightest(nn.Module):
    """Says the column of the brightest pixel; its latent is the row and the column."""
    def __init__(self):
        super().__init__()
        self.places = []

    def forward(self, x):
        side = x.shape[-1]
        at = x.sum(1).flatten(1).argmax(1)
        self.places.append(torch.stack([at // side, at % side], 1))
        return self.places[-1].float(), one_hot(at % side, side).float()


class Constant(nn.Module):
    def forward(self, x):
        return torch.full((len(x), 4), 0.1), torch.tensor([0.0, 2.0, 1.0]).expand(len(x), 3)


class Flat(nn.Module):
    """The latent is the image, the answer its first three pixels."""
    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        return x.flatten(1), x.flatten(1)[:, :3]


# ---- what a method sees

def test_the_methods_are_those_that_are_tested_here():
    assert set(METHODS) == set(SEEN)


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_shifts_are_drawn_from_end_to_end(reach):
    drawn = random_shifts(400, reach, Draws(seed=0))
    assert drawn.shape == (400, 2)
    for way in drawn.T:
        assert way.unique().tolist() == list(range(-reach, reach + 1))
    assert reach == 0 or (drawn[:, 0] != drawn[:, 1]).any()
    assert torch.equal(random_shifts(400, reach, Draws(seed=0)), drawn)


@pytest.mark.parametrize("method", SEEN)
def test_what_a_step_of_a_method_sees(method):
    whole = dots(40).images
    seen = views(experiment(method, shift=2), whole, Draws(seed=0))
    assert len(seen) == len(SEEN[method])
    for view, kind in zip(seen, SEEN[method], strict=True):
        assert view.shape == whole.shape and view.dtype == whole.dtype
        if kind == "whole":
            assert torch.equal(view, whole)
        else:
            place = view[:, 0].flatten(1).argmax(1)
            assert (place // 16 - 8).unique().tolist() == (place % 16 - 8).unique().tolist() == [-2, -1, 0, 1, 2]
    assert len(seen) == 1 or not torch.equal(*seen)   # each crop has a shift of its own
    again = views(experiment(method, shift=2), whole, Draws(seed=0))
    assert all(torch.equal(*pair) for pair in zip(seen, again, strict=True))


def test_the_caller_says_what_a_crop_uncovers():
    c, whole = experiment("crop", shift=3), torch.ones(30, 3, 8, 8)
    assert set(views(c, whole, Draws(seed=0))[0].unique().tolist()) == {0.0, 1.0}
    colours = views(c, whole, Draws(seed=0), colour=torch.tensor([2.0, 3.0, 4.0]))[0]
    assert [set(colour.unique().tolist()) for colour in colours.transpose(0, 1)] == [{1.0, n} for n in (2.0, 3.0, 4.0)]
    assert torch.equal(views(c, whole, Draws(seed=0), fill="circular")[0], whole)
    for view in views(experiment("mse-only", shift=2), noise(2), Draws(seed=0), fill="true", side=12):
        assert view.shape == (2, 3, 12, 12)


# ---- the loss

def by_hand(method, z, y, labels, weight):
    """z and y of each view -> the loss, in full for every method."""
    first = cross_entropy(y[0], labels)
    both = (first + cross_entropy(y[-1], labels)) / 2
    apart = ((z[0] - z[-1]) ** 2).sum() / z[0].numel()
    return {"baseline": first, "crop": first, "crops": both, "augshift": both + weight * apart, "blurpool": first,
            "blurpool+augshift": both + weight * apart, "mse-only": first + weight * apart, "random-padding": first,
            "circular": first}[method]


@pytest.mark.parametrize("method", SEEN)
def test_the_loss_of_every_method_by_hand(method):
    """In evaluation mode, so that the views can pass one by one."""
    net, labels = network(method).eval(), torch.tensor([0, 2, 1, 2])
    seen = [noise(4, seed=n) for n in range(len(SEEN[method]))]
    z, y = zip(*(net(view) for view in seen), strict=True)
    losses = [objective(experiment(method, weight=w), net, seen, labels) for w in (0.7, 300.0)]
    torch.testing.assert_close(losses, [by_hand(method, z, y, labels, w) for w in (0.7, 300.0)])
    assert losses[1] > losses[0] + 0.1 if method in PULLED else torch.equal(*losses)   # no pull, no weight


@pytest.mark.parametrize("method", SEEN)
def test_all_views_pass_in_one_batch(method):
    """So that batch normalisation takes its statistics over both."""
    net = Flat()
    objective(experiment(method), net, [noise(4, seed=n) for n in range(len(SEEN[method]))], torch.tensor([0, 2, 1, 2]))
    assert net.batches == [4 * len(SEEN[method])]


def test_without_crops_only_the_whole_image_is_asked_for_its_class():
    whole, labels = noise(4), torch.tensor([0, 2, 1, 2])
    c = experiment("mse-only", weight=0.0)
    losses = [objective(c, Flat(), [whole, noise(4, seed=seed)], labels) for seed in (1, 2)]
    assert losses == [cross_entropy(whole.flatten(1)[:, :3], labels)] * 2


@pytest.mark.parametrize("method", sorted(PULLED))
def test_both_views_are_pulled(method):
    first, second = (noise(4, 8, seed).requires_grad_() for seed in (1, 2))
    labels = torch.tensor([0, 2, 1, 2])
    grads = [torch.autograd.grad(objective(experiment(method, weight=w), Flat(), [first, second], labels),
                                 (first, second), materialize_grads=True) for w in (2.0, 0.0)]
    towards, back = (with_pull - without for with_pull, without in zip(*grads, strict=True))
    torch.testing.assert_close(towards, 4 * (first - second).detach() / first.numel())   # of 2 (z1 - z2)^2 / n
    torch.testing.assert_close(back, -towards)


# ---- the network

@pytest.mark.parametrize("method", SEEN)
def test_a_method_builds_its_network(method):
    net = network(method, width=4)
    convolutions = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    assert {m.padding_mode for m in convolutions.values()} == {"circular" if method == "circular" else "zeros"}
    own = [name for name, m in convolutions.items() if isinstance(m, padding._RandomlyPadded)]
    assert own == (["net.conv1"] if method == "random-padding" else [])
    assert any(isinstance(m, BlurPool2d) for m in net.modules()) == method.startswith("blurpool")
    assert net(noise(2))[0].shape == (2, 32) and net(noise(2))[1].shape == (2, 3)


@pytest.mark.parametrize("method", ["augshift", "random-padding", "circular"])
def test_methods_that_share_a_network_start_from_the_same_weights(method):
    theirs = network("baseline").state_dict()
    ours = network(method).state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---- consistency

def test_answers_are_those_of_each_image_whatever_the_batches():
    tested, offset = dots(7), random_shifts(7, 4, Draws(seed=0))
    for batch in (250, 7, 3):
        classes, z = predict(Brightest(), tested, offset, batch=batch)
        assert torch.equal(classes, 8 + offset[:, 1]) and torch.equal(z, 8 + offset.float())


def test_what_a_shift_uncovers_is_black():
    class Corner(nn.Module):
        def forward(self, x):
            return x[..., 0, 0], x[..., 0, 0]

    white = images(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.zeros(2, dtype=torch.long))
    z = predict(Corner(), white, torch.tensor([[1, 0], [0, 0]]))[1]
    torch.testing.assert_close(z, torch.tensor([[-2.0, -0.8, -1.5], [2.0, 1.2, 3.5]]))   # (0 - mean) / std, (1 - ..


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("reach, step", [(4, 1), (1, 1), (5, 2)])
def test_consistency_by_hand_from_the_shifts_drawn(fill, reach, step):
    """The class is the column of a bright pixel, so two views agree where both moved equally far to the right."""
    n, tested, net = 60, dots(60, 28 if fill == "true" else 16), Brightest()
    found = consistency(net, tested, reach, fill, side=16 if fill == "true" else None, step=step, seed=3,
                        right=torch.arange(n) % 3 == 0)
    draws = Draws(seed=3)
    first, second = (step * random_shifts(n, reach // step, draws) for _ in range(2))
    assert first.abs().max() == step * (reach // step) and not torch.equal(first, second)
    same = (first[:, 1] == second[:, 1]).double()
    assert 0 < same.mean() < 1 and same.mean() != same[::3].mean()
    expected = {"agreement": same.mean(), "agreement_right": same[::3].mean(),
                "accuracy": (8 + first[:, 1] == tested.labels).double().mean()}
    both = torch.cat([first, second]).double()
    spread = sum(((column - column.mean()) ** 2).mean() for column in both.T)
    expected["moved"] = ((first - second).double() ** 2).sum() / n / 2 / spread
    assert found == pytest.approx({name: float(value) for name, value in expected.items()})
    assert torch.equal(torch.stack(net.places), 8 + torch.stack([first, second]))   # shown twice, and no third time


def test_two_networks_are_asked_about_the_same_pairs():
    pairs = []
    for seed, net in ((0, Brightest()), (0, Brightest()), (1, Brightest())):
        torch.rand(seed + 5)   # whatever else was drawn
        consistency(net, dots(20), 4, seed=seed)
        pairs.append(torch.stack(net.places))
    assert torch.equal(pairs[0], pairs[1]) and not torch.equal(pairs[0], pairs[2])


@pytest.mark.parametrize("label, right", [(1, 1.0), (2, None)])
def test_a_network_that_says_nothing_agrees_with_itself_and_has_no_rank(label, right):
    tested = images(dots(9).images, torch.full((9,), label))
    assert consistency(Constant(), tested, 4, right=tested.labels == 1) == {
        "agreement": 1.0, "agreement_right": right, "accuracy": float(label == 1), "moved": None}
    assert metrics.effective_rank(predict(Constant(), tested, random_shifts(9, 4, Draws(seed=0)))[1]) == 0


def test_a_circular_network_does_not_notice_a_circular_shift_by_its_stride():
    tested = images(torch.randint(0, 256, (24, 3, 16, 16), generator=random(0), dtype=torch.uint8),
                    torch.zeros(24, dtype=torch.long))
    circular, padded = (network(method, width=4).eval() for method in ("circular", "baseline"))
    still = consistency(circular, tested, 8, "circular", step=8)
    assert still["agreement"] == 1 and still["moved"] < 1e-8
    assert consistency(padded, tested, 8, "circular", step=8)["moved"] > 1e-4
    assert consistency(circular, tested, 8, "circular")["moved"] > 1e-4   # in between, every second value is kept


# ---- configurations

@pytest.mark.parametrize("profile, dataset, own", [("smoke", "digits", "digits"), ("smoke", "cifar10", "digits"),
                                                   ("quick", "digits", "digits"), ("quick", "cifar100", "other"),
                                                   ("paper", "digits", "other"), ("paper", "cifar10", "other")])
def test_a_preset_is_a_copy_and_the_network_it_names_can_be_built(profile, dataset, own):
    changes = augshift.preset(profile, dataset)
    assert changes == AUGSHIFT[profile][own]
    sweep = changes.pop("sweep")
    assert "sweep" in augshift.preset(profile, dataset)
    c = experiment(**{"profile": profile, **changes})
    assert c.width == changes["width"] and c.weight not in sweep
    assert len({digest(experiment(**{"profile": profile, **changes, "weight": w})) for w in sweep}) == len(sweep)
    assert build(c, 3).eval()(noise(1))[0].shape == (1, 8 * c.width)


def test_an_unknown_method_is_answered_with_the_choices():
    with pytest.raises(ValueError) as error:
        experiment("shift")
    assert str(error.value) == ("method: 'shift' was asked for, but there are only 'baseline', 'crop', 'crops', "
                                "'augshift', 'blurpool', 'blurpool+augshift', 'mse-only', 'random-padding', 'circular'")
