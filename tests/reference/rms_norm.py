"""Root mean square normalization in float64, one vector at a time, as in Zhang and Sennrich (2019)."""

import numpy as np

from tests.reference import layer_norm


def normalized(x, scale=None, bias=None, chosen=(-1,), epsilon=1e-6):
    """Returns `x`, each vector divided by its root mean square, times the scale, plus the bias."""
    x = np.asarray(x, "float64")
    y = np.empty_like(x)
    for where in layer_norm.vectors(x, chosen):
        values = x[where].ravel()
        root = np.sqrt(sum(value**2 for value in values) / len(values) + epsilon)
        y[where] = x[where] / root * (1 if scale is None else scale) + (0 if bias is None else bias)
    return y
