"""Miss rates against plain loops, average precision, the benchmark's files, and invalid input."""
from inspect import unwrap
from math import exp, inf, log, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_miss_rate import ALL, BOX, FAR, SMALL, crowd, rate, seen, street

from posenc_lib.base import shapes
from posenc_lib.base.shapes import Detections
from posenc_lib.measure import miss_rate
from posenc_lib.measure.miss_rate import SETUPS


def overlap(one, other, by_first: bool) -> float:
    sides = [min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k]) for k in (0, 1)]
    if min(sides) <= 0:
        return 0.0
    shared = sides[0] * sides[1]
    return shared / (one[2] * one[3] if by_first else one[2] * one[3] + other[2] * other[3] - shared)


def by_plain_loops(pictures, setup, official_script=True) -> float:
    """The miss rate of [(people, detections)], rows as in `crowd` and `seen`, directly from the rules."""
    entries, total = [], 0
    for people, detections in pictures:
        regular = [not row[5] and setup.height[0] <= row[3] <= setup.height[1]
                   and setup.visible[0] <= row[4] <= setup.visible[1] for row in people]
        total += sum(regular)
        taken = set()
        for row in sorted(detections, key=lambda row: -row[4]):
            if not setup.height[0] / 1.25 <= row[3] < setup.height[1] * 1.25:
                continue
            free = [(overlap(row, person, False), n) for n, person in enumerate(people) if regular[n]
                    and n not in taken and overlap(row, person, False) >= 0.5]
            if free:
                taken.add(max(free)[1])
                entries.append((row[4], True))
            elif not any(overlap(row, person, True) >= 0.5 for n, person in enumerate(people) if not regular[n]):
                entries.append((row[4], False))
    if not total:
        return nan
    recalls, rates, false, right = [], [], [], 0
    for _, found in sorted(entries, key=lambda entry: -entry[0]):
        right += found
        false.append((false[-1] if false else 0) + (not found))
        recalls.append(right / total)
    for point in miss_rate.FPPI:
        at = sum(count / len(pictures) <= point for count in false) - 1
        rates.append(1 - recalls[at] if recalls and (official_script or at >= 0) else 1.0)
    return exp(sum(map(log, rates)) / 9) if min(rates) else 0.0


@st.composite
def scenes(draw):
    """A few images with people close to each other, and detections on, between and away from them."""
    coordinate, height = st.integers(0, 6).map(lambda n: 10 * n), st.sampled_from([16, 20, 40, 50, 60, 75, 90, 95])
    visible = st.sampled_from([0.1, 0.2, 0.5, 0.65, 0.7, 1.0])
    person = st.tuples(coordinate, coordinate, st.sampled_from([20, 30, 40]), height, visible,
                       st.sampled_from([0, 0, 0, 1]))
    score = st.integers(1, 6)
    pictures = []
    for _ in range(draw(st.integers(1, 5))):
        people = draw(st.lists(person, max_size=4))
        anywhere = st.tuples(coordinate, coordinate, st.sampled_from([0, 20, 30]), height, score)
        near = st.builds(lambda row, right, s: (row[0] + right, *row[1:4], s), st.sampled_from(people),
                         st.sampled_from([0, 0, 5, -5]), score) if people else anywhere
        pictures.append((people, draw(st.lists(st.one_of(near, near, anywhere), max_size=6))))
    return pictures, draw(st.sampled_from(list(SETUPS.values())))


@given(scenes())
@settings(max_examples=80, deadline=None)
def test_miss_rates_are_those_of_plain_loops(case):
    pictures, setup = case
    people, detections = crowd(*(p for p, _ in pictures)), seen(*(d for _, d in pictures))
    for official_script in (True, False):
        assert rate(people, detections, setup, official_script=official_script) == pytest.approx(
            by_plain_loops(pictures, setup, official_script), nan_ok=True)


