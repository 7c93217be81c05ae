"""Maxout, one unit at a time, as in Goodfellow et al. (2013), with the channels in the order of TensorFlow Addons."""

import numpy as np


def maxout(x, pieces, axis=-1):
    """Returns the maximum over the channels `j`, `units + j`, `2 * units + j`, ... for each unit j."""
    x = np.moveaxis(np.asarray(x), axis, -1)
    units = x.shape[-1] // pieces
    y = np.empty((*x.shape[:-1], units), x.dtype)
    for index in np.ndindex(y.shape):
        y[index] = max(x[(*index[:-1], i * units + index[-1])] for i in range(pieces))
    return np.moveaxis(y, -1, axis)


def gradient(x, dy, pieces):
    """Returns the derivative of `sum(dy * maxout(x))`, channels last: that of each unit goes to the first winner."""
    dx = np.zeros(x.shape)
    units = x.shape[-1] // pieces
    for index in np.ndindex(dy.shape):
        values = [x[(*index[:-1], i * units + index[-1])] for i in range(pieces)]
        dx[(*index[:-1], values.index(max(values)) * units + index[-1])] = dy[index]
    return dx
