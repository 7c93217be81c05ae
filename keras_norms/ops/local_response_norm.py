"""Local response normalization: a channel is damped where its neighbours are strong.

    y[c] = x[c] / (k + alpha / size * sum(x[j] ** 2)) ** beta,    |j - c| <= (size - 1) / 2

at every position; channels beyond the ends count as zeros. Krizhevsky, Sutskever
and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, https://papers.nips.cc/paper/4824. Names and the division of alpha by the
size are Caffe's and PyTorch's; the paper and TensorFlow have alpha undivided.
"""

from keras import ops

from keras_norms.ops import axes, precision


def normalized(x, size, alpha, beta, k, axis=-1):
    """Returns `x` divided by a power of the energy of its neighbouring channels, in the dtype of `x`.

    Computed in float32, or in float64 for float64.

    Args:
        x: Floating tensor of any rank from 2.
        size: Odd integer, the number of channels in a neighbourhood.
        alpha: Float, the weight of the neighbourhood's mean square.
        beta: Float, the exponent.
        k: Float, what the weighted mean square is added to.
        axis: Integer, the channel axis. Its length must be known.
    """
    x = ops.convert_to_tensor(x)
    wide = precision.wide(x)
    mean_square = _windowed_sum(ops.square(wide), size, axis) / size
    return ops.cast(wide * ops.power(k + alpha * mean_square, -beta), x.dtype)


def _windowed_sum(x, size, axis):
    channels = axes.channels(x.shape, axis)
    axis = axes.positive(axis, len(x.shape))
    before = (slice(None),) * axis
    margins = [(0, 0)] * len(x.shape)
    margins[axis] = (size // 2, size // 2)
    padded = ops.pad(x, margins)
    return sum(padded[(*before, slice(i, i + channels))] for i in range(size))
