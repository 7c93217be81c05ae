"""Leaky rectifiers in float64, one element at a time, as in Xu et al. (2015) and He et al. (2015)."""

import numpy as np


def leaky_relu(x, slope):
    """Returns x above 0 and slope * x elsewhere; `slope` has the shape of x."""
    y = np.array(x, "float64")
    for index in np.ndindex(y.shape):
        y[index] = y[index] if y[index] > 0 else float(slope[index]) * y[index]
    return y


def gradients(x, dy, slope):
    """Returns the derivatives of `sum(dy * y)` with respect to x and to each element's slope."""
    x = np.asarray(x, "float64")
    dx, dslope = np.empty_like(x), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above = x[index] > 0
        dx[index] = dy[index] * (1 if above else slope[index])
        dslope[index] = 0 if above else dy[index] * x[index]
    return dx, dslope
