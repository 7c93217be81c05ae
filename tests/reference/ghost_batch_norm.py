"""Ghost batch normalization in float64: batch normalization of one part after the other, as in Hoffer et al. (2017)."""

import math

import numpy as np

from tests.reference import batch_norm


def parts(examples, size):
    """Returns the lists of examples of the fewest parts of at most `size`, as equal as they can be."""
    return [list(part) for part in np.array_split(np.arange(examples), max(1, math.ceil(examples / size)))]


def batch_normalized(x, size, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None):
    """Returns `x`, each part of the batch normalized with its own statistics."""
    y = np.empty(np.shape(x), "float64")
    for part in parts(len(x), size):
        chosen = None if mask is None else np.asarray(mask)[part]
        y[part] = batch_norm.batch_normalized(np.asarray(x)[part], scale, bias, axis, epsilon, chosen)
    return y
