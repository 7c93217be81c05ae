"""Batch normalization, its statistics, and their merge over replicas.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias

per channel, with the mean and the biased variance over all other axes. Ioffe and
Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
Internal Covariate Shift", 2015, https://arxiv.org/abs/1502.03167. Moving
statistics average the unbiased variance, `count / (count - 1)` times the biased
one, as there and in Caffe.

The mean comes in two parts, `mean + residual`: see `centred_moments`.

Merging parts is Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
Algorithm for Computing Sample Variances", 1979: counts, means and centred second
moments, never a mean of squares minus a squared mean.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

import keras
from keras import ops

from keras_norms.ops import axes, centred_moments, precision, replicas

# Of the channels: the count is a scalar, the others have the shape `(channels,)`.
Moments = centred_moments.Moments


def moments(x, axis=-1, mask=None):
    """Returns the `Moments` of the channels of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        axis: Integer, the channel axis.
        mask: None or Boolean tensor, see `axes.along_mask`. What it leaves out does not count, not even as NaN.
    """
    return _of_channels(centred_moments.over(*_reduction(x, axis, mask)))


def means(x, axis=-1, mask=None):
    """Returns the `Moments` of the channels of `x` without their variances, which read 0. Arguments as above."""
    count, mean, residual = centred_moments.means(*_reduction(x, axis, mask))
    return _of_channels(Moments(count, mean, residual, ops.zeros_like(mean)))


def merged(parts):
    """Returns the `Moments` of all parts together.

    Args:
        parts: `Moments` with a leading axis of parts: counts of shape `(parts, 1)`, the rest `(parts, channels)`.
            A part with count 0 does not change the result.
    """
    counts, means, residuals, variances = (ops.convert_to_tensor(part) for part in parts)
    total = ops.sum(counts)
    weights = counts / ops.maximum(total, 1.0)
    mean = ops.sum(weights * means, axis=0)
    deviations = means - mean + residuals
    # As in `moments`: the derivative of this sum with respect to the means is zero.
    residual = ops.stop_gradient(ops.sum(weights * deviations, axis=0))
    variance = ops.sum(weights * (variances + ops.square(deviations - residual)), axis=0)
    return Moments(total, mean, residual, variance)


def synchronized(local):
    """Returns the `Moments` of the batches of all replicas, with one collective.

    Args:
        local: `Moments` of this replica's batch.
    """
    gathered = replicas.all_gather(ops.concatenate([ops.reshape(part, (-1,)) for part in local]))
    channels = local.mean.shape[0]
    cuts = [1, 1 + channels, 1 + 2 * channels]
    return merged(Moments(*ops.split(gathered, cuts, axis=1)))


def unbiased(variance, count):
    """Returns `count / (count - 1)` times the variance, or the variance if there is one element."""
    return variance * (count / ops.maximum(count - 1.0, 1.0))


def normalized(x, mean, variance, scale=None, bias=None, axis=-1, epsilon=1e-5, residual=None):
    """Returns `(x - mean - residual) / sqrt(variance + epsilon) * scale + bias`, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        mean, variance: Tensors of shape `(channels,)`.
        scale, bias: Tensors of shape `(channels,)`, or None for 1 and 0.
        axis: Integer, the channel axis.
        epsilon: Float, added to the variance.
        residual: None or tensor of shape `(channels,)`, see the module.
    """
    kernel = _fused_kernel(x, axis)
    if kernel and residual is None:
        return kernel.normalized(x, mean, variance, scale, bias, epsilon)
    dtype = x.dtype
    x = precision.wide(x)
    factor = ops.rsqrt(variance + epsilon)
    factor = factor if scale is None else factor * scale
    # Not x * factor + (bias - mean * factor), which cancels when the mean is large.
    y = x - axes.along_channels(mean, x, axis)
    y = y if residual is None else y - axes.along_channels(residual, x, axis)
    y = y * axes.along_channels(factor, x, axis)
    y = y if bias is None else y + axes.along_channels(bias, x, axis)
    return ops.cast(y, dtype)


def batch_normalized(x, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None, synchronize=False):
    """Returns `x` normalized with its own statistics, and these `Moments`.

    On TensorFlow, outside XLA, a tensor of rank 4 with its channels last goes through the fused kernel unless there
    is a mask or a synchronization. Its float32 sums limit it: at a mean of 1e4 standard deviations it is right to 0.02
    over 4,096 elements per channel, finite but wrong by 4 to 5 over 131,072, where all other ways are right to 1e-3.
    Shifting its input first would mend that and cost a quarter of the layer's time.

    Args:
        x: Floating tensor of any rank from 2.
        scale, bias: Tensors of shape `(channels,)`, or None for 1 and 0.
        axis: Integer, the channel axis.
        epsilon: Float, added to the variance.
        mask: None or Boolean tensor, see `moments`. All positions are normalized, whether they count or not.
        synchronize: Boolean, whether the statistics are those of the batches of all replicas.
    """
    kernel = _fused_kernel(x, axis)
    if kernel and mask is None and not synchronize:
        y, count, mean, variance = kernel.batch_normalized(x, scale, bias, epsilon)
        return y, Moments(count, mean, ops.zeros_like(mean), variance)
    batch = moments(x, axis, mask)
    batch = synchronized(batch) if synchronize else batch
    return normalized(x, batch.mean, batch.variance, scale, bias, axis, epsilon, batch.residual), batch


def batch_normalized_relu(x, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None, synchronize=False):
    """Returns what `batch_normalized` does, with the normalized `x` clipped at 0.

    Where the fused kernel is used, `x` alone is kept for the gradient, half of what both one after the other keep.
    Arguments as there.
    """
    kernel = _fused_kernel(x, axis)
    if kernel and mask is None and not synchronize:
        y, count, mean, variance = kernel.batch_normalized_relu(x, scale, bias, epsilon)
        return y, Moments(count, mean, ops.zeros_like(mean), variance)
    y, batch = batch_normalized(x, scale, bias, axis, epsilon, mask, synchronize)
    return ops.relu(y), batch


def _reduction(x, axis, mask):
    x = precision.wide(x)
    mask = mask if mask is None else axes.along_mask(mask, x, axis)
    return x, axes.others(len(x.shape), axis), mask


def _of_channels(parts):
    return Moments(ops.reshape(parts.count, ()), *(ops.reshape(part, (-1,)) for part in parts[1:]))


def _fused_kernel(x, axis):
    if keras.backend.backend() != "tensorflow":
        return None
    from keras_norms.ops import batch_norm_tensorflow

    return batch_norm_tensorflow if batch_norm_tensorflow.applies(x, axis) else None
