"""Root mean square normalization: chosen axes of each example divided by their root mean square.

    y = x / sqrt(mean(x ** 2) + epsilon) * scale + bias

with the mean over the chosen axes; scale and bias have a value for each element of
them. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019,
https://arxiv.org/abs/1910.07467. The epsilon is not in the paper.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import affine, axes, centred_moments, precision


def normalized(x, scale=None, bias=None, chosen=(-1,), epsilon=1e-6):
    """Returns `x`, divided by its root mean square over the chosen axes, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        scale, bias: Tensors with one axis for each in `chosen`, or None for 1 and 0.
        chosen: Sequence of integers, the axes to normalize together; not the batch axis.
        epsilon: Float, added to the mean square.
    """
    x = ops.convert_to_tensor(x)
    wide = precision.wide(x)
    mean_square = centred_moments.mean(ops.square(wide), tuple(axes.positive(axis, len(x.shape)) for axis in chosen))
    return ops.cast(affine.transformed(wide * ops.rsqrt(mean_square + epsilon), scale, bias, chosen), x.dtype)
