"""What detectors are trained on, that they learn, what a sweep ablates, and that every preset builds."""
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import inf, nan

import pytest
import torch
from safetensors.torch import save_file
from test_detection import (
    ASPECT,
    CONFIG,
    PEOPLE,
    SIZE,
    Stub,
    alike,
    config,
    crowd,
    found,
    noise,
    opinionated,
    same,
    small,
)

from posenc_lib.base.draws import Draws
from posenc_lib.data.imageset import IMAGENET, ImageSet
from posenc_lib.experiments import pedestrian_detection
from posenc_lib.experiments.ablation import Ablation
from posenc_lib.experiments.pedestrian_detection import DetectorConfig
from posenc_lib.measure import miss_rate
from posenc_lib.nets import detectors, pretrained
from posenc_lib.nets.detectors import KINDS
from posenc_lib.run import training
from posenc_lib.run.config import PolyRecipe

MAP = torch.stack([torch.arange(128).expand(64, 128) + 0.5, torch.arange(64)[:, None].expand(64, 128) + 0.5,
                   torch.ones(64, 128)])                             # a pixel's column, its row, and that it is there


@pytest.mark.parametrize("zoom, flipped", [(0.0, True), (1.0, False), (1.0, True)])
def test_people_move_with_what_is_under_them(zoom, flipped):
    """Each pixel says where it came from; so the move is known from two of them."""
    c = replace(CONFIG, zoom=zoom, flip_augmentation=flipped)
    people = crowd([(0, 0, 12, 30, 0.7), (50, 20, 16, 40, 0.4, 1), (100, 30, 28, 34, 0.9), (30, 2, 4, 10)])
    seen, states = [], set()
    for seed in range(12):
        images, moved = pedestrian_detection.augment(c, MAP.expand(8, -1, -1, -1), people.expand(8, -1, -1),
                                          Draws(seed=seed))
        assert moved[:, -1].isnan().all()
        for image, rows in zip(images, moved, strict=True):
            (row, col), (low, far) = (image[2] > 0.9999).nonzero()[[0, -1]].tolist()
            (x, y, _), (right, bottom, _) = image[:, row, col].tolist(), image[:, low, far].tolist()
            across, down = (far - col) / (right - x), (low - row) / (bottom - y)                 # new per old
            assert abs(across) == pytest.approx(down, rel=1e-3)
            seen.append(across)
            for before, after in zip(people[0, :4].tolist(), rows[:4].tolist(), strict=True):
                left, top, width, height, visible, ignore = before
                ends = sorted(col + 0.5 + across * (left + part * width - x) for part in (0, 1))
                sides = [(min(max(a, 0), limit), min(max(b, 0), limit)) for (a, b), limit in (
                    (ends, 128), ([row + 0.5 + down * (top + part * height - y) for part in (0, 1)], 64))]
                (a, b), (e, g) = sides
                left_over = (b - a) * (g - e) / (width * height * down ** 2)
                if left_over < 1e-3:
                    assert after[0] != after[0] or left_over > 0
                    states.add("gone")
                elif abs(left_over - 0.5) > 1e-2:
                    wanted = [a, e, b - a, g - e, visible, float(ignore or left_over < 0.5)]
                    assert after == pytest.approx(wanted, abs=0.1)
                    states.add("whole" if left_over > 0.999 else "most" if left_over > 0.5 else "part")
    assert all((0.49 if zoom else 0.999) < abs(s) < (2.01 if zoom else 1.001) for s in seen)
    assert 0.3 < sum(s < 0 for s in seen) / len(seen) < 0.7 if flipped else min(seen) > 0
    assert states == ({"gone", "whole", "most", "part"} if zoom else {"whole"})
    assert not zoom or (sum(abs(s) > 1.4 for s in seen) > 9 and sum(abs(s) < 0.7 for s in seen) > 9)


