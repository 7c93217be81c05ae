"""Addition of a learned constant: `y = x + bias`, one constant per channel or one for all."""

from keras import ops

from keras_norms.ops import precision


def shifted(x, bias):
    """Returns `x + bias` in the dtype of `x`, computed in float32, so that the gradient of the bias is summed in it.

    Args:
        x: Floating tensor.
        bias: Tensor that broadcasts against `x`.
    """
    x = ops.convert_to_tensor(x)
    return ops.cast(precision.wide(x) + bias, x.dtype)
