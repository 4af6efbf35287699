"""Parts of `streets`: a canvas, and functions that paint buildings, trees, signs, cars and people on it.

Lengths are in metres.  `no_type_check` marks what is called so often that checking types at run time, as the tests do,
would take far longer than drawing.
"""
from collections.abc import Sequence
from itertools import pairwise
from math import cos, pi, sin
from typing import no_type_check

import numpy as np
from PIL import Image, ImageDraw

END = 80.0                                    # depth at which the street ends
Colour = tuple[float, float, float]           # red, green, blue, 0..255
WALLS = ((176, 172, 166), (142, 140, 138), (205, 200, 190), (198, 178, 142), (150, 92, 74), (168, 124, 96),
         (120, 116, 112), (186, 160, 150), (150, 158, 140), (206, 206, 208), (140, 150, 165), (98, 94, 92))
TILES = ((120, 66, 52), (84, 80, 80), (100, 88, 76))
PAINTS = ((28, 28, 32), (60, 62, 66), (118, 120, 124), (176, 178, 180), (214, 214, 212), (120, 24, 26), (30, 50, 100),
          (40, 76, 56), (160, 130, 90), (90, 110, 140), (190, 150, 50))   # of cars, bicycles and clothes
SKIN = ((224, 180, 152), (198, 146, 112), (150, 104, 76), (96, 66, 50))
LEAVES = ((70, 92, 44), (88, 104, 50), (54, 76, 44), (112, 108, 52), (126, 98, 54))
GLASS = ((46, 52, 60), (70, 80, 92), (30, 32, 36), (120, 132, 144))
RED, BLUE, YELLOW, WHITE, DARK = (172, 30, 34), (34, 72, 150), (212, 166, 40), (222, 222, 218), (28, 28, 30)
SIGN_COLOURS = ((RED, WHITE), (BLUE, BLUE), (RED, BLUE), (RED, RED), (WHITE, BLUE), (WHITE, YELLOW))   # rim, inside
HATCHBACK = ((0, 0.3), (0, 0.92), (0.5, 1.44), (2.2, 1.46), (3.1, 0.98), (3.95, 0.74), (3.95, 0.3))   # (from the rear,
SALOON = ((0, 0.3), (0, 0.9), (1.1, 1.38), (2.6, 1.42), (3.4, 0.96), (4.5, 0.72), (4.5, 0.3))         # height) of the
VAN = ((0, 0.32), (0, 1.1), (0.12, 1.95), (3.4, 1.98), (4.1, 1.12), (4.8, 0.85), (4.8, 0.32))         # outline
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
        """One of the colours, up to `by` lighter or darker, with a slight tint."""
        lighter = self.between(-by, by)
        return tuple(c + lighter + self.between(-by, by) / 3 for c in self.pick(colours))


