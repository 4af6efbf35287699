"""Detectors are torchvision's and the sources', learn nothing of the ignored, and lose the channels asked for."""
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import exp, inf, log, nan

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, smooth_l1_loss
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.ops import box_iou

from posenc_lib import detection, encoders, missrate, training
from posenc_lib.config import PolyRecipe
from posenc_lib.detection import CSP, KINDS, PRESETS, DetectorConfig
from posenc_lib.imageset import IMAGENET, ImageSet
from posenc_lib.segmentation import Removal

CONFIG = DetectorConfig(profile="smoke", dataset="", data="", unit=0.25, net="resnet10t", width=4, head=8, units=16,
                        proposals=64, heights=((43, 59), (77, 101), (123, 155)), mirrored=False, learned=(0, 0.0))
SIZE = (64, 128)
ASPECT = 0.41


def config(detector: str, **options) -> DetectorConfig:
    net = "hrnet_w18_small" if detector == "cascade" else "resnet10t"
    return replace(CONFIG, **{"net": net, "detector": detector, **options})


def small(detector: str, **options):
    torch.manual_seed(0)
    return detection.build(config(detector, **options)).eval()


def opinionated(detector: str, **options):
    """Untrained, but its scores are far apart, so that no rounding changes their order."""
    net = small(detector, **options)
    with torch.no_grad():
        if detector == "csp":
            net.read[-1].weight[0] *= 3
            net.read[-1].bias[0] = -1
        else:
            net.rpn.head.cls_logits.weight *= 100
            net.rpn.head.bbox_pred.weight *= 10
            for stage in net.stages:
                stage.box_predictor.cls_score.weight *= 10
    return net


def crowd(*images) -> torch.Tensor:
    """People of each image; a row may stop short of visible (1) and ignore (0)."""
    people = torch.full((len(images), max(map(len, images)) + 1, 6), nan)
    for n, rows in enumerate(images):
        for at, row in enumerate(rows):
            people[n, at] = torch.tensor([*row, *(1, 0)[len(row) - 4:]])
    return people


def noise(n: int, size=SIZE, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))


PEOPLE = crowd([(10, 10, 18, 44), (60, 4, 8, 20), (90, 20, 12, 30)], [], [(100, 8, 20.5, 50)])


class Stub(nn.Module):
    """Says what it is told to."""
    def __init__(self, say):
        super().__init__()
        self.say = say

    def forward(self, *args):
        return self.say(*args)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def alike(one, other, atol: float = 1e-3) -> bool:
    """The same detections, image by image, up to rounding."""
    return all(a.scores.shape == b.scores.shape and torch.allclose(a.scores, b.scores, rtol=0, atol=atol)
               and torch.allclose(a.boxes, b.boxes, rtol=0, atol=100 * atol) for a, b in zip(one, other, strict=True))


@torch.no_grad()
def found(net, x: torch.Tensor):
    return net.decode(*net.features(x), tuple(x.shape[-2:]))


class Body(nn.Module):
    out_channels = CONFIG.head

    def __init__(self, net):
        super().__init__()
        self.body, self.fpn = net.backbone, net.pyramid

    def forward(self, x):
        return self.fpn(OrderedDict((str(n), m) for n, m in enumerate(self.body(x))))


def torchvisions(net, size) -> FasterRCNN:
    """Built by torchvision of the same parts, as its defaults have it but for what the class says."""
    head = small("faster").stages[0]
    theirs = FasterRCNN(
        Body(small("faster")), min_size=size[0], max_size=size[1], image_mean=[0.0] * 3, image_std=[1.0] * 3,
        rpn_anchor_generator=net.rpn.anchor_generator, rpn_pre_nms_top_n_train=64, rpn_pre_nms_top_n_test=64,
        rpn_post_nms_top_n_train=64, rpn_post_nms_top_n_test=64, box_head=head.box_head,
        box_predictor=head.box_predictor, box_score_thresh=0.01, box_batch_size_per_image=32, _skip_resize=True)
    names = {"backbone.": "backbone.body.", "pyramid.": "backbone.fpn.", "stages.0.": "roi_heads.", "rpn.": "rpn."}
    theirs.load_state_dict({new + name.removeprefix(old): tensor for name, tensor in net.state_dict().items()
                            for old, new in names.items() if name.startswith(old)})
    return theirs.eval()


