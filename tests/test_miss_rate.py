"""Miss rates against the benchmark's own script, worked cases, and invariances."""
import json
from math import exp, log, nan

import numpy as np
import pytest
import torch

from posenc_lib.base.shapes import Detections
from posenc_lib.measure import canvas, metrics, miss_rate
from posenc_lib.measure.miss_rate import SETUPS, Matches

BOX = (100.0, 100.0, 41.0, 100.0)                # a person 100 high
SMALL = (400.0, 100.0, 16.0, 40.0)               # and one 40 high
FAR = (800.0, 500.0, 41.0, 100.0)                # nobody is here
ALL, REASONABLE = SETUPS["All"], SETUPS["Reasonable"]


def crowd(*images, dtype=torch.float32) -> torch.Tensor:
    """People of each image; rows may leave out visible (1) and ignore (0)."""
    people = torch.full((len(images), max(map(len, images)), 6), nan, dtype=dtype)
    for n, rows in enumerate(images):
        for at, row in enumerate(rows):
            people[n, at] = torch.tensor([*row, *(1, 0)[len(row) - 4:]], dtype=dtype)
    return people


def seen(*images) -> list[Detections]:
    """Detections of each image, from rows of left, top, width, height, score."""
    tables = [torch.tensor(rows, dtype=torch.float64).reshape(-1, 5) for rows in images]
    return [Detections(table[:, :4], table[:, 4]) for table in tables]


def rate(people, detections, setup=REASONABLE, *, official_script=True, **options) -> float:
    return miss_rate.log_average(
        miss_rate.match(people, detections, setup, **options), official_script=official_script
    ).item()


def listed(matches: Matches) -> list[tuple]:
    return list(zip(matches.image.tolist(), matches.score.tolist(), matches.right.tolist(), strict=True))


def street(n: int = 100, seed: int = 0) -> tuple[torch.Tensor, list[Detections]]:
    """Images of 512x1024 with four people or none; most are detected, some twice, with many false positives."""
    draw = torch.Generator().manual_seed(seed)

    def boxes(count):
        height = 15 + 130 * torch.rand(count, generator=draw)
        corner = torch.rand(count, 2, generator=draw) * torch.tensor([1000.0, 450.0])
        return torch.cat([corner, torch.stack([0.41 * height, height], 1)], 1)

    people, detections = torch.full((n, 5, 6), nan), []
    for at in range(n):
        true = boxes(4 if at % 5 else 0)
        people[at, :len(true), :4] = true
        people[at, :len(true), 4] = torch.rand(len(true), generator=draw).sqrt()
        people[at, :len(true), 5] = (torch.rand(len(true), generator=draw) < 0.15).float()
        near = true + torch.randn(true.shape, generator=draw)
        found = torch.cat([near, near[:2] + 2, boxes(3)])
        detections.append(Detections(found, torch.rand(len(found), generator=draw)))
    return people, detections


@pytest.mark.parametrize("case", [1, 2, 3])
def test_miss_rates_are_the_benchmarks_own(case, data_root):
    file = data_root.parent / "peers" / "miss_rate" / f"case{case}.json"
    if not file.is_file():
        pytest.skip(f"peers' outputs: miss_rate/case{case}.json is not beside the data root")
    peer = json.loads(file.read_text())
    ours = {setup: miss_rate.miss_rate(peer["ground_truth"], peer["detections"], setup) for setup in SETUPS}
    assert {setup: round(value, 2) for setup, value in ours.items()} == peer["miss_rate_percent"]


@pytest.mark.parametrize("n", range(9))
def test_the_nine_points_are_rounded_as_the_scripts(n):
    people, detections = crowd([], [BOX, FAR], []), seen([(*FAR, 0.9)] * 2, [(*BOX, 0.8)], [])
    matches, point = miss_rate.match(people, detections, REASONABLE), round(10 ** (n / 4 - 2), 4)
    for false, low in ((point - 1e-6, 9 - n), (point + 1e-6, 8 - n)):        # one of two is found at `low` points
        weights = torch.tensor([[false / 2, 0.1, 0.9 - false / 2]], dtype=torch.float64)
        assert miss_rate.log_average(matches, weights, official_script=False).item() == pytest.approx(0.5 ** (low / 9))


