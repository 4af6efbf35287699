"""Whatever meets a network is on its device: every network, loss, probe and score runs on a device that is not there.

`accelerator.pretended` finds what a GPU would refuse; the last tests show that it does.  Pages hand images over on the
device of the network or from the CPU, so what takes an `ImageSet` or images of its own is tried with both.
"""
from copy import deepcopy
from dataclasses import replace
from functools import partial
from math import isfinite

import accelerator
import numpy as np
import pytest
import torch
from accelerator import DEVICE, forbids_waits
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from posenc_lib import probe
from posenc_lib.data.imageset import IMAGENET, VOID, ImageSet
from posenc_lib.experiments import ablation, augshift, pedestrian_detection, region_attack
from posenc_lib.measure import canvas, features, metrics, miss_rate
from posenc_lib.measure import channels as measure_channels
from posenc_lib.nets import classifiers, detectors, heads, hooks, padding, pretrained, segmenters, tracing
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import decoding, training
from posenc_lib.run.config import Recipe, Workspace

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=1, epoch_steps=1, batch_size=4, flip=False)


@pytest.fixture(autouse=True)
def device():
    """The device that is not there; `training.fit` trains on it."""
    torch.manual_seed(0)
    with accelerator.trained_on(), accelerator.pretended() as device:
        yield device


def noise(n: int = 2, side: int = 32, width: int | None = None) -> torch.Tensor:
    return torch.randn(n, 3, side, width or side)


def pictures(n: int = 4, side: int = 32, labels: torch.Tensor | None = None) -> ImageSet:
    images = torch.randint(256, (n, 3, side, side), dtype=torch.uint8)
    labels = torch.arange(n) % 3 if labels is None else labels
    return ImageSet("made", "test", images, labels, ("a", "b", "c"), *IMAGENET)


def there(*tensors: torch.Tensor) -> bool:
    return all(t.device == DEVICE for t in tensors)


NETWORKS = {
    **{f"gapnet {name} {mode}": partial(classifiers.gapnet, 9, name, mode, width=2)
       for name in classifiers.BACKBONES for mode in PADDING_MODES},
    "permutenet": partial(classifiers.permutenet, 9, width=2),
    **{f"permutenet nin {order}": partial(classifiers.permutenet, 9, "nin", permutation=order, width=2)
       for order in ("none", "fixed", "batch", "sample", "test")},
    **{f"vgg {task}": partial(classifiers.vgg, 3, 2, task=task) for task in ("classify", "segment")},
    "readout": lambda: heads.Readout(3, 2, depth=2, size=16),
    **{f"segmenter {plus}": partial(segmenters.Segmenter, "resnet18", 3, width=2, output_stride=8, rates=(1, 2, 3),
                                    head=4, plus=plus) for plus in (False, True)},
    "classifier": lambda: classifiers.Classifier("cifar_resnet18", 3, width=2).net,
    "classifier blur": lambda: classifiers.Classifier("cifar_resnet18", 3, width=2, blur=True).net,
    "padded at random": lambda: padding.pad_at_random(classifiers.gapnet(9, width=2), ["conv1"]),
    "coordinates": lambda: nn.Sequential(pretrained.Coordinates(), nn.Conv2d(5, 2, 3))}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_and_answers_where_it_is(name, device):
    net = NETWORKS[name]().to(device)
    optimizer = torch.optim.Adam(net.parameters())
    net(noise().to(device)).square().mean().backward()
    optimizer.step()
    assert there(*(p.grad for p in net.parameters() if p.grad is not None))
    with torch.no_grad():
        assert there(net.eval()(noise().to(device)))
    with pytest.raises(RuntimeError, match="same device"):
        net(noise())


@pytest.mark.parametrize("images_on", [CPU, DEVICE])
@pytest.mark.parametrize("name", ["small", "squeezenet1_1", "pixels", "coordinates"])
def test_features_are_where_the_network_is(name, images_on, device):
    """Page 02 trains readouts on the device to which it has moved the network."""
    encoder = pretrained.small_vgg(classifiers.vgg(3, 2)) if name == "small" else pretrained.untrained(name)
    encoder.net.to(device)
    images = pictures(2).to(images_on)
    f, channels = features.stacked_features(encoder, images, side=7, device=device)
    readout = heads.Readout(sum(channels), size=32).to(device).eval()
    assert there(readout(f.float()))
    if name == "small":
        latents, location, number = features.pooled_latents(encoder, images, 2)
        assert there(*latents, location, number)


