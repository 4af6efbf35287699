"""Street scenes drawn from a seed: an image, its label map, and the people in it with their visible fractions.

They replace Cityscapes and CityPersons where these are not available.  A scene is laid out in metres in front of a
camera, and painted from far to near, so that nearer objects occlude farther ones.  Traffic drives on the right.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from typing import NamedTuple, no_type_check

import numpy as np
from PIL import Image, ImageDraw

from posenc_lib.data.street_objects import (
    END,
    LEAVES,
    WHITE,
    Billboard,
    Canvas,
    Colour,
    Dice,
    Side,
    backdrop,
    bicycle,
    building,
    car,
    lamp,
    person,
    sign,
    strip,
    times,
    tree,
)

CLASSES = ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
           "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
COLOURS = ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
           (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
           (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32))   # as in Cityscapes
DRAWN = ("road", "sidewalk", "building", "pole", "traffic sign", "vegetation", "terrain", "sky", "person", "rider",
         "car", "bicycle")   # the classes that occur in scenes
MIN_SIDE = 16                # rows or columns


class Weather(NamedTuple):
    """Colours of the sky at the zenith and at the horizon, the colour of the light, and the strength of the sun."""
    zenith: Colour
    horizon: Colour
    light: Colour
    sun: float


WEATHERS = (Weather((96, 142, 204), (196, 212, 228), (1.0, 0.98, 0.93), 1.0),
            Weather((150, 178, 210), (214, 220, 224), (1.0, 0.97, 0.92), 0.8),
            Weather((192, 194, 198), (214, 214, 212), (0.95, 0.97, 1.0), 0.0),
            Weather((150, 154, 160), (186, 188, 190), (0.9, 0.92, 0.96), 0.0),
            Weather((136, 138, 164), (226, 194, 164), (1.0, 0.91, 0.81), 0.6))


@dataclass(frozen=True)
class Person:
    """A person in a scene.

    kind     "person" or "rider"; a rider does not include the bicycle
    box      (left, top, width, height) in whole pixels of the full body with hidden parts, clipped to the image
    visible  fraction of the silhouette, 0..1, that neither a nearer object nor the edge of the image hides
    """
    kind: str
    box: tuple[int, int, int, int]
    visible: float


@dataclass(frozen=True)
class Scene:
    """An image with its annotations.

    image   uint8 (row, col, rgb)
    labels  uint8 (row, col), indices into `CLASSES`
    people  those who are at least partly visible, from far to near
    """
    image: np.ndarray
    labels: np.ndarray
    people: tuple[Person, ...]


def draw(seed: int, rows: int = 64, cols: int = 128) -> Scene:
    """Draw the scene of a seed; every call gives the same bits.

    The same seed at another size is the same scene at another resolution; except for noise, all is laid out in metres.
    An image less than twice as wide as high shows less of both sides.  ValueError below 16 rows or columns.
    """
    if min(rows, cols) < MIN_SIDE:
        raise ValueError(f"streets: {rows}x{cols} pixels are too few; give at least {MIN_SIDE} rows and {MIN_SIDE} "
                         "columns")
    dice = Dice(seed)
    weather = dice.pick(WEATHERS)
    sun = weather.sun * dice.pick((-1, 1))   # positive if the light comes from the right
    canvas = Canvas(rows, cols, dice)
    sides = Side(dice, -1, sun), Side(dice, 1, sun)
    Billboard(canvas, "sky", 0, 1).box(-999, 999, -99, 99, WHITE)
    _draw_ground(canvas, dice, sides)
    backdrop(canvas, dice)
    for side in sides:
        _draw_frontage(canvas, dice, side)
    _draw_traffic(canvas, dice, sides, sun)
    front = np.asarray(canvas.front)
    class_of_polygon = np.array([CLASSES.index(kind) for kind in canvas.kinds], np.uint8)
    labels = class_of_polygon[front[::2, ::2]]
    return Scene(_render(canvas, dice, weather, front), labels, _find_people(canvas, front))


def _draw_ground(canvas: Canvas, dice: Dice, sides: Sequence[Side]):
    """Draw the road with its markings and sometimes a crossing, sidewalks, and grass or paving beyond them."""
    grey = dice.between(76, 150)
    asphalt = dice.near(((grey, grey, grey + 2),), 5)
    paving = dice.near(((grey + 14, grey + 10, grey + 4),), 30)
    grass = dice.near(LEAVES)
    marking = times(asphalt, dice.between(1.35, 1.8))
    is_paved = dice.chance(0.3)
    for side in sides:
        beyond = ("sidewalk", paving) if is_paved and not side.park else ("terrain", grass)
        strips = (
            (side.line, 300, *beyond),
            (side.walk, side.line, "sidewalk", paving),
            (side.kerb + 0.2, side.walk, "terrain", grass),
            (0, side.kerb, "road", asphalt),
            (side.kerb, side.kerb + 0.22, "sidewalk", times(paving, 1.15)),
        )
        for inner, outer, kind, colour in strips:
            if outer > inner:
                grain = 0.14 if kind == "terrain" else 0.06
                canvas.fill(strip(side.sign * inner, side.sign * outer), kind, colour, grain)
        if dice.chance(0.3):
            edge_line = strip(side.sign * (side.lane - 0.1), side.sign * (side.lane + 0.05))
            canvas.fill(edge_line, "road", marking)
    first_dash = dice.between(3, 9)
    crossing = dice.between(6, 15)
    if dice.chance(0.75):
        for n in range(6):
            near = first_dash + 6 * n
            canvas.fill(strip(-0.09, 0.09, near, near + 3), "road", marking)
    if dice.chance(0.25):
        left, right = sides
        for n in range(int(left.kerb + right.kerb - 0.6)):
            x = n + 0.6 - left.kerb
            canvas.fill(strip(x, x + 0.5, crossing, crossing + 3), "road", marking)


def _draw_frontage(canvas: Canvas, dice: Dice, side: Side):
    """Draw what lines a side of the street, from far to near: buildings and gaps with trees, or a park."""
    far = END
    while far > 3:
        is_gap = side.park or dice.chance(0.15)
        near = far - (dice.between(6, 9) if is_gap else dice.between(7, 18))
        if is_gap:
            for n in range(2):
                x = side.sign * (side.line + dice.between(1.5, 6))
                z = max(far - (far - near) * n / 2, 5.0)
                tree(canvas, dice, x, z)
        else:
            building(canvas, dice, side, max(near, 1.5), far)
            shadow_end = side.line - 6 * max(side.sun, 0)
            canvas.shadow(strip(side.sign * side.line, side.sign * shadow_end, max(near, 1.2), far), 0.8)
        far = near


class _Placed(NamedTuple):
    """An object in the street: its depth in metres, the function that paints it, its x, and further arguments."""
    z: float
    paint: Callable
    x: float
    arguments: tuple


class _Row(NamedTuple):
    """Objects in a row along the street, at distance x from its middle and at depths from `first` to `last`.

    chance             probability of an object at each of the places
    min_gap, max_gap   metres between places
    """
    paint: Callable
    x: float
    first: float
    last: float
    chance: float
    min_gap: float
    max_gap: float
    arguments: tuple = ()


@no_type_check
def _draw_traffic(canvas: Canvas, dice: Dice, sides: Sequence[Side], sun: float):
    """Draw all that stands and moves in the street: lay it out first, then paint it from far to near."""
    placed: list[_Placed] = []
    for side in sides:
        _place_rows(placed, canvas, dice, side, sun)
    n_groups = int(dice.between(1, 5))
    for _ in range(n_groups if dice.chance(0.85) else 0):
        _place_pedestrians(placed, canvas, dice, dice.pick(sides))
    for _ in range(int(dice.between(0, 3))):
        _place_rider(placed, canvas, dice, dice.pick(sides))
    for _ in range(int(dice.between(0, 2.3))):
        side = dice.pick(sides)
        x = side.sign * (side.walk + 0.5)   # a bicycle parked at the kerb
        z = canvas.nearest(x) + dice.between(0.5, 5)
        _place(placed, bicycle, x, z, dice.between(0.5, 1))
    for z, paint, x, arguments in sorted(placed, key=lambda one: -one.z):
        paint(canvas, dice, x, z, *arguments)


def _place(placed: list, paint: Callable, x: float, z: float, *arguments):
    """Add an object unless a car is in its place."""
    in_a_car = any(other.paint is car and abs(x - other.x) < 1.6 and z - 5.5 < other.z < z + 1.2 for other in placed)
    if paint is car or not in_a_car:
        placed.append(_Placed(z, paint, x, arguments))


def _place_rows(placed: list, canvas: Canvas, dice: Dice, side: Side, sun: float):
    """Place parked and moving cars, lamps, signs and trees."""
    has_parking = side.kerb - side.lane > 1
    parked = dice.between(0.1, 0.7)
    rows = (
        _Row(car, side.kerb - 1, 6, 26 if has_parking else 0, parked, 5.2, 7.5, (sun,)),
        _Row(car, side.lane / 2, 8, 30, 0.5, 8, 14, (sun,)),
        _Row(lamp, side.kerb + 0.45, 0, 15, 0.8, 6, 12),
        _Row(sign, side.kerb + 0.45 + 0.2, 0, 13, 0.65, 6, 12),
        _Row(tree, side.kerb + 0.45 + 0.4, 0, 26, 0.35, 8, 14),
    )
    for row in rows:
        x = side.sign * row.x
        z = max(canvas.nearest(x), row.first) + dice.between(0.2, 5)
        while z < row.last:
            if dice.chance(row.chance):
                _place(placed, row.paint, x, z, *row.arguments)
            z += dice.between(row.min_gap, row.max_gap)


def _place_pedestrians(placed: list, canvas: Canvas, dice: Dice, side: Side):
    """Place one or two pedestrians on the sidewalk, or crossing the road."""
    crosses = dice.chance(0.28)
    x = dice.between(-3, 3) if crosses else side.sign * (side.walk + dice.between(0.3, 2.0))
    z = max(canvas.nearest(x) + 0.3, 5) + 6 * dice.between(0, 1) ** 1.4
    _place(placed, person, x, z, crosses or dice.chance(0.35))
    if dice.chance(0.35):
        x += dice.between(-0.6, 0.6)
        z += dice.between(0.3, 1.2)
        _place(placed, person, x, z, crosses or dice.chance(0.35))


def _place_rider(placed: list, canvas: Canvas, dice: Dice, side: Side):
    """Place a cyclist who rides along the road or across it."""
    crosses = dice.chance(0.25)
    x = dice.between(-3, 3) if crosses else side.sign * (side.lane - dice.between(0.1, 0.6))
    turn = dice.pick((-1.0, 1.0)) if crosses else -side.sign * dice.between(0.25, 0.7)
    z = canvas.nearest(x) + 0.7 + 5 * dice.between(0, 1) ** 1.3
    _place(placed, bicycle, x, z, turn, True)


def _render(canvas: Canvas, dice: Dice, weather: Weather, front: np.ndarray) -> np.ndarray:
    """Colour, shade, texture and light the visible polygons: uint8 (row, col, rgb)."""
    rows, cols, rng = canvas.rows, canvas.cols, dice.rng
    zenith, horizon, light, sun = (np.asarray(value, np.float32) for value in weather)
    looks = np.asarray(canvas.looks, np.float32)   # of each polygon: red, green, blue, grain, depth
    is_sky = np.array([kind == "sky" for kind in canvas.kinds])
    is_ground = np.array([kind in ("road", "sidewalk", "terrain") for kind in canvas.kinds])
    haze = 1 - np.exp(looks[:, 4:] / -150)
    looks[:, :3] += haze * (horizon - looks[:, :3])
    looks[is_sky, :3] = 0
    looks = np.column_stack([looks[:, :4], is_sky, is_ground]).astype(np.float32)

    # The canvas has 2x2 pixels per pixel of the image, which are averaged.
    quarters = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
    mean = sum(looks[front[quarter]] for quarter in quarters) / 4
    shade = sum(np.asarray(canvas.shade)[quarter].astype(np.float32) for quarter in quarters) / 1020
    colour, grain, sky, ground = mean[..., :3], mean[..., 3], mean[..., 4:5], mean[..., 5]
    image = colour * (1 - shade * ground * (0.55 if sun else 0.4))[..., None]
    height = np.clip(np.arange(rows, dtype=np.float32) / (rows * canvas.horizon), 0, 1)[:, None, None] ** 1.3
    image += sky * (zenith + height * (horizon - zenith))

    exposure = dice.between(0.75, 1.12)
    slant = dice.between(-0.12, 0.12)              # one side of the image is brighter than the other
    sensor_noise = dice.between(1.5, 4)
    coarse = [Image.fromarray(rng.standard_normal((n // 2, n), np.float32)) for n in (12, 64)]
    blotches = sum(0.6 * np.asarray(grid.resize((cols, rows), Image.Resampling.BICUBIC)) for grid in coarse)
    noise = blotches + 0.3 * rng.standard_normal((rows, cols), np.float32)
    gradient = 1 + slant * np.linspace(-1, 1, cols, dtype=np.float32)
    brightness = (1 + np.clip(grain * noise, -0.6, 0.6)) * gradient * exposure
    image = image * brightness[..., None] * light + sensor_noise * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _find_people(canvas: Canvas, front: np.ndarray) -> tuple[Person, ...]:
    """The people who are visible, with the box of their silhouette and its visible fraction."""
    owners = np.asarray(canvas.owners)[front].ravel()
    visible_pixels = np.bincount(owners, minlength=len(canvas.bodies) + 1)[1:]
    people = []
    for n_visible, (kind, polygons) in zip(visible_pixels, canvas.bodies, strict=True):
        if n_visible:
            box, n_pixels = _silhouette(polygons)
            visible = min(1.0, float(n_visible / n_pixels))
            people.append(Person(kind, _to_image(canvas, box), visible))
    return tuple(people)


@no_type_check
def _silhouette(polygons: list) -> tuple[tuple[int, int, int, int], np.integer]:
    """(left, top, right, bottom) and the number of pixels on the canvas of a body that nothing hides or crops."""
    us, vs = zip(*(point for polygon in polygons for point in polygon), strict=True)
    u0, v0 = floor(min(us)) - 2, floor(min(vs)) - 2
    mask = Image.new("L", (floor(max(us)) + 3 - u0, floor(max(vs)) + 3 - v0))
    pen = ImageDraw.Draw(mask)
    for polygon in polygons:
        pen.polygon([(u - u0, v - v0) for u, v in polygon], fill=1)
    left, top, right, bottom = mask.getbbox()
    return (left + u0, top + v0, right + u0, bottom + v0), np.asarray(mask).sum()


def _to_image(canvas: Canvas, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """(left, top, width, height) in the image, clipped to it, of a box (left, top, right, bottom) on the canvas."""
    u0, v0, u1, v1 = box
    left = min(max(u0 // 2, 0), canvas.cols - 1)
    top = min(max(v0 // 2, 0), canvas.rows - 1)
    width = max(min((u1 + 1) // 2, canvas.cols) - left, 1)
    height = max(min((v1 + 1) // 2, canvas.rows) - top, 1)
    return left, top, width, height
