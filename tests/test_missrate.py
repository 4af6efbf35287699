"""Miss rates against the benchmark's own script, a plain loop, cases by pencil, and what may not change them."""
import json
from inspect import unwrap
from math import exp, inf, log, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posenc_lib import canvas, metrics, missrate
from posenc_lib.missrate import SETUPS, Detections, Matches

BOX = (100.0, 100.0, 41.0, 100.0)                # a person 100 high
SMALL = (400.0, 100.0, 16.0, 40.0)               # and one 40 high
FAR = (800.0, 500.0, 41.0, 100.0)                # where nobody is
ALL, REASONABLE = SETUPS["All"], SETUPS["Reasonable"]


def crowd(*images, dtype=torch.float32) -> torch.Tensor:
    """People of each image; a row may stop short of visible (1) and ignore (0)."""
    people = torch.full((len(images), max(map(len, images)), 6), nan, dtype=dtype)
    for n, rows in enumerate(images):
        for at, row in enumerate(rows):
            people[n, at] = torch.tensor([*row, *(1, 0)[len(row) - 4:]], dtype=dtype)
    return people


def seen(*images) -> list[Detections]:
    """Detections of each image, from rows of left, top, width, height, score."""
    tables = [torch.tensor(rows, dtype=torch.float64).reshape(-1, 5) for rows in images]
    return [Detections(table[:, :4], table[:, 4]) for table in tables]


def rate(people, detections, setup=REASONABLE, *, quirk=True, **options) -> float:
    return missrate.log_average(missrate.matched(people, detections, setup, **options), quirk=quirk).item()


def listed(matches: Matches) -> list[tuple]:
    return list(zip(matches.image.tolist(), matches.score.tolist(), matches.right.tolist(), strict=True))


def street(n: int = 100, seed: int = 0) -> tuple[torch.Tensor, list[Detections]]:
    """Pictures of 512x1024 with four people or nobody, most of them found, some twice, and many false positives."""
    draw = torch.Generator().manual_seed(seed)

    def boxes(count):
        height = 15 + 130 * torch.rand(count, generator=draw)
        corner = torch.rand(count, 2, generator=draw) * torch.tensor([1000.0, 450.0])
        return torch.cat([corner, torch.stack([0.41 * height, height], 1)], 1)

    people, detections = torch.full((n, 5, 6), nan), []
    for at in range(n):
        there = boxes(4 if at % 5 else 0)
        people[at, :len(there), :4] = there
        people[at, :len(there), 4] = torch.rand(len(there), generator=draw).sqrt()
        people[at, :len(there), 5] = (torch.rand(len(there), generator=draw) < 0.15).float()
        near = there + torch.randn(there.shape, generator=draw)
        found = torch.cat([near, near[:2] + 2, boxes(3)])
        detections.append(Detections(found, torch.rand(len(found), generator=draw)))
    return people, detections


@pytest.mark.parametrize("case", [1, 2, 3])
def test_miss_rates_are_the_benchmarks_own(case, data_root):
    file = data_root.parent / "peers" / "miss_rate" / f"case{case}.json"
    if not file.is_file():
        pytest.skip(f"peers' outputs: miss_rate/case{case}.json is not beside the data root")
    peer = json.loads(file.read_text())
    ours = {setup: missrate.miss_rate(peer["ground_truth"], peer["detections"], setup) for setup in SETUPS}
    assert {setup: round(value, 2) for setup, value in ours.items()} == peer["miss_rate_percent"]


@pytest.mark.parametrize("n", range(9))
def test_the_nine_points_are_rounded_as_the_scripts(n):
    people, detections = crowd([], [BOX, FAR], []), seen([(*FAR, 0.9)] * 2, [(*BOX, 0.8)], [])
    matches, point = missrate.matched(people, detections, REASONABLE), round(10 ** (n / 4 - 2), 4)
    for false, low in ((point - 1e-6, 9 - n), (point + 1e-6, 8 - n)):        # at so many points one is found, of two
        weights = torch.tensor([[false / 2, 0.1, 0.9 - false / 2]], dtype=torch.float64)
        assert missrate.log_average(matches, weights, quirk=False).item() == pytest.approx(0.5 ** (low / 9))


