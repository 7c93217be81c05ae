"""Weight normalization in float64, one output unit at a time, as in Salimans and Kingma (2016), section 2."""

import numpy as np


def _units(v, kept):
    """Yields the index of each output unit, and where its vector is in `v`."""
    kept = sorted(axis % v.ndim for axis in kept)
    for unit in np.ndindex(*(v.shape[axis] for axis in kept)):
        where = [slice(None)] * v.ndim
        for axis, index in zip(kept, unit, strict=True):
            where[axis] = index
        yield unit, tuple(where)


def norm(v, kept=(-1,), epsilon=0.0):
    """Returns the Euclidean length of the vector of each output unit."""
    v = np.asarray(v, "float64")
    length = np.empty([v.shape[axis] for axis in sorted(axis % v.ndim for axis in kept)])
    for unit, where in _units(v, kept):
        length[unit] = np.sqrt(sum(element**2 for element in v[where].ravel()) + epsilon)
    return length


def normalized(v, scale=None, kept=(-1,), epsilon=0.0):
    """Returns `scale / ||v|| * v`."""
    v = np.asarray(v, "float64")
    w, length = np.empty_like(v), norm(v, kept, epsilon)
    for unit, where in _units(v, kept):
        w[where] = (1.0 if scale is None else np.asarray(scale, "float64")[unit]) / length[unit] * v[where]
    return w


def gradients(v, scale, dw, kept=(-1,)):
    """Returns the gradients of v and of the scale, equation 3 of the paper."""
    v, dw = np.asarray(v, "float64"), np.asarray(dw, "float64")
    dv, length = np.empty_like(v), norm(v, kept)
    dscale = np.empty_like(length)
    for unit, where in _units(v, kept):
        dscale[unit] = (dw[where] * v[where]).sum() / length[unit]
        dv[where] = scale[unit] / length[unit] * dw[where] - scale[unit] * dscale[unit] / length[unit] ** 2 * v[where]
    return dv, dscale
