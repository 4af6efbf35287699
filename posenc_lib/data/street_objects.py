"""What `streets` is made of: a board to paint on, and buildings, trees, signs, cars and people that paint themselves.

`no_type_check` stands where checking types at run time, as the tests do, would take far longer than drawing.
"""
from collections.abc import Sequence
from itertools import pairwise
from math import cos, pi, sin
from typing import no_type_check

import numpy as np
from PIL import Image, ImageDraw

END = 80.0                                    # metres to where the street ends
Colour = tuple[float, float, float]           # red, green, blue, 0..255
WALLS = ((176, 172, 166), (142, 140, 138), (205, 200, 190), (198, 178, 142), (150, 92, 74), (168, 124, 96),
         (120, 116, 112), (186, 160, 150), (150, 158, 140), (206, 206, 208), (140, 150, 165), (98, 94, 92))
COATS = ((28, 28, 32), (60, 62, 66), (118, 120, 124), (176, 178, 180), (214, 214, 212), (120, 24, 26), (30, 50, 100),
         (40, 76, 56), (160, 130, 90), (90, 110, 140), (190, 150, 50))                # of cars, and of people
SKIN = ((224, 180, 152), (198, 146, 112), (150, 104, 76), (96, 66, 50))
LEAVES = ((70, 92, 44), (88, 104, 50), (54, 76, 44), (112, 108, 52), (126, 98, 54))
GLASS = ((46, 52, 60), (70, 80, 92), (30, 32, 36), (120, 132, 144))
RED, BLUE, YELLOW, WHITE, DARK = (172, 30, 34), (34, 72, 150), (212, 166, 40), (222, 222, 218), (28, 28, 30)
BODIES = (((0, 0.3), (0, 0.92), (0.5, 1.44), (2.2, 1.46), (3.1, 0.98), (3.95, 0.74), (3.95, 0.3)),   # cars from the
          ((0, 0.3), (0, 0.9), (1.1, 1.38), (2.6, 1.42), (3.4, 0.96), (4.5, 0.72), (4.5, 0.3)),      # side: metres from
          ((0, 0.32), (0, 1.1), (0.12, 1.95), (3.4, 1.98), (4.1, 1.12), (4.8, 0.85), (4.8, 0.32)))   # the rear, and up
CIRCLE = tuple((cos(pi * i / 6), sin(pi * i / 6)) for i in range(12))


@no_type_check
class Dice:
    """The random numbers of a scene."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng([seed])

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, choices: Sequence):
        return choices[int(self.rng.random() * len(choices))]

    def near(self, colours: Sequence[Colour], by: float = 14) -> Colour:
        """One of the colours, somewhat lighter or darker, with a slight tinge."""
        lighter = self.between(-by, by)
        return tuple(c + lighter + self.between(-by, by) / 3 for c in self.pick(colours))


@no_type_check
class Board:
    """Which polygon is seen where, twice as fine as the picture; what each polygon is; and the camera that sees them.

    Points are (x, y, z): metres to the right of the road's middle, above the ground, and ahead of the camera.
    """

    def __init__(self, rows: int, cols: int, dice: Dice):
        self.rows, self.cols = rows, cols
        self.focal, self.horizon = dice.between(1.35, 1.65), dice.between(0.4, 0.5)      # shares of the rows, as is
        self.middle = dice.between(-0.12, 0.12)              # the vanishing point, to the right of the picture's middle
        self.height = dice.between(1.35, 1.9)
        self.road, self.bend = -dice.between(0.9, 1.7), dice.between(-0.0016, 0.0016)    # middle, half the curvature
        self.front, self.shade = (Image.new(mode, (2 * cols, 2 * rows)) for mode in "IL")
        self.pens = ImageDraw.Draw(self.front), ImageDraw.Draw(self.shade)
        self.kinds, self.looks, self.owners = [], [], []     # of each polygon; looks are red, green, blue, grain, depth
        self.bodies: list[tuple[str, list]] = []             # of each person or rider: which of the two, the polygons

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Where a point is seen on the board, (col, row)."""
        scale = 2 * self.rows * self.focal / z
        return (self.cols + 2 * self.rows * self.middle + (x + self.road + self.bend * z * z) * scale - 0.5,
                2 * self.rows * self.horizon + (self.height - y) * scale - 0.5)

    def nearest(self, x: float) -> float:
        """The least depth at which something beside the road is in a picture twice as wide as high."""
        return max(4.5, self.focal * abs(x + self.road) / (1 + (self.middle if x < 0 else -self.middle)))

    def paint(self, places: list, z: float, kind: str, colour: Colour, grain: float, owner: int = 0):
        """A polygon over what is there.  `grain` is how much its brightness varies; owner n is the n-th of bodies."""
        if owner:
            self.bodies[owner - 1][1].append(places)
        self.pens[0].polygon(places, fill=len(self.kinds))
        self.kinds.append(kind)
        self.looks.append((*colour, grain, z))
        self.owners.append(owner)

    def fill(self, points: Sequence, kind: str, colour: Colour, grain: float = 0.05):
        """A polygon anywhere in space."""
        self.paint([self.at(*p) for p in points], points[0][2], kind, colour, grain)

    def shadow(self, points: Sequence, depth: float):
        """Darken the ground, and nothing else, within a polygon; depth 0..1."""
        self.pens[1].polygon([self.at(*p) for p in points], fill=round(255 * depth))


