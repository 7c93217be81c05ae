"""Local response normalization in float64, one element at a time, as Caffe defines it."""

import numpy as np


def normalized(x, size=5, alpha=1e-4, beta=0.75, k=1.0, axis=-1):
    """Returns `x` over `(k + alpha / size * energy) ** beta`."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        energy = sum(x[(*index[:-1], j)] ** 2 for j in _neighbours(index[-1], size, x.shape[-1]))
        y[index] = x[index] / (k + alpha / size * energy) ** beta
    return np.moveaxis(y, -1, axis)


def gradient(x, dy, size=5, alpha=1e-4, beta=0.75, k=1.0):
    """Returns the derivative of `sum(dy * y)` with respect to `x`, channels last, by the quotient rule."""
    x, dy = np.asarray(x, "float64"), np.asarray(dy, "float64")
    dx = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        row = index[:-1]
        neighbours = _neighbours(index[-1], size, x.shape[-1])
        base = k + alpha / size * sum(x[(*row, j)] ** 2 for j in neighbours)
        dx[index] += dy[index] * base**-beta
        for j in neighbours:
            dx[(*row, j)] -= dy[index] * x[index] * beta * base ** (-beta - 1) * 2 * alpha / size * x[(*row, j)]
    return dx


def _neighbours(channel, size, channels):
    return range(max(channel - size // 2, 0), min(channel + size // 2 + 1, channels))
