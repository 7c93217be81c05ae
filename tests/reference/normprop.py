"""Normalization propagation in float64, one unit at a time, and moments by summation over a fine grid."""

import numpy as np


def moments(function, scale=1.0, reach=12.0, cells=1_200_000):
    """Returns E f(scale * z), its variance, and E (d f(scale * z) / dz) ** 2: sums over cells of equal width."""
    edges = np.linspace(-reach, reach, cells + 1)
    z, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    weights = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * width
    values = function(scale * z)
    slopes = np.diff(function(scale * edges)) / width
    mean = (weights * values).sum()
    return mean, (weights * (values - mean) ** 2).sum(), (weights * slopes**2).sum()


def layer(x, v, scale, bias, function, mean, deviation):
    """Returns `(function(scale * v . x / ||v|| + bias) - mean) / deviation`.

    Args:
        x: Array of shape `(rows, inputs)`.
        v: Array of shape `(inputs, units)`.
        scale, bias: Arrays of shape `(units,)`.
        function: Function of a float.
        mean, deviation: Floats.
    """
    x, v = np.asarray(x, "float64"), np.asarray(v, "float64")
    y = np.empty((len(x), v.shape[1]))
    for row, unit in np.ndindex(y.shape):
        length = np.sqrt(sum(element**2 for element in v[:, unit]))
        pre_activation = scale[unit] * sum(v[:, unit] * x[row]) / length + bias[unit]
        y[row, unit] = (function(pre_activation) - mean) / deviation
    return y


def added(streams, correlation):
    """Returns the sum of the streams, divided by the root of its variance: the sum of their correlation matrix."""
    count = len(streams)
    variance = sum(1.0 if i == j else correlation for i in range(count) for j in range(count))
    return sum(np.asarray(stream, "float64") for stream in streams) / np.sqrt(variance)
