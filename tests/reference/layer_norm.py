"""Layer normalization in float64, one vector at a time, as in Ba, Kiros and Hinton (2016), and its kin without mean."""

import numpy as np


def vectors(x, chosen):
    """Yields where in `x` each of the vectors is that lie along the chosen axes."""
    chosen = {axis % x.ndim for axis in chosen}
    for index in np.ndindex(*(1 if i in chosen else length for i, length in enumerate(x.shape))):
        yield tuple(slice(None) if i in chosen else index[i] for i in range(x.ndim))


def normalized(x, scale=None, bias=None, chosen=(-1,), epsilon=1e-5):
    """Returns `x`, each vector less its mean and divided by its deviation, times the scale, plus the bias."""
    x = np.asarray(x, "float64")
    y = np.empty_like(x)
    for where in vectors(x, chosen):
        values = x[where].ravel()
        mean = sum(values) / len(values)
        variance = sum((values - mean) ** 2) / len(values)
        y[where] = (x[where] - mean) / np.sqrt(variance + epsilon) * (1 if scale is None else scale)
        y[where] += 0 if bias is None else bias
    return y
