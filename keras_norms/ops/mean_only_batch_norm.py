"""Mean-only batch normalization: centred, not scaled.

    y = x - mean + bias

per channel, with the mean over all other axes. Salimans and Kingma, "Weight
Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural
Networks", 2016, section 3, https://arxiv.org/abs/1602.07868. No deviation.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import axes, batch_norm, precision


def normalized(x, mean, bias=None, axis=-1, residual=None):
    """Returns `x - mean - residual + bias`, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        mean: Tensor of shape `(channels,)`.
        bias: Tensor of shape `(channels,)`, or None for 0.
        axis: Integer, the channel axis.
        residual: None or tensor of shape `(channels,)`, what `mean` lost to rounding.
    """
    x = ops.convert_to_tensor(x)
    y = precision.wide(x) - axes.along_channels(mean, x, axis)
    y = y if residual is None else y - axes.along_channels(residual, x, axis)
    y = y if bias is None else y + axes.along_channels(bias, x, axis)
    return ops.cast(y, x.dtype)


def batch_normalized(x, bias=None, axis=-1, mask=None, synchronize=False):
    """Returns `x` less its own mean, and the `batch_norm.Moments` of which only the variance, unused, reads 0.

    Args:
        x: Floating tensor of any rank from 2.
        bias: Tensor of shape `(channels,)`, or None for 0.
        axis: Integer, the channel axis.
        mask: None or Boolean tensor, see `axes.along_mask`. All positions are shifted, whether they count or not.
        synchronize: Boolean, whether the mean is that of the batches of all replicas.
    """
    batch = batch_norm.means(x, axis, mask)
    batch = batch_norm.synchronized(batch) if synchronize else batch
    return normalized(x, batch.mean, bias, axis, batch.residual), batch
