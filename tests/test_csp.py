"""CSP: people are told by centre, height and offset, and every fault in that costs what a plain loop says."""
from math import exp, log, nan

import pytest
import torch
from test_detection import ASPECT, SIZE, Stub, crowd, found, noise, opinionated, small

from posenc_lib.nets.detectors import CSP


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
