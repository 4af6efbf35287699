"""Detectors are torchvision's and the sources', learn nothing of the ignored, and lose the channels requested."""
from collections import OrderedDict
from dataclasses import replace
from math import exp, log, nan

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, smooth_l1_loss
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.ops import box_iou

from posenc_lib.experiments import pedestrian_detection
from posenc_lib.experiments.pedestrian_detection import DetectorConfig

CONFIG = DetectorConfig(profile="smoke", dataset="", data="", unit=0.25, net="resnet10t", width=4, head=8, units=16,
                        proposals=64, heights=((43, 59), (77, 101), (123, 155)), flip_augmentation=False,
                        learned=(0, 0.0))
SIZE = (64, 128)
ASPECT = 0.41


def config(detector: str, **options) -> DetectorConfig:
    net = "hrnet_w18_small" if detector == "cascade" else "resnet10t"
    return replace(CONFIG, **{"net": net, "detector": detector, **options})


def small(detector: str, **options):
    torch.manual_seed(0)
    return pedestrian_detection.build(config(detector, **options)).eval()


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
