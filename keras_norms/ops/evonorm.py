"""EvoNorm: normalization and activation in one equation, found by a search.

    B0: y = x / max(sqrt(variance_b + epsilon), slope * x + sqrt(variance_i + epsilon)) * scale + bias
    S0: y = x * sigmoid(slope * x) / sqrt(variance_g + epsilon) * scale + bias

with biased variances per channel: variance_b over the batch and its positions,
variance_i over the positions of one example, variance_g over the positions and the
channels of a group of one example. In inference variance_b is a moving one. Liu,
Brock, Simonyan and Le, "Evolving Normalization-Activation Layers", 2020,
https://arxiv.org/abs/2004.02967. The slope, one per channel, is v_1 there. No deviation.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import affine, axes, centred_moments, group_norm, precision


def batch_activated(x, variance, slope, scale=None, bias=None, axis=-1, epsilon=1e-3, mask=None):
    """Returns B0 of `x`, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 3.
        variance: Tensor of shape `(channels,)`, that of the batch or a moving one.
        slope: Tensor of shape `(channels,)`.
        scale, bias: Tensors of shape `(channels,)`, or None for 1 and 0.
        axis: Integer, the channel axis.
        epsilon: Float, added to the variances.
        mask: None or Boolean tensor, see `axes.along_mask`. All positions are normalized, whether they count or not.
    """
    x = ops.convert_to_tensor(x)
    wide = precision.wide(x)
    mask = mask if mask is None else axes.along_mask(mask, x, axis)
    of_example = centred_moments.over(wide, axes.positions(len(x.shape), axis), mask).variance
    of_batch = axes.along_channels(variance, x, axis)
    slope = axes.along_channels(slope, x, axis)
    divisor = ops.maximum(ops.sqrt(of_batch + epsilon), slope * wide + ops.sqrt(of_example + epsilon))
    return ops.cast(affine.transformed(wide / divisor, scale, bias, (axis,)), x.dtype)


def sample_activated(x, groups, slope, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None):
    """Returns S0 of `x`, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        groups: Integer that divides the number of channels.
        slope, scale, bias, axis, epsilon, mask: See `batch_activated`.
    """
    x = ops.convert_to_tensor(x)
    wide = precision.wide(x)
    activated = wide * ops.sigmoid(axes.along_channels(slope, x, axis) * wide)
    mask = mask if mask is None else axes.along_mask(mask, x, axis)
    joined = group_norm.joined(groups, axis)
    variance = centred_moments.over(wide, axes.positions(len(x.shape), axis), mask, joined).variance
    y = activated * ops.rsqrt(variance + epsilon)
    return ops.cast(affine.transformed(y, scale, bias, (axis,)), x.dtype)
