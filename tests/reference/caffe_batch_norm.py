"""Caffe's BatchNorm and Scale in float64, one channel at a time, as batch_norm_layer.cpp and scale_layer.cpp of
BVLC/caffe (9b891540) define them. Channels are the axis 1, as they always are there."""

import numpy as np

TRAIN, TEST = "TRAIN", "TEST"


class Blobs:
    """What a BatchNorm keeps: two sums and the weight of what they hold, all from zero.

    Two layers with the same name in a training and a test net, and layers of one net whose `param` have the same names,
    have the same blobs.
    """

    def __init__(self, channels):
        self.mean = np.zeros(channels)
        self.variance = np.zeros(channels)
        self.factor = 0.0

    def statistics(self):
        """Returns mean and variance as a layer with global statistics reads them."""
        factor = 0 if self.factor == 0 else 1 / self.factor
        return factor * self.mean, factor * self.variance


def batch_norm(x, blobs, phase, use_global_stats=None, moving_average_fraction=0.999, eps=1e-5):
    """Returns the output, and adds to the blobs unless it is normalized with them."""
    x = np.asarray(x, "float64")
    if _is_global(phase, use_global_stats):
        return _normalized(x, *blobs.statistics(), eps)
    m, mean, variance = _moments(x)
    blobs.factor = moving_average_fraction * blobs.factor + 1
    blobs.mean = moving_average_fraction * blobs.mean + mean
    blobs.variance = moving_average_fraction * blobs.variance + variance * (m / (m - 1) if m > 1 else 1)
    return _normalized(x, mean, variance, eps)


def batch_norm_gradient(x, dy, blobs, phase, use_global_stats=None, eps=1e-5):
    """Returns the derivative of `sum(dy * y)` with respect to `x`, as the layer's backward pass has it."""
    x, dy = np.asarray(x, "float64"), np.asarray(dy, "float64")
    if _is_global(phase, use_global_stats):
        return _normalized(dy, 0 * blobs.mean, blobs.statistics()[1], eps)
    _, mean, variance = _moments(x)
    y, dx = _normalized(x, mean, variance, eps), np.empty_like(x)
    for c in range(x.shape[1]):
        inner = dy[:, c] - dy[:, c].mean() - (dy[:, c] * y[:, c]).mean() * y[:, c]
        dx[:, c] = inner / np.sqrt(variance[c] + eps)
    return dx


def scale(x, factors, bias=None):
    """Returns `x` times one factor per channel, plus the bias if `bias_term` is true; `num_axes: 0` is one number."""
    y = np.array(x, "float64")
    factors, summands = (np.broadcast_to(value, y.shape[1]) for value in (factors, 0 if bias is None else bias))
    for c in range(y.shape[1]):
        y[:, c] = y[:, c] * factors[c] + summands[c]
    return y


def _is_global(phase, use_global_stats):
    return phase == TEST if use_global_stats is None else use_global_stats


def _moments(x):
    channels = [x[:, c].ravel() for c in range(x.shape[1])]
    mean = np.array([sum(channel) / len(channel) for channel in channels])
    variance = np.array([sum((v - mu) ** 2) / len(v) for v, mu in zip(channels, mean, strict=True)])
    return len(channels[0]), mean, variance


def _normalized(x, mean, variance, eps):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        y[:, c] = (x[:, c] - mean[c]) / np.sqrt(variance[c] + eps)
    return y