@no_type_check
class Canvas:
    """What is visible at each pixel, at twice the resolution of the image, and the camera that sees it.

    Points are (x, y, z): metres to the right of the middle of the road, above the ground, and ahead of the camera.

    front   at each pixel, the index of the polygon that is visible there
    shade   at each pixel, how dark a shadow on the ground is, 0..255
    kinds   of each polygon, its class
    looks   of each polygon, red, green, blue, grain and depth
    owners  of each polygon, 1 + the index in `bodies` of the person whom it is part of, or 0
    bodies  of each person, "person" or "rider" and the polygons
    """

    def __init__(self, rows: int, cols: int, dice: Dice):
        self.rows, self.cols = rows, cols
        self.focal = dice.between(1.35, 1.65)      # focal length as a fraction of the rows
        self.horizon = dice.between(0.4, 0.5)      # row of the horizon as a fraction of the rows
        self.middle = dice.between(-0.12, 0.12)    # offset of the vanishing point to the right, as a fraction of rows
        self.height = dice.between(1.35, 1.9)      # of the camera
        self.road = -dice.between(0.9, 1.7)        # middle of the road, relative to the camera
        self.bend = dice.between(-0.0016, 0.0016)  # half the curvature of the road
        self.front = Image.new("I", (2 * cols, 2 * rows))
        self.shade = Image.new("L", (2 * cols, 2 * rows))
        self.front_pen, self.shade_pen = ImageDraw.Draw(self.front), ImageDraw.Draw(self.shade)
        self.kinds: list[str] = []
        self.looks: list[tuple[float, ...]] = []
        self.owners: list[int] = []
        self.bodies: list[tuple[str, list]] = []

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Perspective projection of a point to (col, row) on the canvas."""
        scale = 2 * self.rows * self.focal / z
        return (self.cols + 2 * self.rows * self.middle + (x + self.road + self.bend * z * z) * scale - 0.5,
                2 * self.rows * self.horizon + (self.height - y) * scale - 0.5)

    def nearest(self, x: float) -> float:
        """The smallest depth at which something at x is visible in an image twice as wide as high."""
        return max(4.5, self.focal * abs(x + self.road) / (1 + (self.middle if x < 0 else -self.middle)))

    def paint(self, pixels: list, z: float, kind: str, colour: Colour, grain: float, owner: int = 0):
        """Paint a polygon, given on the canvas, over what is there.

        grain  amplitude of its texture, relative to its brightness
        """
        if owner:
            self.bodies[owner - 1][1].append(pixels)
        self.front_pen.polygon(pixels, fill=len(self.kinds))
        self.kinds.append(kind)
        self.looks.append((*colour, grain, z))
        self.owners.append(owner)

    def fill(self, points: Sequence, kind: str, colour: Colour, grain: float = 0.05):
        """Paint a polygon given by points in space."""
        self.paint([self.project(*point) for point in points], points[0][2], kind, colour, grain)

    def shadow(self, points: Sequence, darkness: float):
        """Darken the ground, and nothing else, within a polygon; darkness in 0..1."""
        self.shade_pen.polygon([self.project(*point) for point in points], fill=round(255 * darkness))


@no_type_check
class Billboard:
    """A vertical plane that faces the camera at (x, z); shapes on it are (right, up) from its foot in `unit` metres."""

    def __init__(self, canvas: Canvas, kind: str, x: float, z: float, unit: float = 1.0):
        self.canvas, self.kind, self.z = canvas, kind, z
        self.u, self.v = canvas.project(x, 0, z)
        self.scale = 2 * canvas.rows * canvas.focal / z * unit
        self.owner = 0
        if kind in ("person", "rider"):
            canvas.bodies.append((kind, []))
            self.owner = len(canvas.bodies)

    def shape(self, points: Sequence, colour: Colour, grain: float = 0.05):
        pixels = [(self.u + x * self.scale, self.v - y * self.scale) for x, y in points]
        self.canvas.paint(pixels, self.z, self.kind, colour, grain, self.owner)

    def box(self, left: float, right: float, low: float, high: float, colour: Colour):
        self.shape(((left, low), (left, high), (right, high), (right, low)), colour)

    def oval(self, x: float, y: float, half_width: float, half_height: float, colour: Colour, grain: float = 0.05):
        self.shape([(x + half_width * c, y + half_height * s) for c, s in CIRCLE], colour, grain)

    def bar(self, x0: float, y0: float, x1: float, y1: float, width: float, colour: Colour):
        """A line from (x0, y0) to (x1, y1)."""
        half = width / 2 / (((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 + 1e-6)
        a, b = (y1 - y0) * half, (x1 - x0) * half
        self.shape(((x0 - a, y0 + b), (x0 + a, y0 - b), (x1 + a, y1 - b), (x1 - a, y1 + b)), colour)


@no_type_check
def times(colour: Colour, factor: float) -> Colour:
    return tuple(c * factor for c in colour)


@no_type_check
def ellipse(x: float, z: float, half_width: float, half_depth: float) -> list:
    """An ellipse on the ground."""
    return [(x + half_width * c, 0.0, z + half_depth * s) for c, s in CIRCLE]


@no_type_check
def strip(left: float, right: float, near: float = 1.2, far: float = END) -> list:
    """The ground between two distances from the middle of the road, and between two depths."""
    depths = [near * (far / near) ** (i / 9) for i in range(10)]
    return [(left, 0.0, z) for z in depths] + [(right, 0.0, z) for z in reversed(depths)]


class Side:
    """One side of the street; lengths are distances from the middle of the road.

    sign  -1 left, 1 right
    sun   strength of the sun, positive if it shines from this side
    park  whether there are trees instead of buildings
    lane  edge of the lane
    kerb  edge of the road, beyond parked cars if there is room for them
    walk  inner edge of the sidewalk, sometimes beyond a strip of grass
    line  outer edge of the sidewalk, where the buildings stand
    """

    def __init__(self, dice: Dice, sign: int, sun: float):
        self.sign, self.sun = sign, sun * sign
        self.park = dice.chance(0.2)
        self.lane = dice.between(2.6, 3.1)
        self.kerb = self.lane + (2.0 if dice.chance(0.5) else 0.2)
        self.walk = self.kerb + (dice.between(1.4, 2.6) if dice.chance(0.35) else 0.0)
        self.line = self.walk + dice.between(2.4, 4.0)


def backdrop(canvas: Canvas, dice: Dice):
    """Paint the far end of the street from side to side: low buildings and trees."""
    x = -130.0
    while x < 130:
        width, height = dice.between(8, 24), dice.between(5, 13)
        kind = dice.pick(("building", "vegetation"))
        is_uneven = kind == "vegetation"
        top = [(width * i / 8, height * dice.between(0.75, 1.05) ** is_uneven) for i in range(9)]
        colour = dice.near(LEAVES if is_uneven else WALLS)
        Billboard(canvas, kind, x, END).shape([(0, 0), *top, (width, 0)], colour)
        x += width


@no_type_check
def building(canvas: Canvas, dice: Dice, side: Side, near: float, far: float):
    """Paint a building from depth `near` to `far`: its end that faces the camera, a roof, the facade and windows."""
    x = side.sign * side.line
    middle, back = x + side.sign * 4.5, x + side.sign * 9
    height = dice.between(4.5, 15)
    wall = dice.near(WALLS, 22)
    ridge = height + dice.pick((0, 0, 2, 3))
    facade = times(wall, 1 - 0.3 * max(side.sun, 0))
    tiles = dice.near(TILES)

    def panel(z0: float, z1: float, low: float, high: float, colour: Colour):
        """A rectangle of the facade."""
        canvas.fill([(x, low, z0), (x, high, z0), (x, high, z1), (x, low, z1)], "building", colour)

    end = [(x, 0, near), (x, height, near), (middle, ridge, near), (back, height, near), (back, 0, near)]
    canvas.fill(end, "building", times(wall, 0.82))
    roof = [(x, height, near), (middle, ridge, near), (middle, ridge, far), (x, height, far)]
    canvas.fill(roof, "building", tiles, 0.1)
    panel(near, far, 0, height, facade)
    panel(near, far, 0, 0.5, times(facade, 0.8))

    storey = dice.between(2.9, 3.6)
    half_width = dice.between(0.2, 0.32)      # of a window, as a fraction of a bay
    glass = dice.near(GLASS)
    has_shop = dice.chance(0.45)
    n_bays = max(1, round((far - near) / dice.between(2.6, 3.6)))
    n_floors = min(int(height / storey), 5)
    bay = (far - near) / n_bays
    for i in range(n_bays):
        for floor in range(n_floors):
            tone = times(glass, dice.between(0.8, 1.3))
            if floor == 0 and has_shop:
                half, low, high = 0.45, 0.4, 2.5
            else:
                half, low, high = half_width, floor * storey + 0.9, floor * storey + 2.4
            z = near + bay * (i + 0.5)
            if 2 < z < 36:                    # beyond that, windows would blur
                u, v = canvas.project(x, low, z)
                if abs(u - canvas.cols) < 1.5 * canvas.cols and v > 0:
                    panel(z - bay * half, z + bay * half, low, high, tone)


def tree(canvas: Canvas, dice: Dice, x: float, z: float):
    """Paint a tree, a trunk and a crown of overlapping ovals, or a bush."""
    colour = dice.near(LEAVES)
    half_height = dice.between(1.5, 2.9)
    half_width = dice.between(1, 2)
    board = Billboard(canvas, "vegetation", x, z)
    middle = 2.1 * half_height
    if not dice.chance(0.75):                 # a bush
        middle, half_height = 0.7, 0.8
    canvas.shadow(ellipse(x, z, half_width, half_width), 0.6)
    board.box(-0.18, 0.18, 0, middle, (84, 74, 62))
    for light in (0.7, 0.7, 0.75, 1.0, 1.0, 1.05, 1.25):
        size = dice.between(0.42, 0.64)
        right = dice.between(-0.6, 0.6)
        up = dice.between(-0.5, 0.5) + (light - 1) * 0.6
        board.oval(right * half_width, middle + up * half_height, half_width * size, half_height * size,
                   times(colour, light), 0.28)


def lamp(canvas: Canvas, dice: Dice, x: float, z: float):
    """Paint a lamp post with its arm over the road."""
    height = dice.between(4.5, 7)
    half_width = dice.between(0.13, 0.2)
    arm = -dice.between(0.8, 1.8) * (1 if x > 0 else -1)
    grey = (dice.between(50, 190),) * 3
    board = Billboard(canvas, "pole", x, z)
    board.bar(0, height, arm, height + 0.3, 2 * half_width, grey)
    board.oval(arm, height + 0.25, 0.45, 0.2, times(grey, 1.2))
    board.box(-half_width, half_width, 0, height, grey)
    board.box(0.2 * half_width, half_width, 0, height, times(grey, 0.75))


def sign(canvas: Canvas, dice: Dice, x: float, z: float):
    """Paint a pole with one or two traffic signs: discs, triangles or rectangles."""
    y = dice.between(2.1, 2.8)
    board = Billboard(canvas, "traffic sign", x, z)
    grey = (dice.between(80, 180),) * 3
    Billboard(canvas, "pole", x, z).box(-0.11, 0.11, 0, y + 0.4, grey)
    heights = (y, y - 0.98) if dice.chance(0.3) else (y,)
    for up in heights:
        form = dice.pick(("disc", "triangle", "rectangle"))
        size = dice.between(0.4, 0.52)
        aspect = dice.between(0.7, 1.2)
        direction = dice.pick((-1, 1))        # a triangle points down or up
        rim, inside = dice.pick(SIGN_COLOURS)
        symbol = DARK if inside == WHITE else WHITE
        for part, colour in ((1, rim), (0.66, inside), (0.3, symbol)):
            half_width, tip = size * part * 1.1, size * part * direction
            if form == "triangle":
                corners = ((-half_width, up - tip * 0.8), (0, up + tip), (half_width, up - tip * 0.8))
                board.shape(corners, RED if part == 1 else WHITE)
            elif form == "disc" and part > 0.5:
                board.oval(0, up, size * part, size * part, colour)
            else:
                half_height = size * part / aspect
                board.box(-half_width * aspect, half_width * aspect, up - half_height, up + half_height, colour)


@no_type_check
def car(canvas: Canvas, dice: Dice, x: float, z: float, sun: float):
    """Paint a car whose nearer end is at depth z: its rear if it is on the right of the road, else its front."""
    body = dice.pick((HATCHBACK, SALOON, HATCHBACK, SALOON, VAN))
    paint = dice.near(PAINTS)
    glass = dice.near(GLASS[:3], 8)
    half_width = dice.between(0.83, 0.92)
    shows_rear = x > 0
    length, roof = body[-1][0], body[2][1]
    outline = body if shows_rear else [(length - d, y) for d, y in reversed(body)]
    belt, top = body[1][1] + 0.04, outline[1][1]
    flank = -1 if x + canvas.road > 0 else 1   # the flank that is visible

    def face(corners: Sequence, colour: Colour):
        """A polygon of (fraction of the half width, height, distance from the nearer end); the roof is narrower."""
        points = []
        for across, y, d in corners:
            narrowing = 1 - 0.16 * max(0.0, y - belt) / (roof - belt)
            points.append((x + across * half_width * narrowing, y, z + d))
        canvas.fill(points, "car", colour)

    def end(left: float, right: float, low: float, high: float, colour: Colour):
        """A rectangle of the nearer end."""
        face(((left, low, 0), (left, high, 0), (right, high, 0), (right, low, 0)), colour)

    corners = ((-1, -0.3), (1, -0.3), (1, length), (-1, length))
    canvas.shadow([(x + across * (half_width + 0.2), 0, z + d) for across, d in corners], 1)
    sill = ((0.14, 0.1), (0.14, length - 0.1), (0.5, length - 0.1), (0.5, 0.1))
    face([(flank, y, d) for y, d in sill], DARK)
    face([(flank, y, d) for d, y in outline], times(paint, 0.92 if sun * flank <= 0 else 0.7))
    cabin = [(d, y) for d, y in outline if y >= belt - 0.09]
    centre = sum(d for d, _ in cabin) / len(cabin)
    windows = [(flank, belt + 0.05 + max(0.0, y - belt) * 0.8, centre + (d - centre) * 0.82) for d, y in cabin]
    face(windows, glass)
    for axle in (0.75, length - 0.8):
        face([(flank, 0.32 + 0.32 * s, axle + 0.32 * c) for c, s in CIRCLE], DARK)
    bright = times(paint, 1.12)
    slopes = (paint, glass, bright) if shows_rear else (paint, paint, glass, bright)
    surfaces = list(zip(pairwise(outline), slopes, strict=False))
    for ((d0, y0), (d1, y1)), colour in reversed(surfaces):
        face(((-1, y0, d0), (-1, y1, d1), (1, y1, d1), (1, y0, d0)), colour)
    end(-0.95, 0.95, 0.14, 0.4, (44, 44, 46))                                           # bumper
    end(-0.5, 0.5, 0.44, top - 0.06, times(paint, 0.75) if shows_rear else (36, 36, 40))   # boot lid or grille
    for s in (-0.78, 0.78):
        end(s - 0.17, s + 0.17, 0, 0.32, DARK)                                          # tyre
        end(s - 0.18, s + 0.18, top - 0.3, top - 0.08, (200, 28, 30) if shows_rear else (250, 246, 232))   # light
    end(-0.3, 0.3, 0.46, 0.58, WHITE)                                                   # number plate


def person(canvas: Canvas, dice: Dice, x: float, z: float, sideways: bool):
    """Paint a pedestrian who walks across the image if `sideways`, else along the street."""
    is_adult = dice.chance(0.88)
    height = dice.between(1.55, 1.9) if is_adult else dice.between(1.1, 1.4)
    shirt, trousers, skin = dice.near(PAINTS), dice.near(PAINTS), dice.near(SKIN)
    hair = dice.near(SKIN[2:] + PAINTS[:3])
    stride = dice.between(0.07, 0.15) if sideways else dice.between(0.045, 0.07)
    half_width = 0.1 if sideways else 0.14
    direction = dice.pick((-1, 1))
    hem = dice.pick((0.46, 0.46, 0.32))
    shows_back = dice.chance(0.5) and not sideways
    canvas.shadow(ellipse(x, z, 0.35, 0.3), 0.8)
    board = Billboard(canvas, "person", x, z, height)
    for s in (-1, 1):
        foot = s * stride * direction
        board.bar(s * 0.03, 0.5, foot, 0.03, 0.11, times(trousers, 0.9 + 0.1 * s))
        board.box(foot - 0.035, foot + 0.045, 0, 0.04, DARK)
        hand = s * (half_width + stride * 0.7)
        board.bar(s * half_width * 0.9, 0.79, hand, 0.47, 0.07, times(shirt, 0.7 + 0.1 * s))
    torso = ((0.85, hem), (1, 0.78), (0.6, 0.83))   # the right half of its outline, upwards
    left = [(-half_width * a, b) for a, b in torso]
    right = [(half_width * a, b) for a, b in reversed(torso)]
    board.shape(left + right, shirt)
    board.box(-0.03, 0.03, 0.81, 0.88, skin)
    board.oval(0, 0.92, 0.065, 0.08, hair)
    if not shows_back:
        board.oval(0.02 * direction * sideways, 0.9, 0.05, 0.06, skin)


def bicycle(canvas: Canvas, dice: Dice, x: float, z: float, turn: float, ridden: bool = False):
    """Paint a bicycle, with its rider if `ridden`; |turn| is the visible fraction of its length, 1 from the side."""
    r = 0.52 * turn                               # half the distance of the axles
    frame = dice.near(PAINTS)
    board = Billboard(canvas, "bicycle", x, z)
    half_wheel = 0.35 * max(abs(turn), 0.25)
    apart = 0.12 * (1 - abs(turn))                # half the width of the bicycle that is visible
    canvas.shadow(ellipse(x, z, abs(r) + 0.3, 0.25), 0.7)
    for axle in (r, -r):
        board.oval(axle, 0.36, half_wheel, 0.36, DARK)
        board.oval(axle, 0.36, half_wheel * 0.66, 0.24, (96, 96, 96), 0.2)
    tubes = ((-1, 0.35, -0.3, 0.85), (-0.3, 0.85, 0.75, 0.85), (-0.1, 0.35, 0.75, 0.8), (-0.3, 0.85, -0.1, 0.35),
             (1, 0.35, 0.72, 1.02))
    for x0, y0, x1, y1 in tubes:
        board.bar(x0 * r, y0, x1 * r, y1, 0.1, frame)
    board.box(0.72 * r - 0.1 - 2.3 * apart, 0.72 * r + 0.1 + 2.3 * apart, 1.0, 1.07, DARK)   # handlebars
    board.box(-0.35 * r - 0.12, -0.35 * r + 0.12, 0.88, 0.96, DARK)                          # saddle
    if ridden:
        _rider(Billboard(canvas, "rider", x, z), dice, r, apart)


def _rider(board: Billboard, dice: Dice, r: float, apart: float):
    """Paint a cyclist; `r` and `apart` as in `bicycle`."""
    shirt, trousers, skin = dice.near(PAINTS), dice.near(PAINTS), dice.near(SKIN)
    cap = dice.near(SKIN[2:] + PAINTS)
    half_width = 0.14 + 0.7 * apart
    for s, knee, foot in ((-1, 0.72, 0.2), (1, 0.82, 0.42)):
        tone, side = times(trousers, 0.9 + 0.1 * s), s * apart
        board.bar(-0.3 * r + side, 0.95, 0.35 * r + side, knee, 0.17, tone)
        board.bar(0.35 * r + side, knee + 0.05, 0.05 * r + side, foot, 0.13, tone)
        board.bar(0.08 * r + s * half_width * 0.9, 1.4, 0.7 * r + 1.7 * side, 1.05, 0.09, times(shirt, 0.8))
    torso = ((-0.35 * r - half_width, 0.9), (0.05 * r - half_width, 1.42), (0.05 * r, 1.52),
             (0.1 * r + half_width, 1.42), (-0.25 * r + half_width, 0.9))
    board.shape(torso, shirt)
    board.oval(0.22 * r, 1.62, 0.11, 0.15, cap)
    board.oval(0.3 * r, 1.58, 0.08, 0.1, skin)
