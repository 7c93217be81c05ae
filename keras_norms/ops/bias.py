"""Addition of a learned constant: `y = x + bias`, one constant per channel or one for all."""

from keras import ops


def shifted(x, bias):
    """Returns `x + bias` in the dtype of `x`.

    Args:
        x: Floating tensor.
        bias: Tensor that broadcasts against `x`.
    """
    x = ops.convert_to_tensor(x)
    return x + ops.cast(bias, x.dtype)
