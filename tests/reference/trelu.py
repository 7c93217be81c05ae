"""Translated rectifiers in float64, one element at a time, as in Xiang and Li (2017) and their PyTorch code."""

import numpy as np


def translated_relu(x, threshold, axis=-1):
    """Returns `ReLU(x - threshold) + threshold`. The slope of 0 is that of a leaky one."""
    return translated_prelu(x, threshold, np.zeros(len(threshold)), axis)


def translated_prelu(x, threshold, slope, axis=-1):
    """Returns `PReLU(x - threshold) + threshold` with slopes clamped to [0, 1]."""
    y = np.moveaxis(np.array(x, "float64"), axis, -1)
    for index in np.ndindex(y.shape):
        t, a = float(threshold[index[-1]]), min(max(float(slope[index[-1]]), 0.0), 1.0)
        distance = y[index] - t
        # The sum would lose digits of what is above; the limit of the sum does not.
        y[index] = y[index] if distance > 0 else a * distance + t
    return np.moveaxis(y, -1, axis)


def gradients(x, dy, threshold, slope, axis=-1):
    """Returns the derivatives of `sum(dy * translated_prelu(x))` with respect to x, threshold and slope."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    dy = np.moveaxis(np.asarray(dy, "float64"), axis, -1)
    dx, dthreshold, dslope = np.empty_like(x), np.zeros(len(threshold)), np.zeros(len(threshold))
    for index in np.ndindex(x.shape):
        c = index[-1]
        t, a = float(threshold[c]), min(max(float(slope[c]), 0.0), 1.0)
        above = x[index] > t
        dx[index] = dy[index] * (1 if above else a)
        dthreshold[c] += 0 if above else (1 - a) * dy[index]
        dslope[c] += 0 if above or not 0 <= slope[c] <= 1 else (x[index] - t) * dy[index]
    return np.moveaxis(dx, -1, axis), dthreshold, dslope
