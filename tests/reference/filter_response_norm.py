"""Filter response normalization in float64, one map at a time, as in Singh and Krishnan (2019), section 3.1."""

import numpy as np


def normalized(x, scale=None, bias=None, axis=-1, epsilon=1e-6, mask=None):
    """Returns `x`, each channel of each example divided by its root mean square."""
    y = np.moveaxis(np.array(x, "float64"), axis, -1)
    for n in range(len(y)):
        counted = np.ones(y.shape[1:-1], bool) if mask is None else mask[n]
        for c in range(y.shape[-1]):
            values = y[n, ..., c][counted]
            nu_squared = sum(value**2 for value in values) / len(values)
            y[n, ..., c] /= np.sqrt(nu_squared + epsilon)
            y[n, ..., c] = y[n, ..., c] * (1 if scale is None else scale[c]) + (0 if bias is None else bias[c])
    return np.moveaxis(y, -1, axis)