def test_the_miniature_of_the_docstring():
    people = crowd([BOX, SMALL])
    before = people.clone()
    detections = seen([(*BOX, 0.9), (*BOX, 0.8), (*SMALL, 0.7), (*SMALL, 0.6), (*FAR, 0.5)])
    matches = missrate.matched(people, detections, REASONABLE)
    assert listed(matches) == [(0, 0.9, True), (0, 0.8, False), (0, 0.5, False)] and matches.people.tolist() == [1]
    assert torch.equal(people, before)
    both = missrate.matched(people, detections, ALL)
    assert listed(both) == [(0, 0.9, True), (0, 0.8, False), (0, 0.7, True), (0, 0.6, False), (0, 0.5, False)]
    assert both.people.tolist() == [2]


def test_curve_and_log_average_by_pencil():
    people = crowd([BOX], [BOX], [], [BOX, FAR])     # four people in four images
    detections = seen([(*BOX, 0.9)], [(*FAR, 0.6), (*BOX, 0.5)], [(*FAR, 0.8), (*BOX, 0.1)], [(*BOX, 0.7)])
    matches = missrate.matched(people, detections, REASONABLE)
    assert matches.right.tolist() == [True, False, True, False, True, False] and matches.image[1] == 2
    false, miss = missrate.curve(matches)
    assert false.tolist() == [[0, 0, 0.25, 0.25, 0.5, 0.5, 0.75]]
    assert miss.tolist() == [[1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]]
    rates = [0.75] * 6 + [0.5] + [0.25] * 2          # up to .1778, at .3162, from .5623 on
    assert rate(people, detections) == pytest.approx(exp(sum(map(log, rates)) / 9))
    assert missrate.false_positives(matches, 0.6).tolist() == [0, 1, 1, 0]
    assert missrate.false_positives(matches, 0.0).tolist() == [0, 1, 2, 0]
    assert missrate.false_positives(matches, 0.61).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(("images", "lower"), [(3, 8), (99, 8), (100, 7)])
def test_a_false_best_detection_is_read_as_the_script_reads_it(images, lower):
    people = crowd([BOX, (*SMALL[:3], 50.0)], *[[]] * (images - 1))
    detections = seen([(*FAR, 0.9), (*FAR, 0.8), (*BOX, 0.7)], *[[]] * (images - 1))
    assert rate(people, detections) == pytest.approx(0.5 ** (lower / 9))   # of 3: 1/2 seven times, 1, 1/2
    assert rate(people, detections, quirk=False) == pytest.approx(0.5 ** (1 / 9 if images == 3 else 7 / 9))
    detections[0].boxes[0, :2] = torch.tensor(BOX[:2])                     # the best is right, nothing is read at -1
    assert rate(people, detections) == rate(people, detections, quirk=False) < 0.51
    assert rate(crowd([BOX]), seen([(*FAR, 0.9)])) == 1                    # nothing is found later either


def test_in_a_draw_the_best_detection_is_the_best_of_those_drawn():
    people, detections = crowd([BOX], [BOX, FAR]), seen([(*BOX, 0.9)], [(5.0, 5, 41, 100, 0.8), (*BOX, 0.7)])
    matches = missrate.matched(people, detections, REASONABLE)
    drawn = missrate.log_average(matches, torch.tensor([[0.0, 2.0], [1.0, 1.0]]))
    assert drawn.tolist() == pytest.approx([0.5 ** (8 / 9), (2 / 3) ** (7 / 9) * (1 / 3) ** (2 / 9)])