def test_the_example_of_the_docstring():
    people = crowd([BOX, SMALL])
    before = people.clone()
    detections = seen([(*BOX, 0.9), (*BOX, 0.8), (*SMALL, 0.7), (*SMALL, 0.6), (*FAR, 0.5)])
    matches = miss_rate.match(people, detections, REASONABLE)
    assert listed(matches) == [(0, 0.9, True), (0, 0.8, False), (0, 0.5, False)] and matches.people.tolist() == [1]
    assert torch.equal(people, before)
    both = miss_rate.match(people, detections, ALL)
    assert listed(both) == [(0, 0.9, True), (0, 0.8, False), (0, 0.7, True), (0, 0.6, False), (0, 0.5, False)]
    assert both.people.tolist() == [2]


def test_curve_and_log_average_by_pencil():
    people = crowd([BOX], [BOX], [], [BOX, FAR])     # four people in four images
    detections = seen([(*BOX, 0.9)], [(*FAR, 0.6), (*BOX, 0.5)], [(*FAR, 0.8), (*BOX, 0.1)], [(*BOX, 0.7)])
    matches = miss_rate.match(people, detections, REASONABLE)
    assert matches.right.tolist() == [True, False, True, False, True, False] and matches.image[1] == 2
    false, miss = miss_rate.miss_rate_curve(matches)
    assert false.tolist() == [[0, 0, 0.25, 0.25, 0.5, 0.5, 0.75]]
    assert miss.tolist() == [[1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]]
    rates = [0.75] * 6 + [0.5] + [0.25] * 2          # up to .1778, at .3162, from .5623 on
    assert rate(people, detections) == pytest.approx(exp(sum(map(log, rates)) / 9))
    assert miss_rate.false_positives(matches, 0.6).tolist() == [0, 1, 1, 0]
    assert miss_rate.false_positives(matches, 0.0).tolist() == [0, 1, 2, 0]
    assert miss_rate.false_positives(matches, 0.61).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(("images", "lower"), [(3, 8), (99, 8), (100, 7)])
def test_a_false_positive_of_highest_score_is_scored_as_in_the_script(images, lower):
    people = crowd([BOX, (*SMALL[:3], 50.0)], *[[]] * (images - 1))
    detections = seen([(*FAR, 0.9), (*FAR, 0.8), (*BOX, 0.7)], *[[]] * (images - 1))
    assert rate(people, detections) == pytest.approx(0.5 ** (lower / 9))   # of 3: 1/2 seven times, 1, 1/2
    assert rate(people, detections, official_script=False) == pytest.approx(0.5 ** (1 / 9 if images == 3 else 7 / 9))
    detections[0].boxes[0, :2] = torch.tensor(BOX[:2])                     # a true positive: no lookup at -1
    assert rate(people, detections) == rate(people, detections, official_script=False) < 0.51
    assert rate(crowd([BOX]), seen([(*FAR, 0.9)])) == 1                    # nor is anybody found later


def test_in_a_draw_the_best_detection_is_the_best_of_those_drawn():
    people, detections = crowd([BOX], [BOX, FAR]), seen([(*BOX, 0.9)], [(5.0, 5, 41, 100, 0.8), (*BOX, 0.7)])
    matches = miss_rate.match(people, detections, REASONABLE)
    drawn = miss_rate.log_average(matches, torch.tensor([[0.0, 2.0], [1.0, 1.0]]))
    assert drawn.tolist() == pytest.approx([0.5 ** (8 / 9), (2 / 3) ** (7 / 9) * (1 / 3) ** (2 / 9)])


def test_greedy_matching():
    one, two = (100.0, 100.0, 40.0, 100.0), (110.0, 100.0, 40.0, 100.0)
    between, nearer = (105.0, 100.0, 40.0, 100.0), (107.0, 100.0, 40.0, 100.0)
    people = crowd([one, two])
    for first, second in ((one, True), (two, False)):     # two alike: the later is taken, so `two` is no longer free
        matches = miss_rate.match(people, seen([(*between, 0.9), (*first, 0.8), (*first, 0.7)]), REASONABLE)
        assert matches.right.tolist() == [True, True, False], second
    left = (80.0, 100.0, 40.0, 100.0)                      # overlaps `one` by 1/3, `left` by none of `two`
    assert miss_rate.match(people, seen([(*nearer, 0.9), (*left, 0.8)]), REASONABLE).right.tolist() == [True, False]
    near_one = (87.0, 100.0, 40.0, 100.0)                  # 27/53 of `one`, 17/63 of `two`
    for first, found in ((between, True), (nearer, True), (one, False)):
        matches = miss_rate.match(people, seen([(*first, 0.9), (*near_one, 0.8)]), REASONABLE)
        assert matches.right.tolist() == [True, found]     # found where the first took `two`: alike, or nearer


