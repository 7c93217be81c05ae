"""Group normalization: groups of channels, normalized within each example.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias

with mean and biased variance over the channels of a group and all positions of one
example; scale and bias are per channel. Wu and He, "Group Normalization", 2018,
https://arxiv.org/abs/1803.08494. With as many groups as channels it is instance
normalization: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing
Ingredient for Fast Stylization", 2016, https://arxiv.org/abs/1607.08022. No deviation.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import affine, axes, centred_moments, precision


def normalized(x, groups, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None):
    """Returns `x`, normalized within each group, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        groups: Integer that divides the number of channels. Neighbouring channels are in one group.
        scale, bias: Tensors of shape `(channels,)`, or None for 1 and 0.
        axis: Integer, the channel axis.
        epsilon: Float, added to the variance.
        mask: None or Boolean tensor, see `axes.along_mask`. All positions are normalized, whether they count or not.
    """
    x = ops.convert_to_tensor(x)
    apart, reduced, mask = grouped(precision.wide(x), groups, axis, mask)
    y = ops.reshape(centred_moments.standardized(apart, reduced, epsilon, mask), ops.shape(x))
    return ops.cast(affine.transformed(y, scale, bias, (axis,)), x.dtype)


def grouped(x, groups, axis, mask=None):
    """Returns `x` with its groups along an axis of their own, and what to reduce for their statistics.

    Args:
        x, groups, axis, mask: See `normalized`.

    Returns:
        `x` with an axis of groups before that of the channels of one group; the axes of positions and of the channels
        of a group; and the mask, to broadcast against both.
    """
    axis = axes.positive(axis, len(x.shape))
    mask = mask if mask is None else ops.expand_dims(axes.along_mask(mask, x, axis), axis)
    shape = list(ops.shape(x))
    shape[axis : axis + 1] = [groups, x.shape[axis] // groups]
    reduced = tuple(i for i in range(1, len(shape)) if i != axis)
    return ops.reshape(x, shape), reduced, mask
