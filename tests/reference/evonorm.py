"""EvoNorm-B0 and -S0 in float64, one element at a time, as in Liu et al. (2020), table 1."""

import numpy as np


def batch_activated(x, variance, slope, scale=None, bias=None, axis=-1, epsilon=1e-3, mask=None):
    """Returns B0: `x / max(sqrt(s2_batch + eps), v1 x + sqrt(s2_instance + eps)) * gamma + beta`."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        n, c = index[0], index[-1]
        counted = np.ones(x.shape[1:-1], bool) if mask is None else mask[n]
        instance = np.sqrt(x[n, ..., c][counted].var() + epsilon)
        divisor = max(np.sqrt(variance[c] + epsilon), slope[c] * x[index] + instance)
        y[index] = x[index] / divisor * (1 if scale is None else scale[c]) + (0 if bias is None else bias[c])
    return np.moveaxis(y, -1, axis)


def sample_activated(x, groups, slope, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None):
    """Returns S0: `x sigmoid(v1 x) / sqrt(s2_group + eps) * gamma + beta`."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    y, width = np.empty_like(x), x.shape[-1] // groups
    for index in np.ndindex(x.shape):
        n, c = index[0], index[-1]
        counted = np.ones(x.shape[1:-1], bool) if mask is None else mask[n]
        group = x[n][counted][..., c // width * width : (c // width + 1) * width]
        activated = x[index] * (1 + np.tanh(slope[c] * x[index] / 2)) / 2  # the sigmoid, without overflow
        y[index] = activated / np.sqrt(group.var() + epsilon)
        y[index] = y[index] * (1 if scale is None else scale[c]) + (0 if bias is None else bias[c])
    return np.moveaxis(y, -1, axis)
