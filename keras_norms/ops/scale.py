"""Multiplication by a learned factor: `y = x * scale`, one factor per channel or one for all.

The first half of Caffe's Scale layer, the second half of batch normalization.
"""

from keras import ops

from keras_norms.ops import precision


def scaled(x, scale):
    """Returns `x * scale` in the dtype of `x`, computed in float32, so that the gradient of the scale is summed in it.

    Args:
        x: Floating tensor.
        scale: Tensor that broadcasts against `x`.
    """
    x = ops.convert_to_tensor(x)
    return ops.cast(precision.wide(x) * scale, x.dtype)