@given(scenes(), st.data())
@settings(max_examples=80, deadline=None)
def test_a_draw_is_the_set_in_which_images_are_repeated(case, data):
    pictures, setup = case
    count, n = 0, len(pictures)
    for _, detections in pictures:                             # no two scores alike
        for at, row in enumerate(detections):
            detections[at], count = (*row[:4], row[4] + count / 1000), count + 1
    drawn = sorted(data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n)))
    weights = torch.tensor(drawn).bincount(minlength=n).float()[None]
    matches = miss_rate.match(crowd(*(p for p, _ in pictures)), seen(*(d for _, d in pictures)), setup)
    for official_script in (True, False):
        assert miss_rate.log_average(matches, weights, official_script=official_script).item() == pytest.approx(
            by_plain_loops([pictures[k] for k in drawn], setup, official_script), nan_ok=True)


def test_average_precision_by_pencil():
    people = crowd([BOX, (*SMALL, 0.1, 0.0)], [(*FAR, 1.0, 1.0)])    # the small and hidden one counts, the last not
    detections = seen([(*BOX, 0.9), (*FAR, 0.8), (*SMALL, 0.7)], [(*FAR, 0.95), (*FAR, 0.85)])
    value = miss_rate.average_precision(people, detections)           # precision 1 at 51 recalls of 101, then 2/3
    assert type(value) is float and value == pytest.approx((51 + 50 * 2 / 3) / 101)
    people[1, 0, 5] = 0                                              # .95 right, .9 right, .85 and .8 false, .7 right
    assert miss_rate.average_precision(people, detections) == pytest.approx((67 + 34 * 3 / 5) / 101)
    for height, expected in ((55.0, 1), (45.0, 0)):                  # IoU .55 and .45
        part = seen([(*BOX[:3], height, 0.9)], [])
        assert miss_rate.average_precision(crowd([BOX], []), part) == pytest.approx(expected)
    assert miss_rate.average_precision(crowd([BOX], []), seen([], [])) == 0


def test_average_precision_is_torchmetrics():
    from torchmetrics.detection import MeanAveragePrecision  # takes seconds

    people, detections = street(40)
    metric = MeanAveragePrecision("xywh", iou_thresholds=[0.5], rec_thresholds=np.linspace(0, 1, 101).tolist())
    for (boxes, scores), rows in zip(detections, people, strict=True):
        rows = rows[~rows[:, 0].isnan()]
        labels = torch.zeros(len(boxes) + len(rows), dtype=torch.long)
        metric.update([{"boxes": boxes, "scores": scores, "labels": labels[:len(boxes)]}],
                      [{"boxes": rows[:, :4], "labels": labels[len(boxes):], "iscrowd": rows[:, 5].long()}])
    assert 0.3 < miss_rate.average_precision(people, detections) < 0.9
    assert miss_rate.average_precision(people, detections) == pytest.approx(float(metric.compute()["map"]), abs=1e-6)


def test_average_precision_counts_a_hundred_detections_per_image():
    for others, expected in ((99, 0.01), (100, 0)):
        value = miss_rate.average_precision(crowd([BOX]), seen([(*BOX, 0.1)] + [(*FAR, 0.9)] * others))
        assert value == pytest.approx(expected)


def test_average_precision_without_people_is_undefined():
    for people in (crowd([], []), crowd([(*BOX, 1.0, 1.0)], [])):
        assert str(miss_rate.average_precision(people, seen([(*FAR, 0.9)], []))) == "nan"


def files(**changes) -> tuple[dict, list]:
    """Two images in the benchmark's form, in which one of two people is found."""
    truth = {"images": [{"id": 9}, {"id": 4}], "annotations": [
        {"image_id": 9, "bbox": list(BOX)}, {"image_id": 4, "bbox": list(FAR), "height": 100, "vis_ratio": 0.7}]}
    return {**truth, **changes}, [{"image_id": 9, "bbox": list(BOX), "score": 0.9}]


