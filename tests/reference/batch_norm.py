"""Batch normalization in float64, one channel at a time, as in Ioffe and Szegedy (2015), algorithm 1."""

import numpy as np


def moments(x, axis=-1, mask=None):
    """Returns the count, the means and the biased variances of the channels; of the rows where the mask is True."""
    rows = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    rows = rows.reshape(-1, rows.shape[-1]) if mask is None else rows[np.asarray(mask)].reshape(-1, rows.shape[-1])
    means, variances = [], []
    for channel in rows.T:
        mean = sum(channel) / len(channel)
        means.append(mean)
        variances.append(sum((channel - mean) ** 2) / len(channel))
    return len(rows), np.array(means), np.array(variances)


def normalized(x, mean, variance, scale=None, bias=None, axis=-1, epsilon=1e-5):
    """Returns `scale * (x - mean) / sqrt(variance + epsilon) + bias`."""
    y = np.moveaxis(np.array(x, "float64"), axis, -1)
    for c in range(y.shape[-1]):
        y[..., c] = (y[..., c] - mean[c]) / np.sqrt(variance[c] + epsilon)
        y[..., c] = y[..., c] * (1 if scale is None else scale[c]) + (0 if bias is None else bias[c])
    return np.moveaxis(y, -1, axis)


def batch_normalized(x, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None):
    """Returns `x`, normalized with its own statistics."""
    _, mean, variance = moments(x, axis, mask)
    return normalized(x, mean, variance, scale, bias, axis, epsilon)


def gradients(x, dy, scale=None, axis=-1, epsilon=1e-5):
    """Returns the derivatives of `sum(dy * y)` with respect to x, scale and bias, as worked out in the paper."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    dy = np.moveaxis(np.asarray(dy, "float64"), axis, -1)
    dx, dscale, dbias = np.empty_like(x), [], []
    for c in range(x.shape[-1]):
        channel, upstream = x[..., c], dy[..., c]
        root = np.sqrt(channel.var() + epsilon)
        xhat = (channel - channel.mean()) / root
        dbias.append(upstream.sum())
        dscale.append((upstream * xhat).sum())
        factor = (1 if scale is None else scale[c]) / root
        dx[..., c] = factor * (upstream - upstream.mean() - xhat * (upstream * xhat).mean())
    return np.moveaxis(dx, -1, axis), np.array(dscale), np.array(dbias)


def moving_average(values, momentum):
    """Returns the mean of the values, weighted by `momentum` to the power of their age."""
    weights = momentum ** np.arange(len(values))[::-1]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
