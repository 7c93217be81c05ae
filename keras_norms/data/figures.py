"""Ten plane figures, each a function that says how deep a point lies inside it.

Depth is positive inside, zero on the border and negative outside, and changes no faster than the distance moved. Each
figure fits the disc of radius 1 about the origin and is its own mirror image: turned or mirrored, it stays what it is.

Every function takes two `float32` arrays of coordinates and returns the depths in their shape. Only `+ - * /`, square
roots and comparisons are used, which IEEE 754 rounds in one way, so that every machine draws the same bits.
"""

import numpy as np

_HALF_ROOT_OF_TWO = 0.7071067811865476
_HALF_ROOT_OF_THREE = 0.8660254037844386
# The five lines of a star: their outward normals, a fifth of a turn apart, and their distance from the centre.
_STAR_NORMALS = (
    (0.0, 1.0),
    (0.9510565162951535, 0.30901699437494745),
    (-0.9510565162951535, 0.30901699437494745),
    (0.5877852522924731, -0.8090169943749475),
    (-0.5877852522924731, -0.8090169943749475),
)
_STAR_DISTANCE = 0.30901699437494745


def disc(x, y, radius=1.0):
    """Returns the depth in a disc about the origin."""
    return radius - np.sqrt(x * x + y * y)


def ring(x, y):
    """Returns the depth in a ring whose hole has radius 0.6."""
    outer = disc(x, y)
    return np.minimum(outer, 0.4 - outer)


def half_disc(x, y):
    """Returns the depth in half a disc of radius 0.95, its straight side at `y = -0.3`."""
    y = y + 0.3
    return np.minimum(disc(x, y, 0.95), y)


def crescent(x, y):
    """Returns the depth in a disc without a second one, of radius 0.85 and 0.45 beside the first."""
    return np.minimum(disc(x, y), -disc(x, y - 0.45, 0.85))


def triangle(x, y):
    """Returns the depth in a triangle of three equal sides."""
    return 0.5 - np.maximum(_HALF_ROOT_OF_THREE * np.abs(x) + 0.5 * y, -y)


def rectangle(x, y, half_width, half_height):
    """Returns the depth in a rectangle about the origin."""
    return np.minimum(half_width - np.abs(x), half_height - np.abs(y))


def square(x, y):
    """Returns the depth in a square of side 1.4."""
    return rectangle(x, y, 0.7, 0.7)


def bar(x, y):
    """Returns the depth in a bar, 1.92 long and 0.5 wide."""
    return rectangle(x, y, 0.96, 0.25)


def cross(x, y):
    """Returns the depth in a cross of two bars, 1.9 long and 0.56 wide."""
    return np.maximum(rectangle(x, y, 0.95, 0.28), rectangle(x, y, 0.28, 0.95))


def star(x, y):
    """Returns the depth in a star of five points: the second lowest depth behind its five lines.

    A point of the star lies behind all five lines, or beyond one of them alone.
    """
    lowest = second = np.full_like(x, np.inf)
    for normal_x, normal_y in _STAR_NORMALS:
        depth = _STAR_DISTANCE - (normal_x * x + normal_y * y)
        second = np.minimum(second, np.maximum(lowest, depth))
        lowest = np.minimum(lowest, depth)
    return second


def heart(x, y):
    """Returns the depth in a heart: a square of half diagonal 0.78 on its corner, half a disc on each upper side."""
    x, y = np.abs(x), y + 0.2
    standing_square = _HALF_ROOT_OF_TWO * (0.78 - x - np.abs(y))
    return np.maximum(standing_square, disc(x - 0.39, y - 0.39, 0.78 * _HALF_ROOT_OF_TWO))


FIGURES = {f.__name__: f for f in (disc, ring, half_disc, crescent, triangle, square, bar, cross, star, heart)}
