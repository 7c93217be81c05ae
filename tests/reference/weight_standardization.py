"""Weight standardization in float64, one output unit at a time: Qiao et al. (2019), and scaled, Brock et al. (2021)."""

import numpy as np


def units(v, kept):
    """Yields the index of each output unit, and where its weights are in `v`."""
    kept = sorted(axis % v.ndim for axis in kept)
    for unit in np.ndindex(*(v.shape[axis] for axis in kept)):
        where = [slice(None)] * v.ndim
        for axis, index in zip(kept, unit, strict=True):
            where[axis] = index
        yield unit, tuple(where)


def standardized(v, kept=(-1,), epsilon=1e-6):
    """Returns `(v - mean) / sqrt(variance + epsilon)`."""
    v = np.asarray(v, "float64")
    w = np.empty_like(v)
    for _, where in units(v, kept):
        weights = v[where].ravel()
        mean = sum(weights) / len(weights)
        variance = sum((weights - mean) ** 2) / len(weights)
        w[where] = (v[where] - mean) / np.sqrt(variance + epsilon)
    return w


def scaled_standardized(v, scale=None, kept=(-1,), epsilon=1e-4):
    """Returns `scale * (v - mean) / sqrt(max(fan_in * variance, epsilon))`."""
    v = np.asarray(v, "float64")
    w = np.empty_like(v)
    for unit, where in units(v, kept):
        weights = v[where].ravel()
        mean = sum(weights) / len(weights)
        squares = sum((weights - mean) ** 2)  # fan_in times the variance
        w[where] = (1 if scale is None else scale[unit]) * (v[where] - mean) / np.sqrt(max(squares, epsilon))
    return w