@no_type_check
class Sheet:
    """An upright sheet that faces the camera; shapes are given in `unit` metres, right of its foot and above it."""

    def __init__(self, board: Board, kind: str, x: float, z: float, unit: float = 1.0):
        self.board, self.kind, self.z, (self.u, self.v) = board, kind, z, board.at(x, 0, z)
        self.scale, self.owner = 2 * board.rows * board.focal / z * unit, 0
        if kind in ("person", "rider"):
            board.bodies.append((kind, []))
            self.owner = len(board.bodies)

    def shape(self, points: Sequence, colour: Colour, grain: float = 0.05):
        places = [(self.u + x * self.scale, self.v - y * self.scale) for x, y in points]
        self.board.paint(places, self.z, self.kind, colour, grain, self.owner)

    def box(self, left: float, right: float, low: float, high: float, colour: Colour):
        self.shape(((left, low), (left, high), (right, high), (right, low)), colour)

    def oval(self, x: float, y: float, across: float, up: float, colour: Colour, grain: float = 0.05):
        self.shape([(x + across * c, y + up * s) for c, s in CIRCLE], colour, grain)

    def bar(self, x0: float, y0: float, x1: float, y1: float, width: float, colour: Colour):
        half = width / 2 / (((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 + 1e-6)
        a, b = (y1 - y0) * half, (x1 - x0) * half
        self.shape(((x0 - a, y0 + b), (x0 + a, y0 - b), (x1 + a, y1 - b), (x1 - a, y1 + b)), colour)


@no_type_check
def times(colour: Colour, factor: float) -> Colour:
    return tuple(c * factor for c in colour)


@no_type_check
def spot(x: float, z: float, across: float, along: float) -> list:
    """An ellipse on the ground."""
    return [(x + across * c, 0.0, z + along * s) for c, s in CIRCLE]


@no_type_check
def strip(left: float, right: float, near: float = 1.2, far: float = END) -> list:
    """The ground between two distances from the road's middle, and between two depths."""
    depths = [near * (far / near) ** (i / 9) for i in range(10)]
    return [(left, 0.0, z) for z in depths] + [(right, 0.0, z) for z in reversed(depths)]


class Side:
    """One side of the street, -1 left or 1 right; lengths are metres from the road's middle outwards."""

    def __init__(self, dice: Dice, sign: int, sun: float):
        self.sign, self.sun, self.park = sign, sun * sign, dice.chance(0.2)    # park: trees instead of buildings
        self.lane = dice.between(2.6, 3.1)
        self.kerb = self.lane + (2.0 if dice.chance(0.5) else 0.2)             # the wider has room for parked cars
        self.walk = self.kerb + (dice.between(1.4, 2.6) if dice.chance(0.35) else 0.0)       # behind a strip of grass
        self.line = self.walk + dice.between(2.4, 4.0)                         # where the buildings stand


def backdrop(board: Board, dice: Dice):
    """What closes the street far away, from side to side: low buildings and trees."""
    x = -130.0
    while x < 130:
        width, height, kind = dice.between(8, 24), dice.between(5, 13), dice.pick(("building", "vegetation"))
        top = [(width * i / 8, height * dice.between(0.75, 1.05) ** (kind == "vegetation")) for i in range(9)]
        colour = dice.near(WALLS if kind == "building" else LEAVES)
        Sheet(board, kind, x, END).shape([(0, 0), *top, (width, 0)], colour)
        x += width


@no_type_check
def building(board: Board, dice: Dice, side: Side, near: float, far: float):
    """A house from `near` to `far`: the end that faces the camera, sometimes a roof, the facade, its windows."""
    s, x, height, wall = side.sign, side.sign * side.line, dice.between(4.5, 15), dice.near(WALLS, 22)
    ridge, front = height + dice.pick((0, 0, 2, 3)), times(wall, 1 - 0.3 * max(side.sun, 0))
    tiles = dice.near(((120, 66, 52), (84, 80, 80), (100, 88, 76)))

    def panel(z0: float, z1: float, low: float, high: float, colour: Colour):
        board.fill([(x, low, z0), (x, high, z0), (x, high, z1), (x, low, z1)], "building", colour)

    board.fill([(x, 0, near), (x, height, near), (x + s * 4.5, ridge, near), (x + s * 9, height, near),
                (x + s * 9, 0, near)], "building", times(wall, 0.82))
    board.fill([(x, height, near), (x + s * 4.5, ridge, near), (x + s * 4.5, ridge, far), (x, height, far)], "building",
               tiles, 0.1)
    panel(near, far, 0, height, front)
    panel(near, far, 0, 0.5, times(front, 0.8))
    storey, share, glass, shop = dice.between(2.9, 3.6), dice.between(0.2, 0.32), dice.near(GLASS), dice.chance(0.45)
    bays = max(1, round((far - near) / dice.between(2.6, 3.6)))
    for bay, n in ((bay, n) for bay in range(bays) for n in range(min(int(height / storey), 5))):
        step, tone = (far - near) / bays, times(glass, dice.between(0.8, 1.3))
        wide, low, high = (0.45, 0.4, 2.5) if n == 0 and shop else (share, n * storey + 0.9, n * storey + 2.4)
        if 2 < (z := near + step * (bay + 0.5)) < 36:      # farther ones would be a blur
            across, down = board.at(x, low, z)
            if abs(across - board.cols) < 1.5 * board.cols and down > 0:
                panel(z - step * wide, z + step * wide, low, high, tone)


def tree(board: Board, dice: Dice, x: float, z: float):
    """A trunk and a crown of several leafy balls, or a bush."""
    colour, tall, wide = dice.near(LEAVES), dice.between(1.5, 2.9), dice.between(1, 2)
    sheet = Sheet(board, "vegetation", x, z)
    middle, tall = (2.1 * tall, tall) if dice.chance(0.75) else (0.7, 0.8)
    board.shadow(spot(x, z, wide, wide), 0.6)
    sheet.box(-0.18, 0.18, 0, middle, (84, 74, 62))
    for light in (0.7, 0.7, 0.75, 1.0, 1.0, 1.05, 1.25):
        size, a, b = dice.between(0.42, 0.64), dice.between(-0.6, 0.6), dice.between(-0.5, 0.5) + (light - 1) * 0.6
        sheet.oval(a * wide, middle + b * tall, wide * size, tall * size, times(colour, light), 0.28)


def lamp(board: Board, dice: Dice, x: float, z: float):
    """A lamp post, its arm over the road."""
    height, thick, arm = dice.between(4.5, 7), dice.between(0.13, 0.2), -dice.between(0.8, 1.8) * (1 if x > 0 else -1)
    grey, sheet = (dice.between(50, 190),) * 3, Sheet(board, "pole", x, z)
    sheet.bar(0, height, arm, height + 0.3, 2 * thick, grey)
    sheet.oval(arm, height + 0.25, 0.45, 0.2, times(grey, 1.2))
    sheet.box(-thick, thick, 0, height, grey)
    sheet.box(0.2 * thick, thick, 0, height, times(grey, 0.75))


def sign(board: Board, dice: Dice, x: float, z: float):
    """A traffic sign or two on a pole: discs, triangles, boards."""
    y, sheet = dice.between(2.1, 2.8), Sheet(board, "traffic sign", x, z)
    Sheet(board, "pole", x, z).box(-0.11, 0.11, 0, y + 0.4, (dice.between(80, 180),) * 3)
    for up in (y, y - 0.98)[:1 + dice.chance(0.3)]:
        form, size, wide, tip = dice.pick("o^#"), dice.between(0.4, 0.52), dice.between(0.7, 1.2), dice.pick((-1, 1))
        rim, inner = dice.pick(((RED, WHITE), (BLUE, BLUE), (RED, BLUE), (RED, RED), (WHITE, BLUE), (WHITE, YELLOW)))
        for part, colour in ((1, rim), (0.66, inner), (0.3, DARK if inner == WHITE else WHITE)):
            a, b = size * part * 1.1, size * part * tip
            if form == "^":
                sheet.shape(((-a, up - b * 0.8), (0, up + b), (a, up - b * 0.8)), RED if part == 1 else WHITE)
            elif form == "o" and part > 0.5:
                sheet.oval(0, up, size * part, size * part, colour)
            else:
                sheet.box(-a * wide, a * wide, up - size * part / wide, up + size * part / wide, colour)


@no_type_check
def car(board: Board, dice: Dice, x: float, z: float, sun: float):
    """A car whose nearer end is at depth z: seen from behind on the right of the road, from the front on the left."""
    body, paint, glass = dice.pick(BODIES[:2] * 2 + BODIES[2:]), dice.near(COATS), dice.near(GLASS[:3], 8)
    behind, half, length, roof = x > 0, dice.between(0.83, 0.92), body[-1][0], body[2][1]
    outline = body if behind else [(length - d, y) for d, y in reversed(body)]
    belt, top, flank = body[1][1] + 0.04, outline[1][1], -1 if x + board.road > 0 else 1     # the flank that is seen

    def face(corners: Sequence, colour: Colour):
        """Corners are (share of the half width, metres up, metres from the nearer end); the roof is narrower."""
        board.fill([(x + a * half * (1 - 0.16 * max(0.0, y - belt) / (roof - belt)), y, z + d) for a, y, d in corners],
                   "car", colour)

    def end(left: float, right: float, low: float, high: float, colour: Colour):
        face(((left, low, 0), (left, high, 0), (right, high, 0), (right, low, 0)), colour)

    board.shadow([(x + a * (half + 0.2), 0, z + d) for a, d in ((-1, -0.3), (1, -0.3), (1, length), (-1, length))], 1)
    face([(flank, y, d) for y, d in ((0.14, 0.1), (0.14, length - 0.1), (0.5, length - 0.1), (0.5, 0.1))], DARK)
    face([(flank, y, d) for d, y in outline], times(paint, 0.92 if sun * flank <= 0 else 0.7))
    cabin = [(d, y) for d, y in outline if y >= belt - 0.09]
    centre = sum(d for d, _ in cabin) / len(cabin)
    face([(flank, belt + 0.05 + max(0.0, y - belt) * 0.8, centre + (d - centre) * 0.82) for d, y in cabin], glass)
    for d in (0.75, length - 0.8):
        face([(flank, 0.32 + 0.32 * b, d + 0.32 * a) for a, b in CIRCLE], DARK)
    slopes = (paint, glass, times(paint, 1.12)) if behind else (paint, paint, glass, times(paint, 1.12))
    for ((d0, y0), (d1, y1)), colour in reversed(list(zip(pairwise(outline), slopes, strict=False))):
        face(((-1, y0, d0), (-1, y1, d1), (1, y1, d1), (1, y0, d0)), colour)
    end(-0.95, 0.95, 0.14, 0.4, (44, 44, 46))
    end(-0.5, 0.5, 0.44, top - 0.06, times(paint, 0.75) if behind else (36, 36, 40))        # lid or grille
    for s in (-0.78, 0.78):
        end(s - 0.17, s + 0.17, 0, 0.32, DARK)
        end(s - 0.18, s + 0.18, top - 0.3, top - 0.08, (200, 28, 30) if behind else (250, 246, 232))
    end(-0.3, 0.3, 0.46, 0.58, WHITE)


def person(board: Board, dice: Dice, x: float, z: float, sideways: bool):
    """Somebody on foot, who walks across the picture or along the street."""
    height = dice.between(1.55, 1.9) if dice.chance(0.88) else dice.between(1.1, 1.4)
    shirt, legs, skin, hair = (dice.near(c) for c in (COATS, COATS, SKIN, SKIN[2:] + COATS[:3]))
    stride, broad = (dice.between(0.07, 0.15), 0.1) if sideways else (dice.between(0.045, 0.07), 0.14)
    way, hem, back = dice.pick((-1, 1)), dice.pick((0.46, 0.46, 0.32)), dice.chance(0.5) and not sideways
    board.shadow(spot(x, z, 0.35, 0.3), 0.8)
    sheet = Sheet(board, "person", x, z, height)
    for s in (-1, 1):
        foot = s * stride * way
        sheet.bar(s * 0.03, 0.5, foot, 0.03, 0.11, times(legs, 0.9 + 0.1 * s))
        sheet.box(foot - 0.035, foot + 0.045, 0, 0.04, DARK)
        sheet.bar(s * broad * 0.9, 0.79, s * (broad + stride * 0.7), 0.47, 0.07, times(shirt, 0.7 + 0.1 * s))
    sheet.shape([(s * broad * a, b) for s in (-1, 1) for a, b in ((0.85, hem), (1, 0.78), (0.6, 0.83))[::-s]], shirt)
    sheet.box(-0.03, 0.03, 0.81, 0.88, skin)
    sheet.oval(0, 0.92, 0.065, 0.08, hair)
    if not back:
        sheet.oval(0.02 * way * sideways, 0.9, 0.05, 0.06, skin)


def bicycle(board: Board, dice: Dice, x: float, z: float, turn: float, ridden: bool = False):
    """A bicycle, with somebody on it or not; |turn| is the share of its length that is seen, 1 from the side."""
    r, frame, sheet = 0.52 * turn, dice.near(COATS), Sheet(board, "bicycle", x, z)
    wide, apart = 0.35 * max(abs(turn), 0.25), 0.12 * (1 - abs(turn))
    board.shadow(spot(x, z, abs(r) + 0.3, 0.25), 0.7)
    for s in (r, -r):
        sheet.oval(s, 0.36, wide, 0.36, DARK)
        sheet.oval(s, 0.36, wide * 0.66, 0.24, (96, 96, 96), 0.2)
    for a, up, b, high in ((-1, 0.35, -0.3, 0.85), (-0.3, 0.85, 0.75, 0.85), (-0.1, 0.35, 0.75, 0.8),
                           (-0.3, 0.85, -0.1, 0.35), (1, 0.35, 0.72, 1.02)):
        sheet.bar(a * r, up, b * r, high, 0.1, frame)
    sheet.box(0.72 * r - 0.1 - 2.3 * apart, 0.72 * r + 0.1 + 2.3 * apart, 1.0, 1.07, DARK)
    sheet.box(-0.35 * r - 0.12, -0.35 * r + 0.12, 0.88, 0.96, DARK)
    if not ridden:
        return
    shirt, legs, skin, cap = (dice.near(c) for c in (COATS, COATS, SKIN, SKIN[2:] + COATS))
    broad, sheet = 0.14 + 0.7 * apart, Sheet(board, "rider", x, z)
    for s, knee, foot in ((-1, 0.72, 0.2), (1, 0.82, 0.42)):
        tone, side = times(legs, 0.9 + 0.1 * s), s * apart
        sheet.bar(-0.3 * r + side, 0.95, 0.35 * r + side, knee, 0.17, tone)
        sheet.bar(0.35 * r + side, knee + 0.05, 0.05 * r + side, foot, 0.13, tone)
        sheet.bar(0.08 * r + s * broad * 0.9, 1.4, 0.7 * r + 1.7 * side, 1.05, 0.09, times(shirt, 0.8))
    sheet.shape(((-0.35 * r - broad, 0.9), (0.05 * r - broad, 1.42), (0.05 * r, 1.52), (0.1 * r + broad, 1.42),
                 (-0.25 * r + broad, 0.9)), shirt)
    sheet.oval(0.22 * r, 1.62, 0.11, 0.15, cap)
    sheet.oval(0.3 * r, 1.58, 0.08, 0.1, skin)