def test_the_greedy_choice():
    one, two = (100.0, 100.0, 40.0, 100.0), (110.0, 100.0, 40.0, 100.0)
    between, nearer = (105.0, 100.0, 40.0, 100.0), (107.0, 100.0, 40.0, 100.0)
    people = crowd([one, two])
    for first, second in ((one, True), (two, False)):     # two alike: the later is taken, so `two` is no longer free
        matches = missrate.matched(people, seen([(*between, 0.9), (*first, 0.8), (*first, 0.7)]), REASONABLE)
        assert matches.right.tolist() == [True, True, False], second
    left = (80.0, 100.0, 40.0, 100.0)                      # overlaps `one` by 1/3, `left` by none of `two`
    assert missrate.matched(people, seen([(*nearer, 0.9), (*left, 0.8)]), REASONABLE).right.tolist() == [True, False]
    near_one = (87.0, 100.0, 40.0, 100.0)                  # 27/53 of `one`, 17/63 of `two`
    for first, found in ((between, True), (nearer, True), (one, False)):
        matches = missrate.matched(people, seen([(*first, 0.9), (*near_one, 0.8)]), REASONABLE)
        assert matches.right.tolist() == [True, found]     # found where the first took `two`: alike, or nearer


@pytest.mark.parametrize(("width", "right"), [(50.0, True), (49.9, False)])
def test_half_of_the_union_finds_a_person(width, right):
    people = crowd([(0.0, 0.0, 100.0, 100.0)])
    assert missrate.matched(people, seen([(0.0, 0.0, width, 100.0, 1)]), REASONABLE).right.tolist() == [right]


def test_an_ignored_person_takes_any_number_of_detections_by_their_own_area():
    large = (100.0, 100.0, 300.0, 300.0, 1.0, 1.0)
    people = crowd([(*FAR, 1.0, 0.0), large])
    inside, half, less = (150.0, 150.0, 30.0, 60.0), (50.0, 150.0, 100.0, 60.0), (49.0, 150.0, 100.0, 60.0)
    matches = missrate.matched(people, seen([(*inside, 0.9), (*inside, 0.8), (*half, 0.7), (*less, 0.6)]), REASONABLE)
    assert listed(matches) == [(0, 0.6, False)] and matches.people.tolist() == [1]


def test_a_regular_person_comes_before_an_ignored_one():
    person, around = (100.0, 100.0, 40.0, 100.0), (90.0, 90.0, 80.0, 120.0, 1.0, 1.0)
    moved = (105.0, 100.0, 40.0, 100.0)                    # 7/9 of the person's union, all of itself in the ignored
    for rows in ([person, around], [around, person]):
        matches = missrate.matched(crowd(rows), seen([(*moved, 0.9), (*moved, 0.8)]), REASONABLE)
        assert listed(matches) == [(0, 0.9, True)]         # the second goes to the ignored one


