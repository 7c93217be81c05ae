"""Mean and variance over chosen axes, to the last digits also where the mean is large.

The mean comes in two parts, `mean + residual`. A float32 mean of many numbers is off
by some of their last digits; subtracting it leaves small numbers, and their mean, the
residual, is what it was off by. So the deviations are right also where the mean is
ten thousand standard deviations. Never a mean of squares minus a squared mean.
"""

import math
from typing import Any, NamedTuple

from keras import ops


class Moments(NamedTuple):
    """Statistics of numbers.

    Attributes:
        count: How many there are; 0 for none.
        mean: Their mean, as far as one number holds it; 0 for none.
        residual: What `mean` lost to rounding: the mean is `mean + residual`. No gradient flows through it: in exact
            arithmetic it is zero.
        variance: The biased variance; 0 for none.
    """

    count: Any
    mean: Any
    residual: Any
    variance: Any


def over(x, reduced, mask=None, joined=None):
    """Returns the `Moments` of `x` over some of its axes, which stay, with length 1.

    Args:
        x: Tensor, float32 or float64.
        reduced: Sequence of integers, the axes, none of them negative.
        mask: None or Boolean tensor that broadcasts against `x`. What it leaves out does not count, not even as NaN.
        joined: None or function that replaces means over these axes by means of several of them, in the same shape. The
            counts stay those of each, and must be equal for those it joins.
    """
    x = _kept(x, mask)
    count, mean, residual = means(x, reduced, mask, joined)
    variance = _mean(ops.square(x - mean - residual), count, reduced, mask, joined)
    return Moments(count, mean, residual, variance)


def means(x, reduced, mask=None, joined=None):
    """Returns count, mean and residual of the `Moments` of `x`; see `over`."""
    x = _kept(x, mask)
    count = _count(x, reduced, mask)
    mean = _mean(x, count, reduced, mask, joined)
    return count, mean, ops.stop_gradient(_mean(x - mean, count, reduced, mask, joined))


def mean(values, reduced, mask=None):
    """Returns the mean of some values over some axes, which stay, with length 1; of no values it is 0. See `over`."""
    return _mean(values, _count(values, reduced, mask), reduced, mask)


def standardized(x, reduced, epsilon, mask=None, joined=None):
    """Returns `(x - mean) / sqrt(variance + epsilon)`, the moments taken over some axes.

    Args:
        x, reduced, mask, joined: See `over`. All of `x` is standardized, whether it counts or not.
        epsilon: Float, added to the variance.
    """
    moments = over(x, reduced, mask, joined)
    return (x - moments.mean - moments.residual) * ops.rsqrt(moments.variance + epsilon)


def _kept(values, mask):
    return values if mask is None else ops.where(mask, values, 0.0)


def _mean(values, count, reduced, mask, joined=None):
    # PyTorch would sum over all axes where none is named.
    total = ops.sum(_kept(values, mask), axis=reduced, keepdims=True) if reduced else _kept(values, mask)
    each = total / ops.maximum(count, 1.0)
    return each if joined is None else joined(each)


def _count(x, reduced, mask):
    lengths = ops.shape(x)
    if mask is None:
        return ops.cast(math.prod(lengths[i] for i in reduced), x.dtype)
    # One value of the mask stands for a whole axis where the mask has length 1.
    each = math.prod(lengths[i] for i in reduced if mask.shape[i] == 1)
    count = ops.cast(mask, x.dtype)
    count = ops.sum(count, axis=reduced, keepdims=True) if reduced else count
    return count * ops.cast(each, x.dtype)