@pytest.mark.parametrize("latents_on", [CPU, DEVICE])
def test_readers_learn_from_latents_of_any_place(latents_on):
    z = [torch.randn(8, 4).to(latents_on), torch.randn(8, 6).to(latents_on)]
    location = (torch.arange(8) % 4).to(latents_on)
    rows = decoding.decode(z, location, z, location, cells=4, recipe=RECIPE, seed=0, few=2)
    assert [row["channels"] for row in rows[:4]] == [4, 4, 2, 4] and decoding.n_distinguishable_cells(z[0]) == 8


def test_training_moves_what_it_is_given(device):
    net = classifiers.gapnet(3, width=2)
    training.fit(net, pictures(), lambda net, x, y, _: cross_entropy(net(x), y), replace(RECIPE, flip=True), seed=0)
    assert there(*net.parameters(), *net.buffers())


def segmenter(**options) -> region_attack.SegmenterConfig:
    return region_attack.SegmenterConfig(profile="smoke", dataset="", data="", net="resnet18", width=2, output_stride=8,
                                        rates=(1, 2, 3), head=4, **options)


@pytest.mark.parametrize("plus, layer", [(False, "layer4"), (True, "layer1")])
def test_a_segmenter_learns_and_is_attacked(plus, layer, device):
    c = segmenter(plus=plus, crop=(24, 24), balance=0.3)
    labels = torch.randint(3, (4, 32, 32))
    labels[:, :2] = VOID
    images = pictures(labels=labels)
    net = region_attack.build(c, 3)
    weight = region_attack.class_weights(images, 0.3).to(device)
    training.fit(net, images, partial(region_attack.objective, c, images.to(device), weight), RECIPE, seed=0)
    tried, first = images.to(device), torch.arange(3, device=device)
    rank = measure_channels.rank(
        lambda x: net.features(x, layer)[0], lambda: (tried.batch(i)[0] for i in (first, first[:1]))
    )
    sets = rank.sets(2, 1, 0)
    removals = [ablation.Ablation(sets[rule][0], instead, inside) for rule, instead, inside in (
        ("flip", None, ""), ("rms_activation", rank.mean, ""), ("random", None, "left"),
        ("rms_matched", rank.mean, "left"))]
    counts = region_attack.sweep(net, tried, removals, layer=layer, batch=3)
    weights = torch.cat([torch.ones(1, 4), metrics.bootstrap(4, 5)])
    assert region_attack.region_iou(counts, "left", weights=weights).shape == (len(removals), 6)
    measure_channels.stability(rank.flips, 2, metrics.bootstrap(4, 5))
    a, b = rank.rules["flip"], rank.signed["left"]
    assert (
        isfinite(measure_channels.rank_correlation(a, b))
        and measure_channels.overlap(measure_channels.top_channels(a, 2), measure_channels.top_channels(b, 2)) <= 2
    )


@pytest.mark.parametrize("kind", detectors.KINDS)
def test_a_detector_learns_and_is_attacked(kind, device):
    settings = pedestrian_detection.preset("smoke", "streets", kind).settings
    c = pedestrian_detection.DetectorConfig(profile="smoke", dataset="", data="", unit=0.1, **settings)
    people = torch.tensor([[[8.0, 8, 6, 15, 1, 0], [20, 4, 8, 20, 0.3, 1], [float("nan")] * 6]]).expand(4, -1, -1)
    images = pictures(side=64, labels=people.clone())
    net = pedestrian_detection.build(c)
    training.fit(net, images, partial(pedestrian_detection.objective, c), RECIPE, seed=0, capture=False)
    tried = images.to(device)
    halves = torch.arange(4, device=device).split(2)
    rank = measure_channels.rank(lambda x: net.features(x)[0], lambda: (tried.batch(half)[0] for half in halves),
                         stride=max(net.backbone.strides))
    sets = rank.sets(2, 1, 0)
    removals = [ablation.Ablation(sets[rule][0]) for rule in ("flip", "rms_matched")]
    for found in pedestrian_detection.sweep(net, tried, removals, batch=3):
        matches = miss_rate.match(
            tried.labels, found, miss_rate.SETUPS["All"], unit=0.1, region="left", size=(64, 64)
        )
        miss_rate.log_average(matches, metrics.bootstrap(4, 3))
        miss_rate.false_positives(matches, 0.5)
    miss_rate.average_precision(tried.labels, found)


