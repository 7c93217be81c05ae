"""Batch renormalization: the statistics of the batch, corrected towards the moving ones within limits.

    y = ((x - mean) / sqrt(variance + epsilon) * factor + shift) * scale + bias
    factor = clip(deviation / moving_deviation, 1 / maximum_scale, maximum_scale)
    shift = clip((mean - moving_mean) / moving_deviation, -maximum_shift, maximum_shift)

with `deviation = sqrt(variance + epsilon)`, and no gradient through factor and shift.
Where no limit is met, y is `(x - moving_mean) / moving_deviation * scale + bias`, what
inference computes, with the gradient of batch normalization times the factor. Ioffe,
"Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized
Models", 2017, https://arxiv.org/abs/1702.03275. Factor, shift and limits are r, d,
r_max and d_max there.

The moving statistics are those of batch normalization here, where the paper averages
deviations: a moving deviation is `sqrt(moving_variance + epsilon)`.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import batch_norm


def corrections(batch, mean, variance, maximum_scale, maximum_shift, epsilon=1e-5):
    """Returns factor and shift, of shape `(channels,)`. No gradient flows through them.

    Args:
        batch: `batch_norm.Moments` of the batch.
        mean, variance: Tensors of shape `(channels,)`, the moving statistics before they move.
        maximum_scale: Scalar, at least 1.
        maximum_shift: Scalar, at least 0.
        epsilon: Float, added to the variances.
    """
    mean, variance = ops.convert_to_tensor(mean), ops.convert_to_tensor(variance)
    deviation, moving_deviation = ops.sqrt(batch.variance + epsilon), ops.sqrt(variance + epsilon)
    factor = _clipped(deviation / moving_deviation, 1.0 / maximum_scale, maximum_scale)
    shift = _clipped((batch.mean - mean + batch.residual) / moving_deviation, -maximum_shift, maximum_shift)
    return ops.stop_gradient(factor), ops.stop_gradient(shift)


def batch_normalized(x, batch, factor, shift, scale=None, bias=None, axis=-1, epsilon=1e-5):
    """Returns `x` normalized with its own statistics and corrected, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        batch: `batch_norm.Moments` of the batch.
        factor, shift: Tensors of shape `(channels,)`, see `corrections`.
        scale, bias: Tensors of shape `(channels,)`, or None for 1 and 0.
        axis: Integer, the channel axis.
        epsilon: Float, added to the variance.
    """
    factor, shift = ops.convert_to_tensor(factor), ops.convert_to_tensor(shift)
    if scale is not None:
        factor, shift = factor * ops.convert_to_tensor(scale), shift * ops.convert_to_tensor(scale)
    bias = shift if bias is None else shift + ops.convert_to_tensor(bias)
    return batch_norm.normalized(x, batch.mean, batch.variance, factor, bias, axis, epsilon, batch.residual)


def _clipped(values, lowest, highest):
    return ops.minimum(ops.maximum(values, lowest), highest)
