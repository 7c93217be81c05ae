"""Ghost batch normalization: parts of the batch, each normalized with its own statistics.

    y = (x - mean_g) / sqrt(variance_g + epsilon) * scale + bias

for the examples of part g, per channel. Hoffer, Hubara and Soudry, "Train longer,
generalize better: closing the generalization gap in large batch training of neural
networks", 2017, https://arxiv.org/abs/1705.08741.

The paper's batches divide evenly. Here a batch of any size has the fewest parts that
keep to the size given, as equal as they can be, of consecutive examples: 9 examples
in parts of at most 8 are 5 and 4, not 8 and 1.

Computed in float32 (float64 for float64 inputs) and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import axes, batch_norm, precision


def parts(examples, size):
    """Returns how many parts there are, and for each example the part it is in.

    Args:
        examples: Number of examples, an integer or a scalar integer tensor.
        size: Integer, the largest number of examples in a part.

    Returns:
        The number of parts, of the type of `examples`, and an integer tensor of shape `(examples,)`.
    """
    number = (examples + size - 1) // size
    # One part for no examples. An integer must stay one: it becomes a length.
    number = max(number, 1) if isinstance(number, int) else ops.maximum(number, 1)
    whole, longer = examples // number, examples % number
    example = ops.arange(examples, dtype="int32")
    # The first `longer` parts have an example more than the others. Not `example * number // examples`, which
    # overflows.
    in_longer = ops.floor_divide(example, whole + 1)
    in_others = ops.floor_divide(example - longer, ops.maximum(whole, 1))
    return number, ops.where(in_longer < longer, in_longer, in_others)


def batch_normalized(x, size, scale=None, bias=None, axis=-1, epsilon=1e-5, mask=None):
    """Returns `x`, each part normalized with its own statistics, and the `batch_norm.Moments` of the whole batch.

    Args:
        x: Floating tensor of any rank from 2, the examples along its first axis.
        size: Integer, the largest number of examples in a part.
        scale, bias: Tensors of shape `(channels,)`, or None for 1 and 0.
        axis: Integer, the channel axis.
        epsilon: Float, added to the variances.
        mask: None or Boolean tensor, see `axes.along_mask`. All positions are normalized, whether they count or not.
    """
    dtype = ops.convert_to_tensor(x).dtype
    x = precision.wide(x)
    number, part = parts(ops.shape(x)[0], size)
    moments = _moments(x, number, part, axis, mask)
    factor = ops.rsqrt(moments.variance + epsilon)
    factor = factor if scale is None else factor * scale
    y = x - _along(moments.mean, part, x, axis) - _along(moments.residual, part, x, axis)
    y = y * _along(factor, part, x, axis)
    y = y if bias is None else y + axes.along_channels(bias, x, axis)
    return ops.cast(y, dtype), batch_norm.merged(moments)


def _moments(x, number, part, axis, mask):
    """Returns the moments of all parts: counts of shape `(parts, 1)`, the rest `(parts, channels)`."""
    mask = mask if mask is None else axes.along_mask(mask, x, axis)
    within = axes.positions(len(x.shape), axis)

    def sums(values):
        # PyTorch would sum over all axes where none is named.
        return ops.segment_sum(ops.sum(values, axis=within) if within else values, part, number)

    def means(values):
        return sums(values if mask is None else ops.where(mask, values, 0.0)) / divisor

    counted = ops.ones_like(ops.take(x, [0], axis=axis)) if mask is None else ops.cast(mask, x.dtype)
    count = sums(counted)
    divisor = ops.maximum(count, 1.0)
    mean = means(x)
    centred = x - _along(mean, part, x, axis)
    # As in `centred_moments`, of which this is the form for parts.
    residual = ops.stop_gradient(means(centred))
    variance = means(ops.square(centred - _along(residual, part, x, axis)))
    return batch_norm.Moments(count, mean, residual, variance)


def _along(values, part, x, axis):
    """Returns the values of shape `(parts, channels)` for each example, in a shape that broadcasts against `x`."""
    values = ops.take(values, part, axis=0)
    shape = [1] * len(x.shape)
    shape[0], shape[axes.positive(axis, len(x.shape))] = ops.shape(values)
    return ops.reshape(values, shape)
