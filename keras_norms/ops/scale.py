"""Multiplication by a learned factor: `y = x * scale`, one factor per channel or one for all.

The first half of Caffe's Scale layer, the second half of batch normalization.
"""

from keras import ops


def scaled(x, scale):
    """Returns `x * scale` in the dtype of `x`.

    Args:
        x: Floating tensor.
        scale: Tensor that broadcasts against `x`.
    """
    x = ops.convert_to_tensor(x)
    return x * ops.cast(scale, x.dtype)