def test_what_the_benchmarks_files_may_leave_out():
    truth, detections = files()
    assert miss_rate.miss_rate(truth, detections, "Reasonable") == pytest.approx(50)
    assert miss_rate.miss_rate({**truth, "images": truth["images"][:1], "annotations": truth["annotations"][:1]},
                              detections, "Reasonable") == 0
    seen_less = [truth["annotations"][0], {**truth["annotations"][1], "vis_ratio": 0.5}]
    assert miss_rate.miss_rate({**truth, "annotations": seen_less}, detections, "Reasonable") == 0
    assert miss_rate.miss_rate({**truth, "annotations": seen_less}, detections, "Heavy") == 100
    for keys, expected in (({"ignore": 1}, 0), ({"iscrowd": 1}, 0), ({"ignore": 0, "iscrowd": 1}, 50),
                           ({"category_id": 2}, 0), ({"category_id": 1}, 50)):
        rows = [truth["annotations"][0], {**truth["annotations"][1], **keys}]
        assert miss_rate.miss_rate({**truth, "annotations": rows}, detections, "Reasonable") == pytest.approx(expected)
    for category, expected in ((1, 50), (2, 100)):
        assert miss_rate.miss_rate(truth, [{**detections[0], "category_id": category}], "Reasonable") == pytest.approx(
            expected)
    assert miss_rate.miss_rate(truth, [], "All") == 100


def test_equal_scores_of_a_file_go_by_image_number():
    truth, (right,) = files()
    false = {"image_id": 4, "bbox": [1500, 100, 41, 100], "score": 0.9}      # two before the right one, of image 9
    expected = 100 * 0.5 ** (8 / 9)                                           # at .5623 nobody is found yet
    assert miss_rate.miss_rate(truth, [right, false, false], "Reasonable") == pytest.approx(expected)


def without(row: dict, key: str) -> dict:
    return {name: value for name, value in row.items() if name != key}


def test_files_that_cannot_be_scored():
    truth, found = files()
    rows, d = truth["annotations"], found[0]
    for given_, detections, setup, sentence in (
            ({"annotations": []}, found, "All", "miss_rate: the ground truth lacks images; it needs images, "
                                                "annotations"),
            ({}, found, "All", "miss_rate: the ground truth lacks images and annotations; it needs images, "
                               "annotations"),
            (files(images=[])[0], found, "All", "miss_rate: the ground truth has no image; give those that the "
                                                "detector was run on"),
            (files(images=[{}])[0], found, "All", "miss_rate: an image lacks id; it needs id"),
            (files(annotations=[rows[0], without(rows[1], "bbox")])[0], found, "All",
             "miss_rate: annotation 1 lacks bbox; it needs image_id, bbox"),
            (truth, [without(d, "score")], "All",
             "miss_rate: detection 0 lacks score; it needs image_id, bbox, score"),
            (truth, [d, {**d, "image_id": 7}], "All",
             "miss_rate: detection 1 has image_id 7, which the ground truth does not have; the ids of its 2 images "
             "range from 4 to 9"),
            (files(annotations=[{**rows[0], "image_id": "x"}])[0], found, "All", "miss_rate: annotation 0 has "
             "image_id 'x', which the ground truth does not have; the ids of its 2 images range from 4 to 9"),
            (truth, [{**d, "height": 50}], "All", "miss_rate: detection 0 has height 50 and a box of height "
                                                  "100.0; make them equal, or leave height out"),
            (files(annotations=[])[0], found, "All", "miss_rate: none of the 0 people is evaluated under All; choose "
                                                     "another set-up or more images"),
            (truth, found, "Small", "miss_rate: none of the 2 people is evaluated under Small; choose another set-up "
                                    "or more images")):
        with pytest.raises(ValueError) as error:
            miss_rate.miss_rate(given_, detections, setup)
        assert str(error.value) == sentence
    with pytest.raises(ValueError, match=r"^setup: 'Easy' .*'Reasonable', 'Small', 'Heavy', 'All'"):
        miss_rate.miss_rate(truth, found, "Easy")


@pytest.mark.parametrize("score", [miss_rate.average_precision, lambda p, d: miss_rate.match(p, d, ALL)],
                         ids=["average_precision", "match"])
