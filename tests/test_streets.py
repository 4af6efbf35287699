"""Street scenes are reproducible from a seed, agree between sizes, and have correct labels and visible fractions.

Left differs from right and top from bottom, and colour alone does not determine the class of a pixel.
"""
import hashlib
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posenc_lib.data import street_objects, streets
from posenc_lib.data.street_objects import Canvas, Dice
from posenc_lib.data.streets import CLASSES, COLOURS, DRAWN, draw

ROAD, SKY, PERSON, RIDER, CAR = (CLASSES.index(k) for k in ("road", "sky", "person", "rider", "car"))


@cache
def scenes(first: int = 0, n: int = 60, rows: int = 64, cols: int = 128) -> tuple[streets.Scene, ...]:
    return tuple(draw(seed, rows, cols) for seed in range(first, first + n))


def same(a: streets.Scene, b: streets.Scene) -> bool:
    return np.array_equal(a.image, b.image) and np.array_equal(a.labels, b.labels) and a.people == b.people


def window(person: streets.Person) -> tuple[slice, slice]:
    left, top, width, height = person.box
    return slice(top, top + height), slice(left, left + width)


def lone(kind: str, paint, x: float, z: float, *more) -> streets.Scene:
    """A person in a street that is otherwise empty."""
    dice = Dice(0)
    canvas = Canvas(64, 128, dice)
    street_objects.Billboard(canvas, "sky", 0, 1).box(-999, 999, -99, 99, street_objects.WHITE)
    paint(canvas, dice, x - canvas.road - canvas.bend * z * z, z, *more)
    front = np.asarray(canvas.front)
    labels = np.array([CLASSES.index(k) for k in canvas.kinds], np.uint8)[front]     # as fine as the canvas
    assert set(np.unique(labels)) <= {SKY, CLASSES.index(kind), CLASSES.index("bicycle")}
    return streets.Scene(labels, labels, streets._find_people(canvas, front))


def test_a_seed_gives_bitwise_the_same_scene_whatever_was_drawn_before():
    first = draw(3), draw(4)
    np.random.random(5)
    assert same(draw(4), first[1]) and same(draw(3), first[0])
    assert not same(*first) and not np.array_equal(first[0].labels, first[1].labels)


@pytest.mark.parametrize("rows, cols, digest", [(64, 128, "e478b1cc2e53"), (65, 129, "d404764f702e")])
def test_scenes_are_bit_by_bit_those_of_the_records(rows, cols, digest):
    """A record names its images by their fingerprint, so a change of any pixel would orphan it."""
    state = hashlib.sha256()
    for scene in scenes(0, 60, rows, cols):
        state.update(scene.image.tobytes())
        state.update(scene.labels.tobytes())
        state.update(repr(scene.people).encode())
    assert state.hexdigest()[:12] == digest


@given(st.integers(0, 100_000), st.sampled_from([(16, 16), (32, 64), (64, 64), (65, 129), (48, 96), (30, 150)]))
@settings(max_examples=60, deadline=None)
def test_every_scene_is_complete_and_its_boxes_lie_inside(seed, size):
    scene = draw(seed, *size)
    assert scene.image.shape == (*size, 3) and scene.labels.shape == size
    assert scene.image.dtype == scene.labels.dtype == np.uint8
    assert {CLASSES[n] for n in np.unique(scene.labels)} <= set(DRAWN)
    for person in scene.people:
        left, top, width, height = person.box
        assert 0 <= left < left + width <= size[1] and 0 <= top < top + height <= size[0]
        assert person.kind in ("person", "rider") and 0 < person.visible <= 1


def test_there_is_a_colour_for_every_class():
    assert len(CLASSES) == len(COLOURS) == len(set(CLASSES)) == len(set(COLOURS)) == 19
    counts = np.array([np.isin(range(19), np.unique(scene.labels)) for scene in scenes()]).mean(0)
    assert {CLASSES[n] for n in np.flatnonzero(counts)} == set(DRAWN)
    assert (counts[counts > 0] > 0.25).all()               # each in many of the scenes
    assert 0.6 < np.mean([bool(scene.people) for scene in scenes()]) < 1