@pytest.mark.parametrize("method", augshift.METHODS)
def test_a_classifier_learns_to_agree_and_is_asked(method, device):
    c = augshift.AugShiftConfig(profile="smoke", dataset="", data="", method=method, width=2, shift=4)
    net, images = augshift.build(c, 3), pictures()

    def loss(net, x, y, draws):
        return augshift.objective(c, net, augshift.views(c, x, draws, colour=black), y)

    black = images.to(device).black
    training.fit(net, images, loss, RECIPE, seed=0)
    tried = images.to(device)
    for offset_on in (CPU, DEVICE):
        told, z = augshift.predict(net, tried, torch.zeros(4, 2, dtype=torch.long, device=offset_on))
    right = told == tried.labels
    for fill in canvas.FILLS if method == "baseline" else ("constant",):
        found = augshift.consistency(net, tried, 2, fill, side=16 if fill == "true" else None, correct=right)
    augshift.consistency(net, tried, 2, correct=right.cpu())
    assert set(found) == {"consistency", "consistency_correct", "accuracy", "shift_variance"}
    assert isfinite(metrics.effective_rank(z))


def tokens() -> nn.Module:
    """A network whose layers put out maps, tokens, and maps with their channels last."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(2),
                         nn.Linear(64, 64), nn.AdaptiveAvgPool1d(1), nn.Flatten())


@pytest.mark.parametrize("images_on", [CPU, DEVICE])
@pytest.mark.parametrize("build", [partial(classifiers.vgg, 3, 2), tokens])
def test_a_network_is_probed_with_pictures_of_any_place(build, images_on, device):
    net, images = build().eval().to(device), noise(4).to(images_on)
    layer = probe.find_layers(net, size=32)[-1]
    told = probe.probe(net, grid=2, images=images, size=32, folds=2, recipe=RECIPE)
    assert len(told.accuracy) == len(told.layers) * len(probe.HEADS)
    ranked = {rule: probe.rank(net, layer.name, images, rule, batch=3)
              for rule in ("flip", "shift", "decodability", "rms_activation", "left")}
    targets = ranked["flip"][0][:2]
    for rms_activation in (None, ranked["rms_activation"][1]):
        rows = probe.attack(net, layer.name, targets, lambda net: float(net(images.to(device)).mean()), draws=2,
                            rms_activation=rms_activation, axis=layer.axis)
    assert list(rows["ablated"]) == ["none", "targets", "random", "rms_matched"]
    report = probe.padding_report(net, images, modes=("circular",))
    assert set(report.layers["padding_mode"]) == {"as_built", "circular"}


@pytest.mark.parametrize("channels_on", [CPU, DEVICE])
def test_hooks_find_their_channels(channels_on, device):
    net, x = classifiers.gapnet(3, width=2).eval().to(device), noise().to(device)
    gone = torch.tensor([1, 3]).to(channels_on)
    with torch.no_grad(), hooks.ablated(net, "layer4", gone), hooks.captured(net, "layer4") as seen:
        assert there(net(x), *seen)
    with pytest.raises(ValueError, match=r"channels 99\.\.99"), hooks.ablated(net, "layer4", gone[:1] + 98):
        net(x)
    with hooks.eval_and_restore(net):
        assert tracing.stages(net, {name: output.shape for name, output in tracing.trace(
            net, torch.cat([x, 2 * x])[:2]).outputs.items()})[-1] == "layer4"


def test_scores_are_taken_where_maps_are(device):
    f, g = torch.randn(4, 3, 8, 8).to(device), torch.randn(4, 3, 8, 8).to(device)
    labels = torch.randint(3, (4, 8, 8)).to(device)
    assert there(metrics.border_energy(f), metrics.padding_error(f, g))
    assert len(metrics.spearman(f[:, 0], g[0, 0])) == 4
    assert there(*metrics.place_fields(f.mean((-2, -1)), torch.arange(4, device=device), 2))
    zones = canvas.zones(8, 8).to(device)
    assert there(metrics.class_counts(metrics.confusion(labels, labels.flip(-1), 3, zones)))
    assert isfinite(metrics.accuracy(f[:, :, 0, 0], labels[:, 0, 0])) and metrics.chance(labels[:, 0, 0]) > 0


@pytest.mark.parametrize("where", [CPU, DEVICE])
def test_canvases_are_where_their_images_are(where, device):
    images, location = noise(3, 8).to(device), torch.tensor([0, 5, 8]).to(where)
    for colour in (0.0, torch.ones(3), torch.ones(3, device=device)):
        canvases = canvas.place(images, location, 3, colour)
        assert there(canvases, canvas.patch(canvases, location, 3))
    merged, kept = canvas.merge(location, 9, 3)
    assert merged.device == kept.device == location.device and there(images[kept])
    for fill in canvas.FILLS:
        offset = torch.ones(3, 2, dtype=torch.long).to(where)
        assert there(canvas.shift(images, offset, fill, side=4, colour=torch.ones(3)))
    assert there(pictures().to(device).black, pictures().to(device).subsample(2).batch(torch.arange(2))[0])


@pytest.fixture
def captured(monkeypatch):
    """Train as a GPU does; a step that it captures may not leave the device.  -> the steps replayed"""
    replayed = []

    def graph(body):
        def replay():
            with forbids_waits():
                body()
            replayed.append(body)
        return replay

    monkeypatch.setattr(training, "_capturable", lambda *_: True)
    monkeypatch.setattr(training, "_graph", graph)
    return replayed


def located(net, x, y, draws, fill=0.0):
    location = draws(torch.randint, 4, y.shape)
    return cross_entropy(net(canvas.place(x, location, 2, fill)), location)


def agreeing(method):
    c = augshift.AugShiftConfig(profile="smoke", dataset="", data="", method=method, width=2, shift=4)
    black = pictures().to(DEVICE).black
    return partial(augshift.build, c, 3), lambda net, x, y, draws: augshift.objective(
        c, net, augshift.views(c, x, draws, colour=black), y)


def segmented(**options):
    c, images = segmenter(**options), pictures(labels=torch.randint(3, (4, 32, 32))).to(DEVICE)
    weight = region_attack.class_weights(images, 0.3)
    return partial(region_attack.build, c, 3), partial(region_attack.objective, c, images, weight), images


# The steps of the pages that a GPU captures: network, loss, and images if they are not `pictures()`.
STEPS = {
    "01 classes": lambda: (partial(classifiers.gapnet, 3, width=2), lambda net, x, y, _: cross_entropy(net(x), y)),
    **{
        f"03 {mode}": lambda mode=mode: (partial(classifiers.gapnet, 4, padding_mode=mode, width=2), located)
        for mode in PADDING_MODES
    },
    **{
        f"03 {order}": lambda order=order: (
            partial(classifiers.permutenet, 4, "nin", permutation=order, width=2),
            located,
        )
        for order in ("none", "fixed", "batch", "sample", "test")
    },
    "03 black": lambda: (partial(classifiers.gapnet, 4, width=2), partial(located, fill=pictures().to(DEVICE).black)),
    **{f"05 {method}": partial(agreeing, method) for method in augshift.METHODS},
    "06": lambda: segmented(plus=True, crop=(24, 24), jitter=0.5),
    "06 whole": lambda: segmented(flip_augmentation=False, jitter=0.0),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_captured_step_does_not_leave_the_device(name, captured):
    build, loss, *images = STEPS[name]()
    recipe = replace(RECIPE, epoch_steps=training._Captured.warm_up + 1, flip=not images)
    training.fit(build(), *(images or [pictures()]), loss, recipe, seed=0)
    assert len(captured) == 1


def test_captured_readers_do_not_leave_the_device(captured):
    """Pages 02 and 04: readouts of kept features, and heads side by side."""
    steps = replace(RECIPE, epoch_steps=training._Captured.warm_up + 1)
    z, location = [torch.randn(8, 4).to(DEVICE), torch.randn(8, 6).to(DEVICE)], (torch.arange(8) % 4).to(DEVICE)
    decoding.decode(z, location, z, location, cells=4, recipe=steps, seed=0, few=2)
    encoder = pretrained.small_vgg(classifiers.vgg(3, 2))
    encoder.net.to(DEVICE)
    samples, _ = features.frozen_features(encoder, pictures().to(DEVICE), side=7)
    targets = torch.rand(2, 16, 16).to(DEVICE)
    training.fit(heads.Readout(9, 2, size=16), samples.select(torch.arange(9)),
                 lambda readout, f, *_: (readout(f) - targets).square().mean(), steps, seed=0)
    assert len(captured) == 2


def weights() -> nn.Module:
    return nn.Conv2d(3, 2, 1).to(DEVICE)


@pytest.mark.parametrize("meet", [
    lambda x: weights()(noise()), lambda x: x + torch.ones(2, 3), lambda x: torch.cat([x, torch.ones(2, 3)]),
    lambda x: torch.ones(2, 3)[x.long()], lambda x: x.index_select(0, torch.tensor([1])),
    lambda x: cross_entropy(x, torch.tensor([0, 1])), lambda x: torch.where(x > 0, x, torch.zeros(2, 3)),
    lambda x: torch.rand(3, generator=torch.Generator(x.device)),
    lambda x: torch.rand(3, generator=torch.Generator(), device=x.device)])
def test_what_a_gpu_refuses_is_refused(meet, device):
    with pytest.raises(RuntimeError, match=r"same device|for generator"):
        meet(torch.ones(2, 3, device=device))


@pytest.mark.parametrize("read", [lambda x: x.numpy(), lambda x: np.asarray(x), lambda x: np.stack([x])])
def test_numpy_reads_no_other_device(read, device):
    with pytest.raises(TypeError, match=r"Tensor\.cpu"):
        read(torch.ones(2, device=device))
    assert read(torch.ones(2, device=device).cpu()).sum() == 2


@pytest.mark.parametrize("fine", [
    lambda x: x * 2 + torch.tensor(1.0), lambda x: x[torch.tensor([0])], lambda x: torch.where(x > 0, x, 0.0),
    lambda x: torch.randint(9, (3,), generator=torch.Generator(x.device), device=x.device), lambda x: x.double()[:, 1:],
    lambda x: x.new_zeros(3), lambda x: torch.zeros_like(x), lambda x: x.quantile(0.5), lambda x: deepcopy(x),
    lambda x: torch.ones(2).to(x), lambda x: torch.as_tensor(x), lambda x: torch.tensor([1.0], device=x.device)])
def test_what_a_gpu_takes_is_taken(fine, device):
    assert there(fine(torch.ones(2, 3, device=device)))


@pytest.mark.parametrize("wait", [
    lambda x: x.sum().item(), lambda x: int(x.max()), lambda x: bool((x > 0).all()), lambda x: x.tolist(),
    lambda x: x.cpu(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: x.long().bincount(),
    lambda x: torch.tensor([1.0], device=x.device), lambda x: torch.as_tensor([1.0], device=x.device),
    lambda x: torch.ones(2).to(x), lambda x: x[torch.tensor([0])], lambda x: x[[0, 1]],
    lambda x: x.copy_(torch.ones(3)), lambda x: torch.randperm(3), lambda x: int(torch.randint(2, ())),
    lambda x: torch.empty(3).uniform_()])
def test_a_wait_is_found(wait, device):
    x = torch.ones(3, device=device)
    wait(x)
    with pytest.raises(RuntimeError, match="not on the device alone"), forbids_waits():
        wait(x)


@pytest.mark.parametrize("fine", [
    lambda x: x.masked_fill(x > 0, 0.0), lambda x: torch.rand(3, device=x.device),
    lambda x: torch.rand_like(x).argsort(), lambda x: x[torch.randperm(3, device=x.device)],
    lambda x: torch.full((3,), 0.5, device=x.device) * x, lambda x: x.__setitem__(x > 0, 0.0)])
def test_what_waits_for_nothing_is_let_through(fine, device):
    with forbids_waits():
        fine(torch.ones(3, device=device))


@pytest.mark.parametrize("name", pretrained.KNOWN)
def test_an_imagenet_architecture_answers_where_it_is(name):
    """Too large to start and to run here, so without values."""
    with FakeTensorMode(), torch.device("cuda"):
        encoder = pretrained.untrained(name)
        assert {f.device.type for f in encoder(noise(1, 64))} == {"cuda"}
        with pytest.raises(RuntimeError, match="device"):
            encoder(torch.zeros(1, 3, 64, 64, device="cpu"))


def test_float32_is_float32_where_something_is_measured(monkeypatch):
    net = classifiers.gapnet(3, width=2)
    for before in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
        with pytest.raises(ZeroDivisionError), hooks.eval_and_restore(net):
            assert not torch.backends.cudnn.allow_tf32
            1 / 0   # noqa: B018
        assert torch.backends.cudnn.allow_tf32 == before
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert Workspace("smoke").device and not torch.backends.cudnn.allow_tf32