@pytest.mark.parametrize("size", [SIZE, (60, 120)])                # the second is filled up, as torchvision does
def test_one_box_head_is_torchvisions_faster_rcnn(size):
    net, x = opinionated("faster"), noise(3, size)
    theirs = torchvisions(net, size)
    with torch.no_grad():
        for ours, wanted in zip(found(net, x), theirs(list(x)), strict=True):
            boxes, scores = wanted["boxes"], wanted["scores"]
            assert len(scores) > 5 and torch.allclose(ours.scores, scores, atol=1e-5)
            assert torch.allclose(ours.boxes[:, :2], boxes[:, :2], atol=1e-3)
            assert torch.allclose(ours.boxes[:, :2] + ours.boxes[:, 2:], boxes[:, 2:], atol=1e-3)
    people = crowd([(9 * n, 2 * n, 8 + n, 20 + n) for n in range(12)], [], [(90, 8, 20.5, 50)])   # more than are drawn
    targets = [{"boxes": torch.cat([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1)[rows[:, 0] > -1]} for rows in people]
    for target in targets:
        target["labels"] = torch.ones(len(target["boxes"]), dtype=torch.long)
    for seed in range(3):
        torch.manual_seed(seed)
        ours = net.train()(x, people)
        torch.manual_seed(seed)
        assert torch.allclose(ours, sum(theirs.train()(list(x), targets).values()), rtol=1e-5)


def test_anchors_have_the_heights_and_the_aspect_asked_for():
    net = small("faster", unit=1.0)
    for anchors, heights in zip(net.rpn.anchor_generator.cell_anchors, CONFIG.heights, strict=True):
        sides = anchors[:, 2:] - anchors[:, :2]                                                  # whole numbers
        wanted = torch.tensor([[ASPECT * height, height] for height in heights])
        assert (sides - wanted).abs().max() <= 1


def refined(box, delta, n: int) -> list[float]:
    """A box (left, top, right, bottom) after the n-th head, cut to the picture."""
    (left, top, right, bottom), (across, down, wider, higher) = box, delta
    width, height = right - left, bottom - top
    col, row = left + width / 2 + across / 10 / n * width, top + height / 2 + down / 10 / n * height
    width, height = width * exp(wider / 5 / n), height * exp(higher / 5 / n)
    (rows, cols) = SIZE
    return [min(max(at, 0), limit) for at, limit in ((col - width / 2, cols), (row - height / 2, rows),
                                                     (col + width / 2, cols), (row + height / 2, rows))]


def cascade(proposals, logits, deltas, overlaps: int = 3):
    """A cascade whose heads say the same of every proposal; what they are given is on the list."""
    net, given = small("cascade"), []
    net.rpn = Stub(lambda *_: ([torch.tensor(boxes).reshape(-1, 4) for boxes in proposals], {}))
    net.stages = net.stages[:overlaps]
    for n, stage in enumerate(net.stages):
        stage.box_roi_pool = Stub(
            lambda _, boxes, __: given.append(boxes) or torch.zeros(sum(map(len, boxes)), 8, 7, 7))
        stage.box_predictor = Stub(lambda x, n=n: (logits[n].expand(len(x), -1),
                                                   torch.cat([-deltas[n], deltas[n]]).expand(len(x), -1)))
    return net, given


def test_each_head_of_a_cascade_refines_what_the_one_before_made():
    proposals = [[[10.0, 10.0, 30.0, 50.0], [90.0, 5.0, 120.0, 64.0]], [[50.0, 10.0, 70.0, 60.0]]]
    logits = torch.tensor([[0.0, 1.0], [0.5, 0.0], [-2.0, 1.0]])
    deltas = torch.tensor([[3.0, -1.0, 0.5, 1.0], [4.0, 2.0, -0.5, 0.2], [-2.0, 1.0, 1.0, -0.6]])
    assert refined(proposals[0][1], deltas[0].tolist(), 1)[2] == 128                             # it is cut
    for heads in (3, 1):
        net, given = cascade(proposals, logits, deltas, heads)
        detections = found(net, noise(2))
        boxes = proposals
        for n in range(heads):
            for ours, wanted in zip(given[n], boxes, strict=True):
                assert torch.allclose(ours, torch.tensor(wanted), atol=1e-3)
            boxes = [[refined(box, deltas[n].tolist(), n + 1) for box in image] for image in boxes]
        for ours, wanted in zip(detections, boxes, strict=True):
            kept = torch.tensor(wanted)
            kept[:, 2:] -= kept[:, :2].clone()
            assert torch.allclose(ours.boxes[ours.boxes[:, 0].argsort()], kept, atol=1e-3)
            said = logits[:heads].softmax(1)[:, 1].mean().item()
            assert ours.scores.tolist() == pytest.approx([said] * len(wanted))
        assert len(given) == heads


def stages_by_plain_loops(proposals, people, logits, deltas):
    total = 0.0
    for n, overlap in enumerate((0.5, 0.6, 0.7), start=1):
        labels, errors, kept = [], 0.0, []
        for boxes, rows in zip(proposals, people, strict=True):
            persons = [(torch.tensor([a, b, a + c, b + d]), i) for a, b, c, d, _, i in rows.tolist() if a > -1]
            kept.append([])
            for box in [*boxes, *(person.tolist() for person, _ in persons)]:
                shares = [box_iou(torch.tensor([box]), person[None]).item() for person, _ in persons]
                best = max(range(len(shares)), key=shares.__getitem__, default=None)
                close = best is not None and shares[best] >= overlap
                if close and persons[best][1]:
                    continue                                                                     # to be ignored
                labels.append(int(close))
                kept[-1].append(refined(box, deltas[n - 1].tolist(), n))
                if close:
                    (left, top, right, bottom), (a, b, c, d) = box, persons[best][0].tolist()
                    width, height = right - left, bottom - top
                    wanted = [5 * n * (a + c - left - right) / width, 5 * n * (b + d - top - bottom) / height,
                              5 * n * log((c - a) / width), 5 * n * log((d - b) / height)]
                    errors = errors + smooth_l1_loss(deltas[n - 1], torch.tensor(wanted), reduction="sum", beta=1 / 9)
        told = cross_entropy(logits[n - 1].expand(len(labels), -1), torch.tensor(labels))
        total = total + (told + errors / len(labels)) / 2 ** (n - 1)
        proposals = kept
    return total


@pytest.mark.parametrize("seed", range(6))
def test_the_loss_of_a_cascade_by_plain_loops(seed):
    draw = torch.Generator().manual_seed(seed)
    people = crowd([(40, 8, 20.5, 50), (80, 4, 20.5, 50, 1, 1)], [], [(20, 10, 16.4, 40)])
    near = people[[0, 0, 1, 2], [0, 1, 0, 0], :4].nan_to_num(15)[:, None]
    near = torch.cat([near[..., :2], near[..., :2] + near[..., 2:]], -1)
    near = near + 5 * torch.randn(4, 4, 4, generator=draw)
    proposals = [near[:2].flatten(0, 1).tolist(), near[2].tolist(), near[3].tolist()]
    logits, deltas = (torch.randn(3, n, generator=draw).requires_grad_() for n in (2, 4))
    net, _ = cascade(proposals, logits, deltas)
    ours, wanted = net.train()(noise(3), people), stages_by_plain_loops(proposals, people, logits, deltas)
    assert torch.allclose(ours, wanted, rtol=1e-4)
    for one, other in zip(*(torch.autograd.grad(loss, (logits, deltas)) for loss in (ours, wanted)), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)          # nothing flows back through a refined box


def test_a_cascade_reads_all_maps_side_by_side():
    net, x = small("cascade"), noise(2)
    with torch.no_grad():
        maps, (f, others) = net.backbone(x), net.features(x)
        levels = net.pyramid({"0": f})
        reduced = net.pyramid.reduce(f)
    assert [m.shape[1:] for m in maps] == [(4 * 2 ** n, 16 // 2 ** n, 32 // 2 ** n) for n in range(4)]
    assert others == [] and f.shape == (2, 60, 16, 32)
    for part, m in zip(f.split([4, 8, 16, 32], 1), maps, strict=True):
        assert torch.allclose(part, interpolate(m, (16, 32), mode="bilinear"), atol=1e-6)
    for n, level in enumerate(levels.values()):
        halved = reduced.unflatten(-1, (-1, 2 ** n)).unflatten(-3, (-1, 2 ** n)).mean((-3, -1))
        assert torch.allclose(level, net.pyramid.smooth[n](halved), atol=1e-5)
    assert list(levels) == ["0", "1", "2"]


def answer(people, aspect: float | None, size=SIZE, sure: float = 20.0) -> torch.Tensor:
    """What a CSP says that knows everybody, by a plain loop."""
    told = torch.zeros(len(people), 4 if aspect else 5, size[0] // 4, size[1] // 4)
    told[:, 0] = -sure
    for n, rows in enumerate(people.tolist()):
        for left, top, width, height, _, ignore in rows:
            if ignore == 0:
                row, col = (top + height / 2) / 4, (left + width / 2) / 4
                said = [sure, log(height / 4), row - int(row) - 0.5, col - int(col) - 0.5, log(width / 4)]
                told[n, :, int(row), int(col)] = torch.tensor(said[:told.shape[1]])
    return told


def saying(told: torch.Tensor, aspect: float | None = ASPECT) -> CSP:
    net = small("csp", aspect=aspect)
    net.read = Stub(lambda _: told)
    return net


@pytest.mark.parametrize("aspect", [ASPECT, None])
def test_csp_finds_who_it_was_told_of(aspect):
    people = crowd([(3.3, 5.1, 8.2, 20), (50.7, 1, 20.5, 50), (95.5, 12.25, 20.5, 50)], [], [(60, 30.2, 12.3, 30)])
    if aspect is None:
        people[..., 2] *= 1 + people[..., 0] % 1 / 2
    detections = found(saying(answer(people, aspect), aspect), noise(3))
    for (boxes, scores), rows in zip(detections, people, strict=True):
        rows = rows[~rows[:, 0].isnan(), :4]
        assert torch.allclose(boxes[boxes[:, 0].argsort()], rows, atol=1e-3) and (scores > 0.99).all()


def test_what_csp_leaves_out():
    told = answer(crowd([(20, 12, 8.2, 20), (100, 8, 16.4, 40)]), ASPECT, sure=6.0)
    told[0, :2, 7, 26] = told[0, :2, 8, 27] = torch.tensor([3.0, log(10)])    # beside the second: overlaps of .70, .61
    told[0, :2, 7, 28] = torch.tensor([2.0, log(10)])               # and .44, which stays
    told[0, :, 12, 15] = torch.tensor([1.0, log(200 / 4), 0, 0])    # higher than the picture: cut
    told[0, 0, 2, 15] = -4.61                                       # not told with a hundredth
    (boxes, scores), = found(saying(told), noise(1))
    assert scores.tolist() == pytest.approx(torch.tensor([6.0, 6, 2, 1]).sigmoid().tolist())
    assert torch.allclose(boxes[3], torch.tensor([62 - 41.0, 0, 82, 64]), atol=1e-3)
    told = torch.zeros(2, 4, 16, 32)                                # 512 of 4 pixels' height each
    told[:, 0] = torch.linspace(-2, 2, 1024)[torch.randperm(1024, generator=torch.Generator().manual_seed(0))].reshape(
        2, 16, 32)
    for image, (_, scores) in enumerate(found(saying(told), noise(2))):
        assert torch.equal(scores, told[image, 0].flatten().sigmoid().sort(descending=True).values[:100])


def csp_by_plain_loops(told, people, aspect) -> float:
    """The source's Eq. 1 to 4 over every place, with torch's smooth L1 and the standard deviations of its code."""
    total, count = 0.0, 0
    for said, rows in zip(told.double(), people.double().tolist(), strict=True):
        boxes = [([v / 4 for v in row[:4]], row[5]) for row in rows if row[5] in (0, 1)]
        real = [(top + height / 2, left + width / 2, height, width) for (left, top, width, height), i in boxes if not i]
        centres = {(int(row), int(col)) for row, col, *_ in real}
        for row in range(told.shape[2]):
            for col in range(told.shape[3]):
                p = min(max(said[0, row, col].sigmoid().item(), 1e-4), 1 - 1e-4)
                if (row, col) in centres:
                    total -= (1 - p) ** 2 * log(p)
                elif not any(left <= col + 0.5 <= left + width and top <= row + 0.5 <= top + height
                             for (left, top, width, height), ignored in boxes if ignored):
                    hill = max((exp(-(row + 0.5 - a) ** 2 / 2 / (0.15 * height + 0.35) ** 2
                                    - (col + 0.5 - b) ** 2 / 2 / (0.15 * width + 0.35) ** 2)
                                for a, b, height, width in real), default=0.0)
                    total -= (1 - hill) ** 4 * p ** 2 * log(1 - p)
        for row, col, height, width in real:
            there, count = said[:, int(row), int(col)], count + 1
            wrong = [(there[1] - log(height), 1), (there[2] - (row % 1 - 0.5), 0.1), (there[3] - (col % 1 - 0.5), 0.1)]
            wrong += [] if aspect else [(there[4] - log(width), 1)]
            total += sum(k * (d ** 2 / 2 if abs(d) < 1 else abs(d) - 0.5).item() for d, k in wrong)
    return total / max(count, 1)


@pytest.mark.parametrize("aspect", [ASPECT, None])
@pytest.mark.parametrize("seed", range(6))
def test_the_loss_of_csp_by_plain_loops(seed, aspect):
    draw = torch.Generator().manual_seed(seed)
    sides = 4 + 20 * torch.rand(3, 4, 2, generator=draw)
    corner = torch.rand(3, 4, 2, generator=draw) * (torch.tensor([64.0, 32.0]) - sides)
    people = torch.cat([corner, sides, torch.ones(3, 4, 1), (torch.rand(3, 4, 1, generator=draw) < 0.4).float()], -1)
    people[torch.rand(3, 4, generator=draw) < 0.3] = nan
    people[1, :2], people[2, 0, 5] = torch.tensor([33.0, 9, 5, 12, 1, 0]), 1                    # two on one place
    told = torch.randn(3, 4 if aspect else 5, 8, 16, generator=draw).requires_grad_()
    loss = saying(told, aspect).train()(noise(3, (32, 64)), people)
    assert loss.item() == pytest.approx(csp_by_plain_loops(told, people, aspect), rel=1e-4)
    gradient, = torch.autograd.grad(loss, told)
    assert gradient.isfinite().all() and (gradient != 0).any()


def test_every_single_fault_costs_csp():
    people = crowd([(10, 10, 8.2, 20), (40, 10, 16.4, 40), (80, 10, 16.4, 40, 1, 1)], [])
    right = answer(people, ASPECT)

    def cost(*faults) -> float:
        told = right.clone()
        for at, value in faults:
            told[at] = value
        return saying(told)(noise(2), people).item()

    assert 0 <= cost() < 1e-3
    assert cost(((0, 0, 7, 22), 20.0)) == pytest.approx(cost(), abs=1e-6)        # a centre in one who is ignored
    for fault in (((0, 0, 5, 3), -20.0), ((0, 0, 1, 30), 20.0), ((1, 0, 5, 5), 20.0), ((0, 1, 5, 3), 3.0),
                  ((0, 2, 5, 3), 3.0), ((0, 3, 7, 12), -3.0)):
        assert cost(fault) > 0.05, fault
    assert cost(((0, 0, 1, 30), 20.0)) > 2 * cost(((0, 0, 8, 12), 20.0))         # the nearer, the less


def test_what_csp_reads():
    net = opinionated("csp")
    with torch.no_grad():
        net.scales.copy_(torch.tensor([1.0, 2.0, 3.0]))
        for size, grid in ((SIZE, (16, 32)), ((60, 100), (15, 25))):
            f, others = net.features(noise(2, size))
            assert f.shape == (2, 24, *grid) and others == []
            lengths = f.unflatten(1, (3, 8)).norm(dim=2)
            assert torch.allclose(lengths, torch.tensor([1.0, 2, 3])[:, None, None].expand_as(lengths), atol=1e-4)
    assert small("csp").read[-1].bias[0].sigmoid().item() == pytest.approx(0.01, rel=0.01)


MAP = torch.stack([torch.arange(128).expand(64, 128) + 0.5, torch.arange(64)[:, None].expand(64, 128) + 0.5,
                   torch.ones(64, 128)])                             # a pixel's column, its row, and that it is there


@pytest.mark.parametrize("zoom, mirrored", [(0.0, True), (1.0, False), (1.0, True)])
def test_people_move_with_what_is_under_them(zoom, mirrored):
    """Each pixel says where it came from; so the move is known from two of them."""
    c = replace(CONFIG, zoom=zoom, mirrored=mirrored)
    people = crowd([(0, 0, 12, 30, 0.7), (50, 20, 16, 40, 0.4, 1), (100, 30, 28, 34, 0.9), (30, 2, 4, 10)])
    seen, states = [], set()
    for seed in range(12):
        images, moved = detection.augment(c, MAP.expand(8, -1, -1, -1), people.expand(8, -1, -1),
                                          torch.Generator().manual_seed(seed))
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
    assert 0.3 < sum(s < 0 for s in seen) / len(seen) < 0.7 if mirrored else min(seen) > 0
    assert states == ({"gone", "whole", "most", "part"} if zoom else {"whole"})
    assert not zoom or (sum(abs(s) > 1.4 for s in seen) > 9 and sum(abs(s) < 0.7 for s in seen) > 9)


def test_augmentation_is_the_generators():
    x, people = noise(16), PEOPLE[[0, 1, 2, 0] * 4]

    def augmented(x, people, seed=1, **options):
        return detection.augment(replace(CONFIG, **options), x, people, torch.Generator().manual_seed(seed))

    def close(one, other) -> bool:
        return all(torch.allclose(a, b, atol=1e-4, equal_nan=True) for a, b in zip(one, other, strict=True))

    kept = x.clone(), people.clone()
    assert close(augmented(x, people), (x, people))
    once = augmented(x, people, mirrored=True)
    assert not close(once, (x, people)) and close(augmented(*once, mirrored=True), (x, people))
    for a, b in zip(once[0], x, strict=True):
        assert torch.allclose(a, b, atol=1e-4) or torch.allclose(a, b.flip(-1), atol=1e-4)
    one, again, other = (augmented(x, people, seed, mirrored=True, zoom=0.7) for seed in (1, 1, 2))
    assert torch.equal(one[0], again[0]) and torch.equal(one[1].nan_to_num(-9), again[1].nan_to_num(-9))
    assert not torch.allclose(one[0], other[0])
    assert torch.equal(x, kept[0]) and close((people,), kept[1:])


def test_people_too_low_or_too_hidden_are_ignored_in_training():
    given = []
    net = Stub(lambda _, people: given.append(people) or people.new_zeros(()))
    people = crowd([(10, 10, 4, 9.9), (20, 10, 4, 10.1), (40, 10, 20, 50, 0.29), (70, 10, 20, 50, 0.31),
                    (95, 10, 20, 50, 0.9, 1)])
    detection.objective(replace(CONFIG, learned=(20, 0.3), unit=0.5), net, noise(1), people, torch.Generator())
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
def test_a_sweep_loses_exactly_the_channels_asked_for(kind):
    net, images = opinionated(kind), pictures()
    x, before, kept = images.batch(torch.arange(5))[0], opinionated(kind), images.images.clone()
    with torch.no_grad():
        f, others = net.features(x)
    n = f.shape[1]
    sets = [[], [0], [n - 1, 2, 5], list(range(n // 2)), []]
    swept = detection.sweep(net, images, [Removal(torch.tensor(s, dtype=torch.long)) for s in sets], batch=5)
    assert alike(swept[0], found(net, x), 1e-6) and alike(swept[4], swept[0], 1e-6)
    for removed, chosen in zip(swept, sets, strict=True):
        zeroed = f.clone()
        zeroed[:, chosen] = 0
        with torch.no_grad():
            assert alike(removed, net.decode(zeroed, others, SIZE), 1e-6)
    assert not any(alike(one, other) for one, other in pairwise(swept))           # the removals tell
    again = detection.sweep(net, images, [Removal(torch.tensor(s, dtype=torch.long)) for s in sets], batch=2)
    assert all(alike(one, other) for one, other in zip(swept, again, strict=True))
    assert same(net, before) and torch.equal(images.images, kept)
    assert not any(boxes.requires_grad for removed in swept for boxes, _ in removed)


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
    return missrate.log_average(missrate.matched(images.labels, detections, missrate.SETUPS["All"], unit=0.25)).item()


RECIPE = PolyRecipe(epochs=6, epoch_steps=10, batch_size=4, learning_rate=1e-2, adamw=True, backbone_scale=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_detector_learns(kind):
    c = config(kind, width=8, head=16, units=32, proposals=32, recipe=RECIPE,
               heights=((60, 80), (100, 120), (140, 160)))
    train = scenes()
    torch.manual_seed(0)
    net = detection.build(c)
    assert missed(net, train) > 0.9
    training.fit(net, train, partial(detection.objective, c), c.recipe, seed=0)
    assert missed(net, train) < 0.3


def test_training_is_the_seeds_and_goes_on_from_a_checkpoint(tmp_path):
    """TwoStage draws which proposals to learn from."""
    c = config("faster", mirrored=True, zoom=0.3, recipe=replace(RECIPE, epochs=2, epoch_steps=2))

    def fitted(seed: int, **options):
        net = small("faster")
        training.fit(net, scenes(), partial(detection.objective, c), c.recipe, seed=seed, **options)
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


@pytest.mark.parametrize("profile", PRESETS)
def test_every_preset_builds(profile):
    for dataset, (_, own) in PRESETS[profile].items():
        assert set(own) <= set(KINDS)
        for kind in KINDS:
            settings = detection.preset(profile, dataset, kind)
            rows, cols = settings.pop("size")
            c = DetectorConfig(profile=profile, dataset=dataset, data="", unit=rows / 1024, **settings)
            assert c.detector == kind
            with torch.device("meta"):   # shapes only
                net = detection.build(c)
                f, others = net.features(torch.zeros(2, 3, rows, cols))
                assert all(0 <= 4 * n - side < 32 for n, side in zip(f.shape[-2:], (rows, cols), strict=True)) or others
                if kind != "csp":
                    levels = net.pyramid({str(n): m for n, m in enumerate([*others, f])})
                    assert len(levels) == len(c.heights) and len(net.stages) == (3 if kind == "cascade" else 1)


def test_presets_fall_back_to_the_last_set():
    for profile, sets in PRESETS.items():
        for kind in KINDS:
            assert detection.preset(profile, "mine", kind) == detection.preset(profile, list(sets)[-1], kind)
    detection.preset("smoke", "mine", "csp").clear()
    assert detection.preset("smoke", "streets", "csp")["width"] == PRESETS["smoke"]["streets"][0]["width"]


def test_an_unknown_detector_is_refused():
    with pytest.raises(ValueError, match=r"^detector: 'yolo' was asked for, but there are only 'faster', 'casc"):
        replace(CONFIG, detector="yolo")


@pytest.mark.parametrize("name, width, output_stride, strides", [
    ("resnet10t", 4, 32, (4, 8, 16)), ("resnet50", None, 32, (4, 8, 16, 32)), ("resnet50", None, 16, (4, 8, 16, 16)),
    ("hrnet_w18_small", 2, 32, (4, 8, 16, 32)), ("hrnet_w18_small", None, 32, (4, 8, 16, 32)),
    ("mobilenetv2_100", None, 32, (4, 8, 16, 32)), ("mobilenetv2_100", None, 16, (4, 8, 16, 16))])
def test_strides_are_those_of_the_maps(name, width, output_stride, strides):
    with torch.device("meta"):
        net = detection.backbone(name, width, output_stride=output_stride)
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
    net, file = encoders.known("mobilenetv2_100").net, encoders.weights_file("mobilenetv2_100", tmp_path)
    for _ in range(20):
        net.train()(noise(4))          # statistics, so that something comes through
    file.parent.mkdir()
    save_file(net.state_dict(), file)
    return tmp_path


@pytest.mark.parametrize("kind", ["faster", "csp"])
def test_a_backbone_from_imagenet_is_the_encoders_and_stays_so(weights_root, kind):
    net = small(kind, net="mobilenetv2_100", width=None, heights=DetectorConfig.heights)
    encoder, strides, x = encoders.pretrained("mobilenetv2_100", weights_root), net.backbone.strides, noise(2)
    assert detection.from_imagenet(net, "mobilenetv2_100", weights_root) is net and net.backbone.strides == strides
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
    with pytest.raises(FileNotFoundError, match=r"weights: .*resnet18-imagenet\.safetensors is not there, and .*; put"):
        detection.from_imagenet(net, "resnet18", tmp_path)
    for other, lacks in (("squeezenet1_1", "conv1.weight"), ("resnet50", "layer1.0.conv1.weight")):
        file = encoders.weights_file(other, tmp_path)
        file.parent.mkdir(exist_ok=True)
        save_file(encoders.known(other).net.state_dict(), file)
        before = {name: t.clone() for name, t in net.state_dict().items()}
        with pytest.raises(ValueError, match=rf"weights: those of {other} lack {lacks} and \d+ more of the backbone's; "
                                             "give weights of that very network"):
            detection.from_imagenet(net, other, tmp_path)
        assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
