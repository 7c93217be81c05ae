"""Group normalization in float64, one group of one example at a time, as in Wu and He (2018)."""

import numpy as np


def normalized(x, groups, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None):
    """Returns `x`, normalized within each group of channels of each example."""
    y = np.moveaxis(np.array(x, "float64"), axis, -1)
    width = y.shape[-1] // groups
    for n in range(len(y)):
        counted = np.ones(y.shape[1:-1], bool) if mask is None else mask[n]
        for g in range(groups):
            channels = slice(g * width, (g + 1) * width)
            values = y[n][counted][..., channels].ravel()
            mean = sum(values) / len(values)
            variance = sum((values - mean) ** 2) / len(values)
            y[n][..., channels] = (y[n][..., channels] - mean) / np.sqrt(variance + epsilon)
    for c in range(y.shape[-1]):
        y[..., c] = y[..., c] * (1 if scale is None else scale[c]) + (0 if bias is None else bias[c])
    return np.moveaxis(y, -1, axis)