@pytest.mark.parametrize("seed", range(8))
def test_a_scene_at_two_sizes_is_the_same_scene(seed):
    coarse, fine = draw(seed), draw(seed, 128, 256)
    assert (fine.labels[::2, ::2] == coarse.labels).mean() > 0.93
    halved = fine.image.reshape(64, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(halved - coarse.image).mean() < 16
    for person in fine.people:
        if person.box[2] * person.box[3] * person.visible > 200:               # not lost at half the size
            assert any(a.kind == person.kind and np.abs(np.array(a.box) * 2 - person.box).max() <= 4
                       and abs(a.visible - person.visible) < 0.1 for a in coarse.people)


def test_a_square_image_is_the_middle_of_the_wide_one():
    agreement = [(draw(seed, 64, 64).labels == draw(seed).labels[:, 32:96]).mean() for seed in range(5)]
    assert min(agreement) > 0.999


def test_sky_is_above_and_road_below():
    labels = np.stack([scene.labels for scene in scenes()])
    fraction = np.stack([(labels == n).mean((0, 2)) for n in (SKY, ROAD)])        # of each row
    assert fraction[0, :8].min() > 0.2 and fraction[0, 34:].max() == 0
    assert fraction[1, 48:].min() > 0.5 and fraction[1, :24].max() == 0
    for scene in scenes():
        assert np.flatnonzero((scene.labels == SKY).any(1)).max() < np.flatnonzero((scene.labels == ROAD).any(1)).max()


def test_cars_show_red_lights_on_the_right_and_white_ones_on_the_left():
    red, white = np.zeros(2), np.zeros(2)
    for scene in scenes():
        r, g, b = np.moveaxis(scene.image.astype(int), 2, 0)
        car = scene.labels == CAR
        for side, half in enumerate((slice(0, 56), slice(72, None))):
            red[side] += (car & (r > 110) & (r > 2.5 * g) & (r > 2.5 * b))[:, half].sum()
            white[side] += (car & (np.minimum(r, np.minimum(g, b)) > 190))[:, half].sum()
    assert red[1] > 2 * red[0] and white[0] > white[1], (red, white)


def test_boxes_contain_the_pixels_of_people():
    for scene in scenes():
        inside = np.zeros(scene.labels.shape, bool)
        for person in scene.people:
            inside[window(person)] = True
            if person.visible * person.box[2] * person.box[3] > 20:
                assert (scene.labels[window(person)] == CLASSES.index(person.kind)).any()
        assert inside[np.isin(scene.labels, (PERSON, RIDER))].all()


@pytest.mark.parametrize("kind, paint, more", [("person", street_objects.person, (True,)),
                                               ("person", street_objects.person, (False,)),
                                               ("rider", street_objects.bicycle, (0.6, True))])
@pytest.mark.parametrize("x", np.linspace(-3, 3, 13))
def test_a_lone_person_is_fully_visible_and_its_box_is_tight(kind, paint, more, x):
    scene = lone(kind, paint, x, 9.0, *more)
    mask = scene.labels == CLASSES.index(kind)
    (person,) = scene.people
    assert person.kind == kind and person.visible == 1
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top, width, height = person.box
    assert (left, top) == (cols[0] // 2, rows[0] // 2)
    assert (left + width, top + height) == (cols[-1] // 2 + 1, rows[-1] // 2 + 1)


def test_the_edge_of_the_image_and_nearer_objects_hide_people():
    n_full = (lone("person", street_objects.person, 0.0, 9.0, False).labels == PERSON).sum()
    for x in np.linspace(4, 7, 13):                        # beyond the right edge of the image
        scene = lone("person", street_objects.person, x, 9.0, False)
        n_visible = (scene.labels == PERSON).sum()
        assert n_visible == 0 or abs(scene.people[0].visible - n_visible / n_full) < 0.03
        assert bool(n_visible) == bool(scene.people)

    def behind_a_car(canvas, dice, x, z):
        street_objects.person(canvas, dice, x, z, False)
        occluder = [(x - 2, 0, z - 1), (x, 0, z - 1), (x, 3, z - 1), (x - 2, 3, z - 1)]
        canvas.fill(occluder, "bicycle", street_objects.DARK)

    scene = lone("person", behind_a_car, 0.0, 9.0)
    assert 0.3 < scene.people[0].visible < 0.7
    assert abs(scene.people[0].visible - (scene.labels == PERSON).sum() / n_full) < 0.01


def test_visible_fractions_cover_the_range():
    visible = np.array([person.visible for scene in scenes() for person in scene.people])
    assert (visible == 1).mean() > 0.25 and (visible < 0.65).mean() > 0.15 and (visible < 0.35).mean() > 0.05
    assert max(len(scene.people) for scene in scenes()) >= 5


def test_people_are_painted_from_far_to_near():
    """The feet of nearer people are lower in the image."""
    for scene in scenes():
        feet = [p.box[1] + p.box[3] for p in scene.people if p.kind == "person" and p.box[1] + p.box[3] < 64]
        assert all(later >= before - 1 for before, later in pairwise(feet))


def test_walkers_are_mostly_on_sidewalks_and_riders_on_the_road():
    below = {"person": [], "rider": []}                    # the class below their feet
    for scene in scenes():
        for kind, (left, top, width, height), visible in ((p.kind, p.box, p.visible) for p in scene.people):
            if visible == 1 and top + height < 60:
                below[kind].append(CLASSES[scene.labels[top + height + 2 * (kind == "rider"), left + width // 2]])
    on = {kind: {k: labels.count(k) / len(labels) for k in set(labels)} for kind, labels in below.items()}
    assert on["person"]["sidewalk"] > 0.4 and on["rider"]["road"] > 0.6, on


def features(scene: streets.Scene) -> tuple[np.ndarray, np.ndarray]:
    return scene.image.reshape(-1, 3) / 16, scene.labels.ravel()


def test_colour_alone_does_not_determine_the_class():
    """The most frequent class of each of 16^3 colours is often wrong in other scenes; so is the nearest mean colour."""
    counts = np.zeros((16 ** 3, 19))
    sums, bins = np.zeros((19, 3)), (256, 16, 1)
    for scene in scenes():
        colour, label = features(scene)
        np.add.at(counts, (colour.astype(int) @ bins, label), 1)
        np.add.at(sums, label, colour)
    total = counts.sum(0)
    means = np.where(total[:, None] > 0, sums / np.maximum(total, 1)[:, None], 1e3)
    frequent, nearest = [], []
    for scene in scenes(1000, 20):
        colour, label = features(scene)
        frequent.append((counts.argmax(1)[colour.astype(int) @ bins] == label).mean())
        nearest.append((((colour[:, None] - means) ** 2).sum(2).argmin(1) == label).mean())
    assert np.mean(frequent) < 0.65 and np.mean(nearest) < 0.4


@pytest.mark.parametrize("rows, cols", [(8, 8), (15, 128), (64, 0), (-1, 64)])
def test_an_image_that_is_too_small_is_refused(rows, cols):
    with pytest.raises(ValueError) as error:
        draw(0, rows, cols)
    assert str(error.value) == (f"streets: {rows}x{cols} pixels are too few; give at least 16 rows and 16 columns")
