"""Layer normalization: chosen axes of each example normalized together.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias

with mean and biased variance over the chosen axes; scale and bias have a value for
each element of them. Ba, Kiros and Hinton, "Layer Normalization", 2016,
https://arxiv.org/abs/1607.06450. The epsilon is not in the paper.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import affine, axes, centred_moments, precision


def normalized(x, scale=None, bias=None, chosen=(-1,), epsilon=1e-5):
    """Returns `x`, normalized over the chosen axes, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        scale, bias: Tensors with one axis for each in `chosen`, or None for 1 and 0.
        chosen: Sequence of integers, the axes to normalize together; not the batch axis.
        epsilon: Float, added to the variance.
    """
    x = ops.convert_to_tensor(x)
    reduced = tuple(axes.positive(axis, len(x.shape)) for axis in chosen)
    y = centred_moments.standardized(precision.wide(x), reduced, epsilon)
    return ops.cast(affine.transformed(y, scale, bias, chosen), x.dtype)
