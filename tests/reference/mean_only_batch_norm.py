"""Mean-only batch normalization in float64, one channel at a time, as in Salimans and Kingma (2016), section 3."""

import numpy as np


def normalized(x, mean, bias=None, axis=-1):
    """Returns `x - mean + bias`."""
    y = np.moveaxis(np.array(x, "float64"), axis, -1)
    for c in range(y.shape[-1]):
        y[..., c] = y[..., c] - mean[c] + (0 if bias is None else bias[c])
    return np.moveaxis(y, -1, axis)


def batch_normalized(x, bias=None, axis=-1, mask=None):
    """Returns `x` less its own mean, plus a bias."""
    rows = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    rows = rows.reshape(-1, rows.shape[-1]) if mask is None else rows[mask]
    means = [sum(channel) / len(channel) for channel in rows.T]
    return normalized(x, means, bias, axis)


def gradients(dy, axis=-1):
    """Returns the derivatives of `sum(dy * y)` with respect to x and bias: the gradient loses its mean."""
    dy = np.moveaxis(np.array(dy, "float64"), axis, -1)
    dx, dbias = np.empty_like(dy), []
    for c in range(dy.shape[-1]):
        dx[..., c] = dy[..., c] - dy[..., c].mean()
        dbias.append(dy[..., c].sum())
    return np.moveaxis(dx, -1, axis), np.array(dbias)
