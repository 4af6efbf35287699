"""CSP decodes people from centre, height and offset maps; its loss equals a plain loop and sees every kind of error."""
from math import exp, log, nan

import pytest
import torch
from test_detection import ASPECT, SIZE, Stub, crowd, found, noise, opinionated, small

from posenc_lib.nets.detectors import CSP


def perfect_predictions(people, aspect: float | None, size=SIZE, logit: float = 20.0) -> torch.Tensor:
    """The output maps of a CSP without any error, by a plain loop."""
    predictions = torch.zeros(len(people), 4 if aspect else 5, size[0] // 4, size[1] // 4)
    predictions[:, 0] = -logit
    for n, rows in enumerate(people.tolist()):
        for left, top, width, height, _, ignore in rows:
            if ignore == 0:
                row, col = (top + height / 2) / 4, (left + width / 2) / 4
                values = [logit, log(height / 4), row - int(row) - 0.5, col - int(col) - 0.5, log(width / 4)]
                predictions[n, :, int(row), int(col)] = torch.tensor(values[:predictions.shape[1]])
    return predictions


def predicting(predictions: torch.Tensor, aspect: float | None = ASPECT) -> CSP:
    """A CSP whose output maps are given."""
    net = small("csp", aspect=aspect)
    net.read = Stub(lambda _: predictions)
    return net


@pytest.mark.parametrize("aspect", [ASPECT, None])
def test_csp_decodes_perfect_predictions(aspect):
    people = crowd([(3.3, 5.1, 8.2, 20), (50.7, 1, 20.5, 50), (95.5, 12.25, 20.5, 50)], [], [(60, 30.2, 12.3, 30)])
    if aspect is None:
        people[..., 2] *= 1 + people[..., 0] % 1 / 2
    detections = found(predicting(perfect_predictions(people, aspect), aspect), noise(3))
    for (boxes, scores), rows in zip(detections, people, strict=True):
        rows = rows[~rows[:, 0].isnan(), :4]
        assert torch.allclose(boxes[boxes[:, 0].argsort()], rows, atol=1e-3) and (scores > 0.99).all()


def test_csp_drops_overlapping_and_improbable_detections():
    predictions = perfect_predictions(crowd([(20, 12, 8.2, 20), (100, 8, 16.4, 40)]), ASPECT, logit=6.0)
    predictions[0, :2, 7, 26] = predictions[0, :2, 8, 27] = torch.tensor([3.0, log(10)])   # IoU .70, .61
    predictions[0, :2, 7, 28] = torch.tensor([2.0, log(10)])               # and .44, which is kept
    predictions[0, :, 12, 15] = torch.tensor([1.0, log(200 / 4), 0, 0])    # higher than the image: clipped
    predictions[0, 0, 2, 15] = -4.61                                       # below 1 %
    (boxes, scores), = found(predicting(predictions), noise(1))
    assert scores.tolist() == pytest.approx(torch.tensor([6.0, 6, 2, 1]).sigmoid().tolist())
    assert torch.allclose(boxes[3], torch.tensor([62 - 41.0, 0, 82, 64]), atol=1e-3)
    predictions = torch.zeros(2, 4, 16, 32)                                # 512 of 4 pixels' height each
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(0))
    predictions[:, 0] = torch.linspace(-2, 2, 1024)[order].reshape(2, 16, 32)
    for image, (_, scores) in enumerate(found(predicting(predictions), noise(2))):
        assert torch.equal(scores, predictions[image, 0].flatten().sigmoid().sort(descending=True).values[:100])