@pytest.mark.parametrize(("width", "right"), [(50.0, True), (49.9, False)])
def test_half_of_the_union_finds_a_person(width, right):
    people = crowd([(0.0, 0.0, 100.0, 100.0)])
    assert miss_rate.match(people, seen([(0.0, 0.0, width, 100.0, 1)]), REASONABLE).right.tolist() == [right]


def test_an_ignored_person_takes_any_number_of_detections_by_their_own_area():
    large = (100.0, 100.0, 300.0, 300.0, 1.0, 1.0)
    people = crowd([(*FAR, 1.0, 0.0), large])
    inside, half, less = (150.0, 150.0, 30.0, 60.0), (50.0, 150.0, 100.0, 60.0), (49.0, 150.0, 100.0, 60.0)
    matches = miss_rate.match(people, seen([(*inside, 0.9), (*inside, 0.8), (*half, 0.7), (*less, 0.6)]), REASONABLE)
    assert listed(matches) == [(0, 0.6, False)] and matches.people.tolist() == [1]


def test_a_regular_person_comes_before_an_ignored_one():
    person, around = (100.0, 100.0, 40.0, 100.0), (90.0, 90.0, 80.0, 120.0, 1.0, 1.0)
    moved = (105.0, 100.0, 40.0, 100.0)                    # 7/9 of the person's union, all of itself in the ignored
    for rows in ([person, around], [around, person]):
        matches = miss_rate.match(crowd(rows), seen([(*moved, 0.9), (*moved, 0.8)]), REASONABLE)
        assert listed(matches) == [(0, 0.9, True)]         # the second is ignored


