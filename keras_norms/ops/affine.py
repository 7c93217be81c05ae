"""Multiplication by a learned factor and addition of a learned summand: `y = x * scale + bias`.

The second half of every normalization. Either may be absent.
"""

from keras_norms.ops import axes


def transformed(x, scale, bias, chosen):
    """Returns `x * scale + bias`.

    Args:
        x: Tensor, float32 or float64.
        scale, bias: Tensors of the dtype of `x`, with one axis for each in `chosen`; None for 1 and 0.
        chosen: Sequence of integers, the axes of `x` that the values lie along.
    """
    x = x if scale is None else x * axes.along(scale, x, chosen)
    return x if bias is None else x + axes.along(bias, x, chosen)
