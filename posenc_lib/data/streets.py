"""Street scenes drawn from a seed: a picture, its class map, and the people in it with how much of each is seen.

A stand-in for Cityscapes and CityPersons where neither is to be had.  A scene is laid out in metres in front of a
camera, and painted from far to near, so that nearer things hide farther ones.  Traffic keeps to the right.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import no_type_check

import numpy as np
from PIL import Image, ImageDraw

from posenc_lib.data import street_objects
from posenc_lib.data.street_objects import Board, Dice, Side

CLASSES = ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
           "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
COLOURS = ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
           (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
           (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32))   # Cityscapes' own
DRAWN = ("road", "sidewalk", "building", "pole", "traffic sign", "vegetation", "terrain", "sky", "person", "rider",
         "car", "bicycle")                    # the classes that scenes have; the others are never drawn
SMALLEST = 16                                 # rows and columns
WEATHERS = (((96, 142, 204), (196, 212, 228), (1.0, 0.98, 0.93), 1.0),       # sky overhead and at the horizon,
            ((150, 178, 210), (214, 220, 224), (1.0, 0.97, 0.92), 0.8),      # light, and how strong the sun is
            ((192, 194, 198), (214, 214, 212), (0.95, 0.97, 1.0), 0.0),
            ((150, 154, 160), (186, 188, 190), (0.9, 0.92, 0.96), 0.0),
            ((136, 138, 164), (226, 194, 164), (1.0, 0.91, 0.81), 0.6))


@dataclass(frozen=True)
class Person:
    """Somebody in a scene.

    kind     "person" or "rider", a rider without the bicycle
    box      (left, top, width, height) in whole pixels of the full body, hidden parts included, cut to the picture
    visible  share of the silhouette, 0..1, that neither something nearer hides nor the picture's edge cuts off
    """
    kind: str
    box: tuple[int, int, int, int]
    visible: float


@dataclass(frozen=True)
class Scene:
    """A picture with what is known about it.

    image   uint8 (row, col, rgb)
    labels  uint8 (row, col), indices into `CLASSES`
    people  those of whom something is seen, from far to near
    """
    image: np.ndarray
    labels: np.ndarray
    people: tuple[Person, ...]


def _ground(board: Board, dice: Dice, sides: Sequence[Side]):
    """Grass or paving beyond, sidewalks, strips of grass, the road, its lane marks and sometimes a crossing."""
    grey = dice.between(76, 150)
    asphalt, paving = dice.near(((grey, grey, grey + 2),), 5), dice.near(((grey + 14, grey + 10, grey + 4),), 30)
    grass, white, paved = (
        dice.near(street_objects.LEAVES),
        street_objects.times(asphalt, dice.between(1.35, 1.8)),
        dice.chance(0.3),
    )
    for side in sides:
        s, beyond = side.sign, ("sidewalk", paving) if paved and not side.park else ("terrain", grass)
        for left, right, kind, colour in (
            (side.line, 300, *beyond),
            (side.walk, side.line, "sidewalk", paving),
            (side.kerb + 0.2, side.walk, "terrain", grass),
            (0, side.kerb, "road", asphalt),
            (side.kerb, side.kerb + 0.22, "sidewalk", street_objects.times(paving, 1.15)),
        ):
            if right > left:
                board.fill(street_objects.strip(s * left, s * right), kind, colour, 0.14 if kind == "terrain" else 0.06)
        if dice.chance(0.3):
            board.fill(street_objects.strip(s * (side.lane - 0.1), s * (side.lane + 0.05)), "road", white)
    start, crossing = dice.between(3, 9), dice.between(6, 15)
    for n in range(6 * dice.chance(0.75)):
        board.fill(street_objects.strip(-0.09, 0.09, start + 6 * n, start + 6 * n + 3), "road", white)
    for n in range(int(sides[0].kerb + sides[1].kerb - 0.6) * dice.chance(0.25)):
        x = n + 0.6 - sides[0].kerb
        board.fill(street_objects.strip(x, x + 0.5, crossing, crossing + 3), "road", white)


def _row(board: Board, dice: Dice, side: Side):
    """What lines one side of the street, from far to near: buildings and gaps with trees, or a park."""
    s, far = side.sign, street_objects.END
    while far > 3:
        gap = side.park or dice.chance(0.15)
        near = far - (dice.between(6, 9) if gap else dice.between(7, 18))
        if gap:
            for n in range(2):
                street_objects.tree(
                    board, dice, s * (side.line + dice.between(1.5, 6)), max(far - (far - near) * n / 2, 5.0)
                )
        else:
            street_objects.building(board, dice, side, max(near, 1.5), far)
            board.shadow(
                street_objects.strip(s * side.line, s * (side.line - 6 * max(side.sun, 0)), max(near, 1.2), far), 0.8
            )
        far = near


@no_type_check
def _traffic(board: Board, dice: Dice, sides: Sequence[Side], sun: float):
    """All that stands and moves in the street, laid out first, then painted from far to near."""
    laid = []                                 # (depth, what paints it, x, what else that asks for)

    def put(paint, x: float, z: float, *more):
        cars = ((d, a) for d, p, a, _ in laid if p is street_objects.car)
        if paint is street_objects.car or not any(abs(x - a) < 1.6 and z - 5.5 < d < z + 1.2 for d, a in cars):
            laid.append((z, paint, x, more))               # only where no car is

    for side in sides:
        kerb, full = side.kerb + 0.45, dice.between(0.1, 0.7)
        for paint, x, first, last, likely, least, most, *more in (
            (street_objects.car, side.kerb - 1, 6, 26 if side.kerb - side.lane > 1 else 0, full, 5.2, 7.5, sun),
            (street_objects.car, side.lane / 2, 8, 30, 0.5, 8, 14, sun),
            (street_objects.lamp, kerb, 0, 15, 0.8, 6, 12),
            (street_objects.sign, kerb + 0.2, 0, 13, 0.65, 6, 12),
            (street_objects.tree, kerb + 0.4, 0, 26, 0.35, 8, 14),
        ):
            z = max(board.nearest(side.sign * x), first) + dice.between(0.2, 5)
            while z < last:
                if dice.chance(likely):
                    put(paint, side.sign * x, z, *more)
                z += dice.between(least, most)
    for _ in range(int(dice.between(1, 5)) * dice.chance(0.85)):             # on foot, alone or two together
        side, across = dice.pick(sides), dice.chance(0.28)
        x = dice.between(-3, 3) if across else side.sign * (side.walk + dice.between(0.3, 2.0))
        z = max(board.nearest(x) + 0.3, 5) + 6 * dice.between(0, 1) ** 1.4
        put(street_objects.person, x, z, across or dice.chance(0.35))
        if dice.chance(0.35):
            put(
                street_objects.person,
                x + dice.between(-0.6, 0.6),
                z + dice.between(0.3, 1.2),
                across or dice.chance(0.35),
            )
    for _ in range(int(dice.between(0, 3))):                                 # riders, along or across the road
        side, across = dice.pick(sides), dice.chance(0.25)
        x = dice.between(-3, 3) if across else side.sign * (side.lane - dice.between(0.1, 0.6))
        turn = dice.pick((-1.0, 1.0)) if across else -side.sign * dice.between(0.25, 0.7)
        put(street_objects.bicycle, x, board.nearest(x) + 0.7 + 5 * dice.between(0, 1) ** 1.3, turn, True)
    for _ in range(int(dice.between(0, 2.3))):                                 # bicycles left at the kerb
        x = (side := dice.pick(sides)).sign * (side.walk + 0.5)
        put(street_objects.bicycle, x, board.nearest(x) + dice.between(0.5, 5), dice.between(0.5, 1))
    for z, paint, x, more in sorted(laid, key=lambda thing: -thing[0]):
        paint(board, dice, x, z, *more)


def _picture(board: Board, dice: Dice, weather: tuple, front: np.ndarray) -> np.ndarray:
    """What is seen, coloured, shaded, grained and lit; uint8 (row, col, rgb)."""
    rows, cols, rng, (over, low, light, sun) = board.rows, board.cols, dice.rng, map(np.float32, weather)
    looks = np.asarray(board.looks, np.float32)
    sky = np.array([kind == "sky" for kind in board.kinds])
    ground = np.array([kind in ("road", "sidewalk", "terrain") for kind in board.kinds])
    looks[:, :3] += (1 - np.exp(looks[:, 4:] / -150)) * (low - looks[:, :3])             # haze
    looks[sky, :3] = 0
    looks = np.column_stack([looks[:, :4], sky, ground]).astype(np.float32)
    quarters = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
    mean = sum(looks[front[q]] for q in quarters) / 4
    shade = sum(np.asarray(board.shade)[q].astype(np.float32) for q in quarters) / 1020
    image = mean[..., :3] * (1 - shade * mean[..., 5] * (0.55 if sun else 0.4))[..., None]
    down = np.clip(np.arange(rows, dtype=np.float32) / (rows * board.horizon), 0, 1)[:, None, None] ** 1.3
    image += mean[..., 4:5] * (over + down * (low - over))
    exposure, slant, sensor = dice.between(0.75, 1.12), dice.between(-0.12, 0.12), dice.between(1.5, 4)
    coarse = [Image.fromarray(rng.standard_normal((n // 2, n), np.float32)) for n in (12, 64)]
    noise = sum(0.6 * np.asarray(blotches.resize((cols, rows), Image.Resampling.BICUBIC)) for blotches in coarse)
    noise += 0.3 * rng.standard_normal((rows, cols), np.float32)
    across = 1 + slant * np.linspace(-1, 1, cols, dtype=np.float32)
    bright = (1 + np.clip(mean[..., 3] * noise, -0.6, 0.6)) * across * exposure
    image = image * bright[..., None] * light + sensor * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _people(board: Board, front: np.ndarray) -> tuple[Person, ...]:
    """Those that are seen, with the box of the silhouette and how much of it is left."""
    counts = np.bincount(np.asarray(board.owners)[front].ravel(), minlength=len(board.bodies) + 1)[1:]
    people = []
    for seen, (kind, shapes) in zip(counts, board.bodies, strict=True):
        if seen:
            u, v = zip(*(place for shape in shapes for place in shape), strict=True)
            x0, y0 = floor(min(u)) - 2, floor(min(v)) - 2
            alone = Image.new("L", (floor(max(u)) + 3 - x0, floor(max(v)) + 3 - y0))     # nothing hides, no edge cuts
            pen = ImageDraw.Draw(alone)
            for shape in shapes:
                pen.polygon([(x - x0, y - y0) for x, y in shape], fill=1)
            x1, y1, x2, y2 = (n + m for n, m in zip(alone.getbbox(), (x0, y0, x0, y0), strict=True))
            left, top = min(max(x1 // 2, 0), board.cols - 1), min(max(y1 // 2, 0), board.rows - 1)
            width = max(min((x2 + 1) // 2, board.cols) - left, 1)
            height = max(min((y2 + 1) // 2, board.rows) - top, 1)
            share = min(1.0, float(seen / np.asarray(alone).sum()))
            people.append(Person(kind, (left, top, width, height), share))
    return tuple(people)


def draw(seed: int, rows: int = 64, cols: int = 128) -> Scene:
    """The scene of a seed, bitwise the same whenever it is drawn.

    The same seed at another size is the same scene, drawn finer or coarser; all but the noise is laid out in metres.
    A picture less than twice as wide as high shows less of the sides.  ValueError below 16 rows or columns.
    """
    if min(rows, cols) < SMALLEST:
        raise ValueError(f"streets: {rows}x{cols} pixels were asked for; give at least {SMALLEST} rows and "
                         f"{SMALLEST} columns")
    dice = Dice(seed)
    weather = dice.pick(WEATHERS)
    sun = weather[3] * dice.pick((-1, 1))     # positive from the right
    board, sides = Board(rows, cols, dice), (Side(dice, -1, sun), Side(dice, 1, sun))
    street_objects.Sheet(board, "sky", 0, 1).box(-999, 999, -99, 99, street_objects.WHITE)
    _ground(board, dice, sides)
    street_objects.backdrop(board, dice)
    for side in sides:
        _row(board, dice, side)
    _traffic(board, dice, sides, sun)
    front = np.asarray(board.front)
    labels = np.array([CLASSES.index(kind) for kind in board.kinds], np.uint8)[front[::2, ::2]]
    return Scene(_picture(board, dice, weather, front), labels, _people(board, front))
