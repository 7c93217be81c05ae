"""Batch renormalization in float64, one channel at a time, as in Ioffe (2017), algorithm 1."""

import numpy as np


def corrections(x, mean, variance, maximum_scale, maximum_shift, axis=-1, epsilon=1e-5):
    """Returns r and d of each channel."""
    r, d = [], []
    for c, channel in enumerate(np.moveaxis(np.asarray(x, "float64"), axis, -1).reshape(-1, np.shape(x)[axis]).T):
        sigma_b, sigma = np.sqrt(channel.var() + epsilon), np.sqrt(variance[c] + epsilon)
        r.append(min(max(sigma_b / sigma, 1 / maximum_scale), maximum_scale))
        d.append(min(max((channel.mean() - mean[c]) / sigma, -maximum_shift), maximum_shift))
    return np.array(r), np.array(d)


def batch_normalized(x, r, d, scale=None, bias=None, axis=-1, epsilon=1e-5):
    """Returns `((x - mean) / sigma_b * r + d) * scale + bias`."""
    y = np.moveaxis(np.array(x, "float64"), axis, -1)
    for c in range(y.shape[-1]):
        channel = y[..., c]
        corrected = (channel - channel.mean()) / np.sqrt(channel.var() + epsilon) * r[c] + d[c]
        y[..., c] = corrected * (1 if scale is None else scale[c]) + (0 if bias is None else bias[c])
    return np.moveaxis(y, -1, axis)