def test_what_cannot_be_scored(score):
    people, good = crowd([BOX], [BOX]), (*BOX, 0.5)
    found = seen([], [good])
    end = "; give n finite scores and (n, 4) boxes of left, top, width, height"
    side = "miss_rate: the detections of image 1 have a box with a negative side or a value that is not finite" + end
    person = ("miss_rate: image 1 has a person with a negative side or a value that is not finite; fill only whole "
              "unused rows with nan")
    for p, d, sentence in (
            (people, found[:1], "miss_rate: people of 2 images and detections of 1 were given; give one `Detections` "
                                "per image, for at least one image"),
            (people[:0], [], "miss_rate: people of 0 images and detections of 0 were given; give one `Detections` per "
                             "image, for at least one image"),
            *((people, seen([], [good, (*BOX, bad)]), "miss_rate: the detections of image 1 have a score that is not "
               "finite" + end) for bad in (nan, inf, -inf)),
            *((people, seen([], [good, (*row, 0.5)]), side) for row in (
                (1, 1, -1, 5), (1, 1, 5, -1), (1, 1, nan, 5), (nan, 1, 5, 5), (1, 1, 5, inf))),
            (people, [found[0], Detections(torch.ones(2, 4), torch.ones(3))], "miss_rate: the detections of image 1 "
             "have 3 scores for boxes of shape (2, 4)" + end),
            *((crowd([BOX], [row]), found, person) for row in (
                (1, 1, -1, 5), (1, 1, 5, -1), (1, nan, 5, 5), (1, 1, inf, 5), (1, 1, 5, 5, nan)))):
        with pytest.raises(ValueError) as error:
            score(p, d)
        assert str(error.value) == sentence


def test_regions_units_and_weights_that_do_not_fit():
    people, found = crowd([BOX]), seen([(*BOX, 0.5)])
    for options, sentence in (
            ({"region": "left"}, "match: region 'left' needs the size of the images; give size=(rows, cols)"),
            *(({"unit": unit}, f"match: unit is {unit}; give a positive number, the image pixels per benchmark pixel")
              for unit in (0.0, -1.0, nan, inf))):
        with pytest.raises(ValueError) as error:
            miss_rate.match(people, found, ALL, **options)
        assert str(error.value) == sentence
    with pytest.raises(ValueError, match=r"^region: 'middle' .*'left', 'right', 'top', 'bottom', 'centre', 'periph"):
        miss_rate.match(people, found, ALL, region="middle", size=(9, 9))
    matches = miss_rate.match(people, found, ALL)
    for weights in (torch.ones(2, 3), torch.tensor([[-1.0]]), torch.tensor([[nan]]), torch.tensor([[inf]]),
                    torch.ones(1)):
        with pytest.raises(ValueError) as error:
            unwrap(miss_rate.miss_rate_curve)(matches, weights)       # without the tests' own shape check
        assert str(error.value) == (f"miss_rate_curve: weights of shape {tuple(weights.shape)} were given for 1 "
                                    "images; give (draw, 1) numbers that are finite and not negative")


def test_nobody_missed_can_count_as_half_a_person():
    found = miss_rate.match(PEOPLE_OF_TWO, [ON_BOTH], ALL)
    assert miss_rate.log_average(found).item() == 0                       # by the script
    assert miss_rate.log_average(found, least=0.5).item() == pytest.approx(0.25)      # half of two people
    twice = miss_rate.log_average(found, torch.tensor([[2.0], [1.0]]), least=0.5)
    assert twice.tolist() == pytest.approx([0.125, 0.25])                # half of four
    none = miss_rate.match(PEOPLE_OF_TWO, [shapes.Detections(torch.zeros(0, 4), torch.zeros(0))], ALL)
    assert miss_rate.log_average(none, least=0.5).item() == 1             # what is missed stays as it is
    one = miss_rate.match(PEOPLE_OF_TWO, [shapes.Detections(ON_BOTH.boxes[:1], ON_BOTH.scores[:1])], ALL)
    assert miss_rate.log_average(one, least=0.5).item() == miss_rate.log_average(one).item() == pytest.approx(0.5)


PEOPLE_OF_TWO = torch.tensor([[[10.0, 10, 40, 100, 1, 0], [100, 10, 40, 100, 1, 0]]])
ON_BOTH = shapes.Detections(PEOPLE_OF_TWO[0, :, :4], torch.tensor([0.9, 0.8]))