@pytest.mark.parametrize(("name", "height", "visible", "regular"), [
    ("Reasonable", 50, 0.65, True), ("Reasonable", 49.9, 1, False), ("Reasonable", 400, 1, True),
    ("Reasonable", 60, 0.64, False), ("Small", 75, 0.65, True), ("Small", 75.1, 1, False), ("Small", 49.9, 1, False),
    ("Small", 60, 0.6, False), ("Heavy", 50, 0.2, True), ("Heavy", 50, 0.65, True), ("Heavy", 60, 0.66, False),
    ("Heavy", 60, 0.19, False), ("Heavy", 49, 0.5, False), ("All", 20, 0.2, True), ("All", 19.9, 1, False),
    ("All", 60, 0.19, False), ("All", 300, 1, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_who_is_evaluated(name, height, visible, regular, dtype):
    for unit in (1.0, 0.5):
        people = crowd([(10, 10, 20, height * unit, visible)], dtype=dtype)
        assert miss_rate.match(people, seen([]), SETUPS[name], unit=unit).people.tolist() == [int(regular)]
    people[..., 5] = 1
    assert miss_rate.match(people, seen([]), SETUPS[name], unit=0.5).people.tolist() == [0]


@pytest.mark.parametrize(("name", "height", "counts"), [
    ("Reasonable", 40, True), ("Reasonable", 39.9, False), ("Small", 40, True), ("Small", 93.7, True),
    ("Small", 93.75, False), ("All", 16, True), ("All", 15.9, False), ("Heavy", 5000, True)])
def test_which_detections_count_by_their_height(name, height, counts):
    for unit in (1.0, 0.5):
        detections = seen([(*FAR[:3], height * unit, 0.5)])
        assert len(miss_rate.match(crowd([]), detections, SETUPS[name], unit=unit).right) == counts


def test_only_the_thousand_best_of_an_image_count():
    people, low = crowd([BOX], [BOX]), (*FAR[:3], 10.0)    # low ones take their place among the thousand
    for others, found in ((999, [True, True]), (1000, [True])):
        detections = seen([(*BOX, 0.1)] + [(*low, 0.9)] * others, [(*BOX, 0.05)])
        assert miss_rate.match(people, detections, REASONABLE).right.tolist() == found


def test_boxes_without_area_overlap_nothing():
    people = crowd([BOX, (*FAR, 1.0, 1.0)])
    flat = [(110.0, 110.0, 0.0, 100.0, 0.9), (810.0, 510.0, 0.0, 80.0, 0.8), (110.0, 110.0, 40.0, 0.0, 0.7)]
    with np.errstate(all="raise"):
        matches = miss_rate.match(people, seen(flat), REASONABLE)
    assert listed(matches) == [(0, 0.9, False), (0, 0.8, False)]     # the third is left out for its height
    nothing = crowd([(110.0, 110.0, 0.0, 100.0)])                    # nor does a person without area
    assert miss_rate.match(nothing, seen([(110.0, 110.0, 0.0, 100.0, 0.9)]), REASONABLE).right.tolist() == [False]


def test_perfect_and_absent_detections():
    people, _ = street()
    perfect = [Detections(rows[~rows.isnan().all(1), :4], torch.rand(int((~rows.isnan().all(1)).sum())))
               for rows in people]
    nothing = [Detections(torch.zeros(0, 4), torch.zeros(0)) for _ in people]
    assert rate(people, perfect, ALL) == 0 and rate(people, nothing, ALL) == 1
    fractions = torch.rand(50, len(people), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert not miss_rate.log_average(miss_rate.match(people, perfect, ALL), fractions).any()   # whatever the rounding
    false, miss = miss_rate.miss_rate_curve(miss_rate.match(people, nothing, ALL))
    assert false.tolist() == [[0]] and miss.tolist() == [[1]]


def test_without_people_a_miss_rate_is_undefined():
    people, detections = crowd([SMALL], []), seen([(*SMALL, 0.9)], [(*BOX, 0.8)])
    for found in (detections, seen([], [])):
        matches = miss_rate.match(people, found, REASONABLE)
        assert miss_rate.log_average(matches).isnan().all() and miss_rate.miss_rate_curve(matches)[1].isnan().all()
    matches = miss_rate.match(crowd([BOX], []), detections, REASONABLE)
    drawn = miss_rate.log_average(matches, torch.tensor([[2.0, 0], [0, 2], [0, 0]]))
    assert drawn.isnan().tolist() == [False, True, True]


def test_order_does_not_matter():
    people, detections = street()
    draw = torch.Generator().manual_seed(1)
    shuffled = torch.randperm(len(people), generator=draw)
    rows = torch.randperm(people.shape[1], generator=draw)
    mixed = [Detections(*(part.flip(0) for part in detections[n])) for n in shuffled]
    for setup in SETUPS.values():
        value = rate(people, detections, setup)
        assert 0 < value < 1 and rate(people[shuffled][:, rows], mixed, setup) == value


def test_equal_scores_keep_the_order_of_images_and_of_detections():
    people = crowd([BOX], [BOX])
    found, lost = (*BOX, 0.5), (*FAR, 0.5)
    for rows, right in (([found, lost], [True, False]), ([lost, found], [False, True])):
        assert miss_rate.match(people, seen(rows, rows), REASONABLE).right.tolist() == right * 2


def test_an_ignored_person_whom_nobody_finds_changes_nothing():
    people, detections = street()
    more = people.clone()
    more[:, 4] = torch.tensor([5000.0, 5000, 41, 100, 1, 1])
    for setup in SETUPS.values():
        assert listed(miss_rate.match(more, detections, setup)) == listed(
            miss_rate.match(people, detections, setup)
        )
        assert rate(more, detections, setup) == rate(people, detections, setup)


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_pictures_of_another_size_have_the_same_miss_rate(factor):
    people, detections = street()
    scaled = people * torch.tensor([factor] * 4 + [1, 1])
    found = [Detections(boxes * factor, scores) for boxes, scores in detections]
    for setup in SETUPS.values():
        for region in ("", "centre"):
            size = (512, 1024), (int(512 * factor), int(1024 * factor))
            ours, theirs = (miss_rate.match(p, d, setup, unit=unit, region=region, size=s) for p, d, unit, s in
                            ((people, detections, 1.0, size[0]), (scaled, found, factor, size[1])))
            assert listed(ours) == listed(theirs) and torch.equal(ours.people, theirs.people)
    assert rate(scaled, found) != rate(people, detections)       # where the unit is forgotten


@pytest.mark.parametrize("pair", [("left", "right"), ("top", "bottom"), ("centre", "periphery")])
def test_two_regions_part_what_is_counted(pair):
    people, detections = street()
    for setup in SETUPS.values():
        whole = miss_rate.match(people, detections, setup)
        parts = [miss_rate.match(people, detections, setup, region=region, size=(512, 1024)) for region in pair]
        assert torch.equal(parts[0].people + parts[1].people, whole.people)
        assert sorted(listed(parts[0]) + listed(parts[1])) == sorted(listed(whole))
        assert min(part.people.sum() for part in parts) > 0
        assert min((~part.right).sum() for part in parts) > 0
        alone = miss_rate.match(people, detections, setup, size=(512, 1024))
        assert listed(alone) == listed(whole) and torch.equal(alone.people, whole.people)


def test_regions_by_pencil():
    # 512x1024: the halves meet at column 512 and row 256.  `middle` has its centre at 511, the detection of it at 513
    middle, found, twice = (491.0, 50.0, 40.0, 100.0), (493.0, 50.0, 40.0, 100.0), (494.0, 50.0, 40.0, 100.0)
    ignored, out = (300.0, 300.0, 40.0, 100.0, 1.0, 1.0), (1100.0, 400.0, 40.0, 100.0)
    people = crowd([middle, ignored])
    detections = seen([(*found, 0.9), (*twice, 0.8), (*ignored[:4], 0.7), (*out, 0.6)])
    kept = {region: miss_rate.match(people, detections, REASONABLE, region=region, size=(512, 1024))
            for region in canvas.REGIONS}
    assert {region: (int(m.people.sum()), m.score.tolist()) for region, m in kept.items()} == {
        "left": (1, [0.9]), "right": (0, [0.8, 0.6]),        # found goes with the person, false by its own centre
        "top": (1, [0.9, 0.8]), "bottom": (0, [0.6]), "centre": (1, [0.9, 0.8]), "periphery": (0, [0.6])}
    assert kept["left"].right.all() and not kept["right"].right.any()
    beyond = crowd([(-60.0, 470.0, 40.0, 100.0)])              # a centre off the picture belongs to the nearest zone
    at = {region: int(miss_rate.match(beyond, seen([]), REASONABLE, region=region, size=(512, 1024)).people)
          for region in canvas.REGIONS}
    assert [region for region, n in at.items() if n] == ["left", "bottom", "periphery"]


def test_weights_of_one_and_of_two_are_no_weights():
    people, detections = street()
    for setup in SETUPS.values():
        matches = miss_rate.match(people, detections, setup)
        value = miss_rate.log_average(matches)
        assert value.shape == (1,)
        for weight in (1.0, 2.0, 0.5):
            assert miss_rate.log_average(matches, torch.full((3, len(people)), weight)).tolist() == value.tolist() * 3


def test_a_weight_of_zero_leaves_an_image_out():
    people, detections = street(120)
    weights = (torch.arange(120) % 3 != 0).double()[None]
    kept = weights[0].nonzero().flatten()
    value = miss_rate.log_average(miss_rate.match(people, detections, ALL), weights, official_script=False).item()
    assert (
        value == pytest.approx(rate(people[kept], [detections[n] for n in kept], ALL, official_script=False))
        and 0 < value < 1
    )
    assert value != rate(people, detections, ALL, official_script=False)


def test_each_draw_of_a_bootstrap_is_scored_by_itself():
    people, detections = street()
    matches, weights = miss_rate.match(people, detections, ALL), metrics.bootstrap(100, 150)
    drawn = miss_rate.log_average(matches, weights)
    one = torch.cat([miss_rate.log_average(matches, row[None]) for row in weights])
    assert drawn.shape == (150,) and torch.equal(drawn, one)
    assert 0 < drawn.std() < 0.2 and abs(drawn.mean() - miss_rate.log_average(matches)) < 0.1
