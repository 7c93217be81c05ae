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
    positions = axes.positions(len(x.shape), axis)
    mask = mask if mask is None else axes.along_mask(mask, x, axis)
    y = centred_moments.standardized(precision.wide(x), positions, epsilon, mask, joined(groups, axis))
    return ops.cast(affine.transformed(y, scale, bias, (axis,)), x.dtype)


def joined(groups, axis):
    """Returns a function that gives each channel the mean of its group, of a tensor of means of channels.

    Over positions first, then over the channels of a group: TensorFlow 2.21 sums over axes that are no neighbours
    several times as slowly, and subtracts what is the same for neighbouring channels as slowly. Forward and backward
    take 14 ms in place of 32 on 128 x 32 x 32 x 16.

    Args:
        groups, axis: See `normalized`.
    """

    def of_groups(means):
        shape = list(ops.shape(means))
        at = axes.positive(axis, len(shape))
        width = means.shape[at] // groups
        apart = [*shape[:at], groups, width, *shape[at + 1 :]]
        # Keras' mean of float64 is one of float32 on PyTorch (Keras 3.15).
        together = ops.sum(ops.reshape(means, apart), axis=at + 1, keepdims=True) / width
        return ops.reshape(ops.broadcast_to(together, apart), shape)

    return of_groups
