"""Filter response normalization: each channel of each example divided by its root mean square.

    y = x / sqrt(mean(x ** 2) + epsilon) * scale + bias

with the mean over the positions, all axes but those of batch and channels. Nothing is
subtracted, and no example sees another. Singh and Krishnan, "Filter Response
Normalization Layer: Eliminating Batch Dependence in the Training of Deep Neural
Networks", 2019, https://arxiv.org/abs/1911.09737. No deviation.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import affine, axes, centred_moments, precision


def normalized(x, scale=None, bias=None, axis=-1, epsilon=1e-6, mask=None):
    """Returns `x / sqrt(mean(x ** 2) + epsilon) * scale + bias`, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 3.
        scale, bias: Tensors of shape `(channels,)`, or None for 1 and 0.
        axis: Integer, the channel axis.
        epsilon: Float or scalar tensor, added to the mean square.
        mask: None or Boolean tensor, see `axes.along_mask`. All positions are normalized, whether they count or not.
    """
    x = ops.convert_to_tensor(x)
    wide = precision.wide(x)
    mask = mask if mask is None else axes.along_mask(mask, x, axis)
    mean_square = centred_moments.mean(ops.square(wide), axes.positions(len(x.shape), axis), mask)
    y = wide * ops.rsqrt(mean_square + epsilon)
    return ops.cast(affine.transformed(y, scale, bias, (axis,)), x.dtype)
