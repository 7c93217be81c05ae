"""Normalization propagation: units that keep mean 0 and variance 1 by arithmetic, without statistics of a batch.

    y = (f(scale * w . x / ||w|| + bias) - mean) / deviation

with the mean and standard deviation of f for a normal variable (`gaussian_moments`), and
for streams of variance 1 that are added

    y = (x_1 + ... + x_n) / sqrt(n + n * (n - 1) * correlation)

Arpit, Zhou, Kota and Govindaraju, "Normalization Propagation: A Parametric Technique for
Removing Internal Covariate Shift in Deep Networks", 2016, https://arxiv.org/abs/1603.01431.
The sum is not in the paper. The weight is `weight_normalization`'s.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

import math

from keras import ops

from keras_norms.ops import precision


def standardized(x, mean, deviation):
    """Returns `(x - mean) / deviation`, in the dtype of `x`.

    Args:
        x: Floating tensor, what an activation returned.
        mean, deviation: Floats, its expected moments.
    """
    x = ops.convert_to_tensor(x)
    return ops.cast((precision.wide(x) - mean) * (1 / deviation), x.dtype)


def added(inputs, correlation=0.0):
    """Returns the sum of tensors of variance 1, scaled to variance 1, in the dtype of the first.

    Args:
        inputs: Sequence of floating tensors that broadcast against each other.
        correlation: Float, the correlation of each pair of them.
    """
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    total = sum(precision.wide(x) for x in inputs)
    return ops.cast(total * (1 / math.sqrt(variance_of_sum(len(inputs), correlation))), inputs[0].dtype)


def variance_of_sum(count, correlation):
    """Returns the variance of the sum of variables of variance 1, each two of which are so correlated."""
    return count * (1 + (count - 1) * correlation)