def test_augmentation_is_the_generators():
    x, people = noise(16), PEOPLE[[0, 1, 2, 0] * 4]

    def augmented(x, people, seed=1, **options):
        return pedestrian_detection.augment(replace(CONFIG, **options), x, people, Draws(seed=seed))

    def close(one, other) -> bool:
        return all(torch.allclose(a, b, atol=1e-4, equal_nan=True) for a, b in zip(one, other, strict=True))

    kept = x.clone(), people.clone()
    assert close(augmented(x, people), (x, people))
    once = augmented(x, people, flip_augmentation=True)
    assert not close(once, (x, people)) and close(augmented(*once, flip_augmentation=True), (x, people))
    for a, b in zip(once[0], x, strict=True):
        assert torch.allclose(a, b, atol=1e-4) or torch.allclose(a, b.flip(-1), atol=1e-4)
    one, again, other = (augmented(x, people, seed, flip_augmentation=True, zoom=0.7) for seed in (1, 1, 2))
    assert torch.equal(one[0], again[0]) and torch.equal(one[1].nan_to_num(-9), again[1].nan_to_num(-9))
    assert not torch.allclose(one[0], other[0])
    assert torch.equal(x, kept[0]) and close((people,), kept[1:])


def test_people_too_low_or_too_hidden_are_ignored_in_training():
    given = []
    net = Stub(lambda _, people: given.append(people) or people.new_zeros(()))
    people = crowd([(10, 10, 4, 9.9), (20, 10, 4, 10.1), (40, 10, 20, 50, 0.29), (70, 10, 20, 50, 0.31),
                    (95, 10, 20, 50, 0.9, 1)])
    pedestrian_detection.objective(replace(CONFIG, learned=(20, 0.3), unit=0.5), net, noise(1), people, Draws())
    assert given[0].shape == people.shape and given[0][0, :5, 5].tolist() == [1, 0, 1, 0, 1]
    assert torch.allclose(given[0][..., :5], people[..., :5], atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_without_people_is_learned_from(kind):
    for people in (PEOPLE, PEOPLE[[1, 1, 1]], PEOPLE[:, 3:]):
        net = small(kind).train()
        loss = net(noise(3), people)
        loss.backward()
        assert loss.isfinite() and loss > 0
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
        assert any(p.grad is not None and p.grad.any() for p in net.backbone.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_found_nothing_is_returned(kind):
    net = opinionated(kind)
    f, others = net.features(noise(2))
    for bad in (f * nan, f * inf):
        assert [(len(boxes), len(scores)) for boxes, scores in net.decode(bad, others, SIZE)] == [(0, 0)] * 2
    half = torch.stack([f[0], f[1] * nan])
    assert alike(net.decode(half, others, SIZE)[:1], net.decode(f, others, SIZE)[:1]) and found(net, noise(1))
    if kind != "csp":
        net.rpn = Stub(lambda *_: ([torch.zeros(0, 4)] * 2, {}))
        assert [tuple(boxes.shape) for boxes, _ in net.decode(f, others, SIZE)] == [(0, 4)] * 2


def pictures(n: int = 5, size=SIZE) -> ImageSet:
    pixels = torch.randint(256, (n, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet("made", "train", pixels, crowd(*[[]] * n), ("person",), *IMAGENET)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_ablates_exactly_the_requested_channels(kind):
    net, images = opinionated(kind), pictures()
    x, before, kept = images.batch(torch.arange(5))[0], opinionated(kind), images.images.clone()
    with torch.no_grad():
        f, others = net.features(x)
    n = f.shape[1]
    sets = [[], [0], [n - 1, 2, 5], list(range(n // 2)), []]
    swept = pedestrian_detection.sweep(
        net, images, [Ablation(torch.tensor(s, dtype=torch.long)) for s in sets], batch=5
    )
    assert alike(swept[0], found(net, x), 1e-6) and alike(swept[4], swept[0], 1e-6)
    for detections, chosen in zip(swept, sets, strict=True):
        zeroed = f.clone()
        zeroed[:, chosen] = 0
        with torch.no_grad():
            assert alike(detections, net.decode(zeroed, others, SIZE), 1e-6)
    assert not any(alike(one, other) for one, other in pairwise(swept))  # the ablations differ
    again = pedestrian_detection.sweep(
        net, images, [Ablation(torch.tensor(s, dtype=torch.long)) for s in sets], batch=2
    )
    assert all(alike(one, other) for one, other in zip(swept, again, strict=True))
    assert same(net, before) and torch.equal(images.images, kept)
    assert not any(boxes.requires_grad for detections in swept for boxes, _ in detections)


def scenes(n: int = 4) -> ImageSet:
    """Noise in which everybody is bright, of a height of 16 to 40 pixels."""
    draw, rows = torch.Generator().manual_seed(1), []
    pixels = torch.randint(100, (n, 3, *SIZE), dtype=torch.uint8, generator=draw)
    for image in pixels:
        rows.append([])
        for start in (4, 46, 88):
            height = int(torch.randint(16, 41, (), generator=draw))
            left, top = (int(torch.randint(high, (), generator=draw)) for high in (16, 64 - height))
            left, width = left + start, round(ASPECT * height)
            image[:, top:top + height, left:left + width] += 120
            rows[-1].append((left, top, width, height))
    return ImageSet("drawn", "train", pixels, crowd(*rows), ("person",), *IMAGENET)


def missed(net, images: ImageSet) -> float:
    detections = found(net.eval(), images.batch(torch.arange(len(images)))[0])
    return miss_rate.log_average(
        miss_rate.match(images.labels, detections, miss_rate.SETUPS["All"], unit=0.25)
    ).item()


RECIPE = PolyRecipe(epochs=5, epoch_steps=10, batch_size=4, learning_rate=1e-2, adamw=True, backbone_scale=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_detector_learns(kind):
    recipe = replace(RECIPE, epoch_steps=20)   # with half of it, the rounding of a CPU decides how far training comes
    c = config(kind, width=8, head=16, units=32, heights=((60, 80), (100, 120), (140, 160)), recipe=recipe)
    train = scenes()
    torch.manual_seed(0)
    net = pedestrian_detection.build(c)
    assert missed(net, train) > 0.9
    training.fit(net, train, partial(pedestrian_detection.objective, c), recipe, seed=0)
    assert missed(net, train) < 0.1


def test_training_is_the_seeds_and_goes_on_from_a_checkpoint(tmp_path):
    """TwoStage draws which proposals to learn from."""
    c = config("faster", flip_augmentation=True, zoom=0.3, recipe=replace(RECIPE, epochs=2, epoch_steps=2))

    def fitted(seed: int, **options):
        net = small("faster")
        training.fit(net, scenes(), partial(pedestrian_detection.objective, c), c.recipe, seed=seed, **options)
        return net

    def interrupted(_):
        if file.is_file():
            raise KeyboardInterrupt
        return {}

    file = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        fitted(0, checkpoint=file, evaluate=interrupted)
    one = fitted(0)
    assert same(one, fitted(0)) and same(one, fitted(0, checkpoint=file)) and not same(one, fitted(1))


@pytest.mark.parametrize("profile, dataset, schedule", [
    ("smoke", "any", ""), ("quick", "streets", ""), ("quick", "camvid", ""), ("paper", "camvid", "")])
def test_presets_build(profile, dataset, schedule):
    """Those of other image sets differ in the size of the images, and "long" in the schedule."""
    for kind in KINDS:
        (rows, cols), settings, _ = pedestrian_detection.preset(profile, dataset, kind, schedule)
        c = DetectorConfig(profile=profile, dataset=dataset, data="", unit=rows / 1024, **settings)
        with torch.device("meta"):   # shapes only
            net = pedestrian_detection.build(c)
            f, others = net.features(torch.zeros(2, 3, rows, cols))
            assert all(0 <= 4 * n - side < 32 for n, side in zip(f.shape[-2:], (rows, cols), strict=True)) or others
            if kind == "csp":
                assert net.backbone.strides[-1] == 16
            else:
                levels = net.pyramid({str(n): m for n, m in enumerate([*others, f])})
                assert len(levels) == len(c.heights) and len(net.stages) == (3 if kind == "cascade" else 1)


def test_an_unknown_detector_is_refused():
    with pytest.raises(ValueError, match=r"^detector: 'yolo' is not supported; choose from 'faster', 'casc"):
        replace(CONFIG, detector="yolo")


@pytest.mark.parametrize("name, width, output_stride, strides", [
    ("resnet10t", 4, 32, (4, 8, 16)), ("resnet50", None, 32, (4, 8, 16, 32)), ("resnet50", None, 16, (4, 8, 16, 16)),
    ("hrnet_w18_small", 2, 32, (4, 8, 16, 32)), ("hrnet_w18_small", None, 32, (4, 8, 16, 32)),
    ("mobilenetv2_100", None, 32, (4, 8, 16, 32)), ("mobilenetv2_100", None, 16, (4, 8, 16, 16))])
def test_strides_are_those_of_the_maps(name, width, output_stride, strides):
    with torch.device("meta"):
        net = detectors.backbone(name, width, output_stride=output_stride)
        maps = net(torch.zeros(1, 3, 64, 96))
    assert net.strides == strides
    assert [tuple(m.shape[-2:]) for m in maps] == [(64 // s, 96 // s) for s in strides]
    assert [m.shape[1] for m in maps] == net.feature_info.channels()
    assert width is None or maps[0].shape[1] == width * (2 if len(maps) == 3 else 1)    # its second stage is the first


@pytest.fixture(params=["made", "real"])
def weights_root(request, tmp_path):
    """Weights of MobileNetV2, random ones and ImageNet's."""
    if request.param == "real":
        return request.getfixturevalue("data_root")
    net, file = pretrained.untrained("mobilenetv2_100").net, pretrained.weights_file("mobilenetv2_100", tmp_path)
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.momentum = None           # statistics of one batch, so that something comes through
    net.train()(noise(4))
    file.parent.mkdir()
    save_file(net.state_dict(), file)
    return tmp_path


@pytest.mark.parametrize("kind", ["faster", "csp"])
def test_a_backbone_from_imagenet_is_the_encoders_and_stays_so(weights_root, kind):
    net = small(kind, net="mobilenetv2_100", width=None, heights=DetectorConfig.heights)
    encoder, strides, x = pretrained.pretrained("mobilenetv2_100", weights_root), net.backbone.strides, noise(2)
    assert detectors.from_imagenet(net, "mobilenetv2_100", weights_root) is net and net.backbone.strides == strides
    wanted, before = encoder(x)[1:], {name: t.clone() for name, t in net.backbone.state_dict().items()}
    maps = net.train().backbone(x)
    for ours, theirs in list(zip(maps, wanted, strict=True))[:4 if kind == "faster" else 3]:     # the last is dilated
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    assert all(torch.equal(t, before[name]) for name, t in net.backbone.state_dict().items())
    assert all(p.requires_grad for p in net.read.parameters()) if kind == "csp" else net.pyramid
    net(x, PEOPLE[:2]).backward()
    assert next(iter(net.backbone.parameters())).grad.any()


def test_weights_that_are_not_there_or_not_of_this_network(offline, tmp_path):
    net = small("faster", net="resnet18", width=None, heights=DetectorConfig.heights)
    with pytest.raises(FileNotFoundError, match=r"weights: .*resnet18-imagenet\.safetensors does not exist, and .*"):
        detectors.from_imagenet(net, "resnet18", tmp_path)
    for other, lacks in (("squeezenet1_1", "conv1.weight"), ("resnet50", "layer1.0.conv1.weight")):
        file = pretrained.weights_file(other, tmp_path)
        file.parent.mkdir(exist_ok=True)
        save_file(pretrained.untrained(other).net.state_dict(), file)
        before = {name: t.clone() for name, t in net.state_dict().items()}
        with pytest.raises(ValueError, match=rf"weights: those of {other} lack {lacks} and \d+ more tensors of the "
                                             "backbone; use weights of the same network"):
            detectors.from_imagenet(net, other, tmp_path)
        assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


@pytest.mark.parametrize("kind", ["faster", "cascade"])
def test_boxes_stay_in_full_precision_where_the_backbone_is_in_half(kind):
    """bfloat16 has 8 bits: a corner at 300 pixels would be 300 or 302."""
    net, kinds = small(kind).train(), []
    net.rpn.register_forward_hook(lambda _, __, out: kinds.extend(boxes.dtype for boxes in out[0]))
    net.rpn.anchor_generator.register_forward_hook(lambda _, __, out: kinds.extend(boxes.dtype for boxes in out))
    net.backbone.register_forward_hook(lambda _, __, maps: kinds.append(maps[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(noise(2), PEOPLE[:2]).backward()
    assert kinds == [torch.bfloat16] + 4 * [torch.float32]