def csp_by_plain_loops(predictions, people, aspect) -> float:
    """The source's Eq. 1 to 4 over every cell, with torch's smooth L1 and the standard deviations of its code."""
    total, count = 0.0, 0
    for maps, rows in zip(predictions.double(), people.double().tolist(), strict=True):
        boxes = [([v / 4 for v in row[:4]], row[5]) for row in rows if row[5] in (0, 1)]
        real = [(top + height / 2, left + width / 2, height, width) for (left, top, width, height), i in boxes if not i]
        centres = {(int(row), int(col)) for row, col, *_ in real}
        for row in range(predictions.shape[2]):
            for col in range(predictions.shape[3]):
                p = min(max(maps[0, row, col].sigmoid().item(), 1e-4), 1 - 1e-4)
                if (row, col) in centres:
                    total -= (1 - p) ** 2 * log(p)
                elif not any(left <= col + 0.5 <= left + width and top <= row + 0.5 <= top + height
                             for (left, top, width, height), ignored in boxes if ignored):
                    gaussian = max((exp(-(row + 0.5 - a) ** 2 / 2 / (0.15 * height + 0.35) ** 2
                                    - (col + 0.5 - b) ** 2 / 2 / (0.15 * width + 0.35) ** 2)
                                for a, b, height, width in real), default=0.0)
                    total -= (1 - gaussian) ** 4 * p ** 2 * log(1 - p)
        for row, col, height, width in real:
            at_centre, count = maps[:, int(row), int(col)], count + 1
            errors = [(at_centre[1] - log(height), 1), (at_centre[2] - (row % 1 - 0.5), 0.1),
                      (at_centre[3] - (col % 1 - 0.5), 0.1)]
            errors += [] if aspect else [(at_centre[4] - log(width), 1)]
            total += sum(k * (d ** 2 / 2 if abs(d) < 1 else abs(d) - 0.5).item() for d, k in errors)
    return total / max(count, 1)


@pytest.mark.parametrize("aspect", [ASPECT, None])
@pytest.mark.parametrize("seed", range(6))
def test_the_loss_of_csp_by_plain_loops(seed, aspect):
    draw = torch.Generator().manual_seed(seed)
    sides = 4 + 20 * torch.rand(3, 4, 2, generator=draw)
    corner = torch.rand(3, 4, 2, generator=draw) * (torch.tensor([64.0, 32.0]) - sides)
    people = torch.cat([corner, sides, torch.ones(3, 4, 1), (torch.rand(3, 4, 1, generator=draw) < 0.4).float()], -1)
    people[torch.rand(3, 4, generator=draw) < 0.3] = nan
    people[1, :2], people[2, 0, 5] = torch.tensor([33.0, 9, 5, 12, 1, 0]), 1                    # two with one centre
    predictions = torch.randn(3, 4 if aspect else 5, 8, 16, generator=draw).requires_grad_()
    loss = predicting(predictions, aspect).train()(noise(3, (32, 64)), people)
    assert loss.item() == pytest.approx(csp_by_plain_loops(predictions, people, aspect), rel=1e-4)
    gradient, = torch.autograd.grad(loss, predictions)
    assert gradient.isfinite().all() and (gradient != 0).any()


def test_every_single_error_raises_the_loss():
    people = crowd([(10, 10, 8.2, 20), (40, 10, 16.4, 40), (80, 10, 16.4, 40, 1, 1)], [])
    perfect = perfect_predictions(people, ASPECT)

    def cost(*errors) -> float:
        predictions = perfect.clone()
        for at, value in errors:
            predictions[at] = value
        return predicting(predictions)(noise(2), people).item()

    assert 0 <= cost() < 1e-3
    assert cost(((0, 0, 7, 22), 20.0)) == pytest.approx(cost(), abs=1e-6)        # a centre in an ignored person
    for error in (((0, 0, 5, 3), -20.0), ((0, 0, 1, 30), 20.0), ((1, 0, 5, 5), 20.0), ((0, 1, 5, 3), 3.0),
                  ((0, 2, 5, 3), 3.0), ((0, 3, 7, 12), -3.0)):
        assert cost(error) > 0.05, error
    assert cost(((0, 0, 1, 30), 20.0)) > 2 * cost(((0, 0, 8, 12), 20.0))         # nearer to a centre costs less


def test_the_feature_map_of_csp():
    net = opinionated("csp")
    with torch.no_grad():
        net.scales.copy_(torch.tensor([1.0, 2.0, 3.0]))
        for size, grid in ((SIZE, (16, 32)), ((60, 100), (15, 25))):
            f, remaining = net.features(noise(2, size))
            assert f.shape == (2, 24, *grid) and remaining == []
            lengths = f.unflatten(1, (3, 8)).norm(dim=2)
            assert torch.allclose(lengths, torch.tensor([1.0, 2, 3])[:, None, None].expand_as(lengths), atol=1e-4)
    assert small("csp").read[-1].bias[0].sigmoid().item() == pytest.approx(0.01, rel=0.01)