@pytest.mark.parametrize(("name", "height", "visible", "regular"), [
    ("Reasonable", 50, 0.65, True), ("Reasonable", 49.9, 1, False), ("Reasonable", 400, 1, True),
    ("Reasonable", 60, 0.64, False), ("Small", 75, 0.65, True), ("Small", 75.1, 1, False), ("Small", 49.9, 1, False),
    ("Small", 60, 0.6, False), ("Heavy", 50, 0.2, True), ("Heavy", 50, 0.65, True), ("Heavy", 60, 0.66, False),
    ("Heavy", 60, 0.19, False), ("Heavy", 49, 0.5, False), ("All", 20, 0.2, True), ("All", 19.9, 1, False),
    ("All", 60, 0.19, False), ("All", 300, 1, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_who_is_looked_for(name, height, visible, regular, dtype):
    for unit in (1.0, 0.5):
        people = crowd([(10, 10, 20, height * unit, visible)], dtype=dtype)
        assert missrate.matched(people, seen([]), SETUPS[name], unit=unit).people.tolist() == [int(regular)]
    people[..., 5] = 1
    assert missrate.matched(people, seen([]), SETUPS[name], unit=0.5).people.tolist() == [0]


@pytest.mark.parametrize(("name", "height", "counts"), [
    ("Reasonable", 40, True), ("Reasonable", 39.9, False), ("Small", 40, True), ("Small", 93.7, True),
    ("Small", 93.75, False), ("All", 16, True), ("All", 15.9, False), ("Heavy", 5000, True)])
def test_which_detections_count_by_their_height(name, height, counts):
    for unit in (1.0, 0.5):
        detections = seen([(*FAR[:3], height * unit, 0.5)])
        assert len(missrate.matched(crowd([]), detections, SETUPS[name], unit=unit).right) == counts


def test_only_the_thousand_best_of_an_image_are_looked_at():
    people, low = crowd([BOX], [BOX]), (*FAR[:3], 10.0)    # those too low count among the thousand
    for others, found in ((999, [True, True]), (1000, [True])):
        detections = seen([(*BOX, 0.1)] + [(*low, 0.9)] * others, [(*BOX, 0.05)])
        assert missrate.matched(people, detections, REASONABLE).right.tolist() == found


def test_boxes_without_area_overlap_nothing():
    people = crowd([BOX, (*FAR, 1.0, 1.0)])
    flat = [(110.0, 110.0, 0.0, 100.0, 0.9), (810.0, 510.0, 0.0, 80.0, 0.8), (110.0, 110.0, 40.0, 0.0, 0.7)]
    with np.errstate(all="raise"):
        matches = missrate.matched(people, seen(flat), REASONABLE)
    assert listed(matches) == [(0, 0.9, False), (0, 0.8, False)]     # the third is left out for its height
    nothing = crowd([(110.0, 110.0, 0.0, 100.0)])                    # nor does a person without area
    assert missrate.matched(nothing, seen([(110.0, 110.0, 0.0, 100.0, 0.9)]), REASONABLE).right.tolist() == [False]


def test_perfect_and_absent_detections():
    people, _ = street()
    perfect = [Detections(rows[~rows.isnan().all(1), :4], torch.rand(int((~rows.isnan().all(1)).sum())))
               for rows in people]
    nothing = [Detections(torch.zeros(0, 4), torch.zeros(0)) for _ in people]
    assert rate(people, perfect, ALL) == 0 and rate(people, nothing, ALL) == 1
    fractions = torch.rand(50, len(people), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert not missrate.log_average(missrate.matched(people, perfect, ALL), fractions).any()   # whatever the rounding
    false, miss = missrate.curve(missrate.matched(people, nothing, ALL))
    assert false.tolist() == [[0]] and miss.tolist() == [[1]]


def test_without_people_a_miss_rate_is_undefined():
    people, detections = crowd([SMALL], []), seen([(*SMALL, 0.9)], [(*BOX, 0.8)])
    for found in (detections, seen([], [])):
        matches = missrate.matched(people, found, REASONABLE)
        assert missrate.log_average(matches).isnan().all() and missrate.curve(matches)[1].isnan().all()
    matches = missrate.matched(crowd([BOX], []), detections, REASONABLE)
    drawn = missrate.log_average(matches, torch.tensor([[2.0, 0], [0, 2], [0, 0]]))
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
        assert missrate.matched(people, seen(rows, rows), REASONABLE).right.tolist() == right * 2


def test_an_ignored_person_whom_nobody_finds_changes_nothing():
    people, detections = street()
    more = people.clone()
    more[:, 4] = torch.tensor([5000.0, 5000, 41, 100, 1, 1])
    for setup in SETUPS.values():
        assert listed(missrate.matched(more, detections, setup)) == listed(missrate.matched(people, detections, setup))
        assert rate(more, detections, setup) == rate(people, detections, setup)


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_pictures_of_another_size_have_the_same_miss_rate(factor):
    people, detections = street()
    scaled = people * torch.tensor([factor] * 4 + [1, 1])
    found = [Detections(boxes * factor, scores) for boxes, scores in detections]
    for setup in SETUPS.values():
        for region in ("", "centre"):
            size = (512, 1024), (int(512 * factor), int(1024 * factor))
            ours, theirs = (missrate.matched(p, d, setup, unit=unit, region=region, size=s) for p, d, unit, s in
                            ((people, detections, 1.0, size[0]), (scaled, found, factor, size[1])))
            assert listed(ours) == listed(theirs) and torch.equal(ours.people, theirs.people)
    assert rate(scaled, found) != rate(people, detections)       # where the unit is forgotten


@pytest.mark.parametrize("pair", [("left", "right"), ("top", "bottom"), ("centre", "periphery")])
def test_two_regions_part_what_is_counted(pair):
    people, detections = street()
    for setup in SETUPS.values():
        whole = missrate.matched(people, detections, setup)
        parts = [missrate.matched(people, detections, setup, region=region, size=(512, 1024)) for region in pair]
        assert torch.equal(parts[0].people + parts[1].people, whole.people)
        assert sorted(listed(parts[0]) + listed(parts[1])) == sorted(listed(whole))
        assert min(part.people.sum() for part in parts) > 0
        assert min((~part.right).sum() for part in parts) > 0
        alone = missrate.matched(people, detections, setup, size=(512, 1024))
        assert listed(alone) == listed(whole) and torch.equal(alone.people, whole.people)


def test_regions_by_pencil():
    # 512x1024: the halves meet at column 512 and row 256.  `middle` has its centre at 511, the detection of it at 513
    middle, found, twice = (491.0, 50.0, 40.0, 100.0), (493.0, 50.0, 40.0, 100.0), (494.0, 50.0, 40.0, 100.0)
    ignored, out = (300.0, 300.0, 40.0, 100.0, 1.0, 1.0), (1100.0, 400.0, 40.0, 100.0)
    people = crowd([middle, ignored])
    detections = seen([(*found, 0.9), (*twice, 0.8), (*ignored[:4], 0.7), (*out, 0.6)])
    kept = {region: missrate.matched(people, detections, REASONABLE, region=region, size=(512, 1024))
            for region in canvas.REGIONS}
    assert {region: (int(m.people.sum()), m.score.tolist()) for region, m in kept.items()} == {
        "left": (1, [0.9]), "right": (0, [0.8, 0.6]),        # found goes with the person, false by its own centre
        "top": (1, [0.9, 0.8]), "bottom": (0, [0.6]), "centre": (1, [0.9, 0.8]), "periphery": (0, [0.6])}
    assert kept["left"].right.all() and not kept["right"].right.any()
    beyond = crowd([(-60.0, 470.0, 40.0, 100.0)])              # a centre off the picture belongs to the nearest zone
    at = {region: int(missrate.matched(beyond, seen([]), REASONABLE, region=region, size=(512, 1024)).people)
          for region in canvas.REGIONS}
    assert [region for region, n in at.items() if n] == ["left", "bottom", "periphery"]


def test_weights_of_one_and_of_two_are_no_weights():
    people, detections = street()
    for setup in SETUPS.values():
        matches = missrate.matched(people, detections, setup)
        value = missrate.log_average(matches)
        assert value.shape == (1,)
        for weight in (1.0, 2.0, 0.5):
            assert missrate.log_average(matches, torch.full((3, len(people)), weight)).tolist() == value.tolist() * 3


def test_a_weight_of_zero_leaves_an_image_out():
    people, detections = street(120)
    weights = (torch.arange(120) % 3 != 0).double()[None]
    kept = weights[0].nonzero().flatten()
    value = missrate.log_average(missrate.matched(people, detections, ALL), weights, quirk=False).item()
    assert value == pytest.approx(rate(people[kept], [detections[n] for n in kept], ALL, quirk=False)) and 0 < value < 1
    assert value != rate(people, detections, ALL, quirk=False)


def test_each_draw_of_a_bootstrap_is_scored_by_itself():
    people, detections = street()
    matches, weights = missrate.matched(people, detections, ALL), metrics.bootstrap(100, 150)
    drawn = missrate.log_average(matches, weights)
    one = torch.cat([missrate.log_average(matches, row[None]) for row in weights])
    assert drawn.shape == (150,) and torch.equal(drawn, one)
    assert 0 < drawn.std() < 0.2 and abs(drawn.mean() - missrate.log_average(matches)) < 0.1


def overlap(one, other, by_first: bool) -> float:
    sides = [min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k]) for k in (0, 1)]
    if min(sides) <= 0:
        return 0.0
    shared = sides[0] * sides[1]
    return shared / (one[2] * one[3] if by_first else one[2] * one[3] + other[2] * other[3] - shared)


def by_plain_loops(pictures, setup, quirk=True) -> float:
    """The miss rate of [(people, detections)], rows as of `crowd` and `seen`, the way the rules are told."""
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
    for point in missrate.FPPI:
        at = sum(count / len(pictures) <= point for count in false) - 1
        rates.append(1 - recalls[at] if recalls and (quirk or at >= 0) else 1.0)
    return exp(sum(map(log, rates)) / 9) if min(rates) else 0.0


@st.composite
def scenes(draw):
    """A few pictures with people close to each other, and detections of them, of one another's, and of nobody."""
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
@settings(max_examples=200, deadline=None)
def test_miss_rates_are_those_of_plain_loops(case):
    pictures, setup = case
    people, detections = crowd(*(p for p, _ in pictures)), seen(*(d for _, d in pictures))
    for quirk in (True, False):
        assert rate(people, detections, setup, quirk=quirk) == pytest.approx(
            by_plain_loops(pictures, setup, quirk), nan_ok=True)


@given(scenes(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_draw_is_the_set_in_which_images_are_repeated(case, data):
    pictures, setup = case
    count, n = 0, len(pictures)
    for _, detections in pictures:                             # no two scores alike
        for at, row in enumerate(detections):
            detections[at], count = (*row[:4], row[4] + count / 1000), count + 1
    drawn = sorted(data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n)))
    weights = torch.tensor(drawn).bincount(minlength=n).float()[None]
    matches = missrate.matched(crowd(*(p for p, _ in pictures)), seen(*(d for _, d in pictures)), setup)
    for quirk in (True, False):
        assert missrate.log_average(matches, weights, quirk=quirk).item() == pytest.approx(
            by_plain_loops([pictures[k] for k in drawn], setup, quirk), nan_ok=True)


def test_average_precision_by_pencil(capsys):
    people = crowd([BOX, (*SMALL, 0.1, 0.0)], [(*FAR, 1.0, 1.0)])    # the small and hidden one counts, the last not
    detections = seen([(*BOX, 0.9), (*FAR, 0.8), (*SMALL, 0.7)], [(*FAR, 0.95), (*FAR, 0.85)])
    value = missrate.average_precision(people, detections)           # precision 1 at 51 recalls of 101, then 2/3
    assert type(value) is float and value == pytest.approx((51 + 50 * 2 / 3) / 101)
    people[1, 0, 5] = 0                                              # .95 right, .9 right, .85 and .8 false, .7 right
    assert missrate.average_precision(people, detections) == pytest.approx((67 + 34 * 3 / 5) / 101)
    for height, expected in ((55.0, 1), (45.0, 0)):                  # their share of the union is .55 and .45
        part = seen([(*BOX[:3], height, 0.9)], [])
        assert missrate.average_precision(crowd([BOX], []), part) == pytest.approx(expected)
    assert missrate.average_precision(crowd([BOX], []), seen([], [])) == 0
    assert capsys.readouterr().out == ""


def test_average_precision_looks_at_a_hundred_detections_of_an_image(recwarn):
    for others, expected in ((99, 0.01), (100, 0)):
        value = missrate.average_precision(crowd([BOX]), seen([(*BOX, 0.1)] + [(*FAR, 0.9)] * others))
        assert value == pytest.approx(expected)
    assert not [warning for warning in recwarn if "detection" in str(warning.message)]


def test_average_precision_without_people_is_undefined():
    for people in (crowd([], []), crowd([(*BOX, 1.0, 1.0)], [])):
        assert str(missrate.average_precision(people, seen([(*FAR, 0.9)], []))) == "nan"


def files(**changes) -> tuple[dict, list]:
    """Two images in the benchmark's form, in which one of two people is found."""
    truth = {"images": [{"id": 9}, {"id": 4}], "annotations": [
        {"image_id": 9, "bbox": list(BOX)}, {"image_id": 4, "bbox": list(FAR), "height": 100, "vis_ratio": 0.7}]}
    return {**truth, **changes}, [{"image_id": 9, "bbox": list(BOX), "score": 0.9}]


def test_what_the_benchmarks_files_may_leave_out():
    truth, detections = files()
    assert missrate.miss_rate(truth, detections, "Reasonable") == pytest.approx(50)
    assert missrate.miss_rate({**truth, "images": truth["images"][:1], "annotations": truth["annotations"][:1]},
                              detections, "Reasonable") == 0
    seen_less = [truth["annotations"][0], {**truth["annotations"][1], "vis_ratio": 0.5}]
    assert missrate.miss_rate({**truth, "annotations": seen_less}, detections, "Reasonable") == 0
    assert missrate.miss_rate({**truth, "annotations": seen_less}, detections, "Heavy") == 100
    for keys, expected in (({"ignore": 1}, 0), ({"iscrowd": 1}, 0), ({"ignore": 0, "iscrowd": 1}, 50),
                           ({"category_id": 2}, 0), ({"category_id": 1}, 50)):
        rows = [truth["annotations"][0], {**truth["annotations"][1], **keys}]
        assert missrate.miss_rate({**truth, "annotations": rows}, detections, "Reasonable") == pytest.approx(expected)
    for category, expected in ((1, 50), (2, 100)):
        assert missrate.miss_rate(truth, [{**detections[0], "category_id": category}], "Reasonable") == pytest.approx(
            expected)
    assert missrate.miss_rate(truth, [], "All") == 100


def test_equal_scores_of_a_file_go_by_image_number():
    truth, (right,) = files()
    false = {"image_id": 4, "bbox": [1500, 100, 41, 100], "score": 0.9}      # two before the right one, of image 9
    expected = 100 * 0.5 ** (8 / 9)                                           # at .5623 nobody is found yet
    assert missrate.miss_rate(truth, [right, false, false], "Reasonable") == pytest.approx(expected)


def without(row: dict, key: str) -> dict:
    return {name: value for name, value in row.items() if name != key}


def test_files_that_cannot_be_scored():
    truth, found = files()
    rows, d = truth["annotations"], found[0]
    for given_, detections, setup, sentence in (
            (truth, found, "Easy", "setup: 'Easy' was asked for, but there are only 'Reasonable', 'Small', 'Heavy', "
                                   "'All'"),
            ({"annotations": []}, found, "All", "miss_rate: the ground truth has no images; it needs images, "
                                                "annotations"),
            ({}, found, "All", "miss_rate: the ground truth has no images and no annotations; it needs images, "
                               "annotations"),
            (files(images=[])[0], found, "All", "miss_rate: the ground truth has no image; give those that the "
                                                "detector has seen"),
            (files(images=[{}])[0], found, "All", "miss_rate: an image has no id; it needs id"),
            (files(annotations=[rows[0], without(rows[1], "bbox")])[0], found, "All",
             "miss_rate: annotation 1 has no bbox; it needs image_id, bbox"),
            (truth, [without(d, "score")], "All",
             "miss_rate: detection 0 has no score; it needs image_id, bbox, score"),
            (truth, [d, {**d, "image_id": 7}], "All",
             "miss_rate: detection 1 is of image 7, which the ground truth does not have; its 2 images go from 4 to 9"),
            (files(annotations=[{**rows[0], "image_id": "x"}])[0], found, "All", "miss_rate: annotation 0 is of image "
             "'x', which the ground truth does not have; its 2 images go from 4 to 9"),
            (truth, [{**d, "height": 50}], "All", "miss_rate: detection 0 has height 50 and a box 100.0 high; give the "
                                                  "same number twice, or only the box"),
            (files(annotations=[])[0], found, "All", "miss_rate: none of the 0 people is one that All looks for; take "
                                                     "another set-up or more images"),
            (truth, found, "Small", "miss_rate: none of the 2 people is one that Small looks for; take another set-up "
                                    "or more images")):
        with pytest.raises(ValueError) as error:
            missrate.miss_rate(given_, detections, setup)
        assert str(error.value) == sentence


@pytest.mark.parametrize("score", [missrate.average_precision, lambda p, d: missrate.matched(p, d, ALL)],
                         ids=["average_precision", "matched"])
def test_what_cannot_be_scored(score):
    people, good = crowd([BOX], [BOX]), (*BOX, 0.5)
    found = seen([], [good])
    end = "; give n finite scores and (n, 4) boxes of left, top, width, height"
    side = "missrate: the detections of image 1 have a box with a negative side or a value that is not finite" + end
    person = ("missrate: image 1 has a person with a negative side or a value that is not finite; only a row of "
              "nothing but nan is nobody")
    for p, d, sentence in (
            (people, found[:1], "missrate: there are 2 images and detections of 1; give one `Detections` for each of "
                                "at least one image"),
            (people[:0], [], "missrate: there are 0 images and detections of 0; give one `Detections` for each of at "
                             "least one image"),
            *((people, seen([], [good, (*BOX, bad)]), "missrate: the detections of image 1 have a score that is not "
               "finite" + end) for bad in (nan, inf, -inf)),
            *((people, seen([], [good, (*row, 0.5)]), side) for row in (
                (1, 1, -1, 5), (1, 1, 5, -1), (1, 1, nan, 5), (nan, 1, 5, 5), (1, 1, 5, inf))),
            (people, [found[0], Detections(torch.ones(2, 4), torch.ones(3))], "missrate: the detections of image 1 "
             "have 3 scores for boxes of shape (2, 4)" + end),
            *((crowd([BOX], [row]), found, person) for row in (
                (1, 1, -1, 5), (1, 1, 5, -1), (1, nan, 5, 5), (1, 1, inf, 5), (1, 1, 5, 5, nan)))):
        with pytest.raises(ValueError) as error:
            score(p, d)
        assert str(error.value) == sentence


def test_regions_units_and_weights_that_do_not_fit():
    people, found = crowd([BOX]), seen([(*BOX, 0.5)])
    for options, sentence in (
            ({"region": "middle", "size": (9, 9)}, "region: 'middle' was asked for, but there are only 'left', "
             "'right', 'top', 'bottom', 'centre', 'periphery'"),
            ({"region": "left"}, "matched: region 'left' was asked for without a size; give the pictures' (rows, "
                                 "cols)"),
            *(({"unit": unit}, f"matched: unit is {unit}; give the positive number of pixels to one of the benchmark's")
              for unit in (0.0, -1.0, nan, inf))):
        with pytest.raises(ValueError) as error:
            missrate.matched(people, found, ALL, **options)
        assert str(error.value) == sentence
    matches = missrate.matched(people, found, ALL)
    for weights in (torch.ones(2, 3), torch.tensor([[-1.0]]), torch.tensor([[nan]]), torch.tensor([[inf]]),
                    torch.ones(1)):
        with pytest.raises(ValueError) as error:
            unwrap(missrate.curve)(matches, weights)       # without the tests' own shape check
        assert str(error.value) == (f"curve: weights are {tuple(weights.shape)} and 1 images were matched; give "
                                    "(draw, 1) numbers that are finite and not negative")


def test_nobody_missed_can_count_as_half_a_person():
    found = missrate.matched(PEOPLE_OF_TWO, [ON_BOTH], ALL)
    assert missrate.log_average(found).item() == 0                       # by the script
    assert missrate.log_average(found, least=0.5).item() == pytest.approx(0.25)      # half of two people
    twice = missrate.log_average(found, torch.tensor([[2.0], [1.0]]), least=0.5)
    assert twice.tolist() == pytest.approx([0.125, 0.25])                # half of four
    none = missrate.matched(PEOPLE_OF_TWO, [missrate.Detections(torch.zeros(0, 4), torch.zeros(0))], ALL)
    assert missrate.log_average(none, least=0.5).item() == 1             # what is missed stays as it is
    one = missrate.matched(PEOPLE_OF_TWO, [missrate.Detections(ON_BOTH.boxes[:1], ON_BOTH.scores[:1])], ALL)
    assert missrate.log_average(one, least=0.5).item() == missrate.log_average(one).item() == pytest.approx(0.5)


PEOPLE_OF_TWO = torch.tensor([[[10.0, 10, 40, 100, 1, 0], [100, 10, 40, 100, 1, 0]]])
ON_BOTH = missrate.Detections(PEOPLE_OF_TWO[0, :, :4], torch.tensor([0.9, 0.8]))
