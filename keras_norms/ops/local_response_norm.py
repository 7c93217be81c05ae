"""Local response normalization: a channel is damped where its neighbours are strong.

    y[c] = x[c] / (k + alpha / size * sum(x[j] ** 2)) ** beta,    |j - c| <= (size - 1) / 2

at every position; channels beyond the ends count as zeros. Krizhevsky, Sutskever
and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, https://papers.nips.cc/paper/4824. Names and the division of alpha by the
size are Caffe's and PyTorch's; the paper and TensorFlow have alpha undivided.
"""

import numpy as np
from keras import ops

from keras_norms.ops import axes, precision


def normalized(x, size, alpha, beta, k, axis=-1):
    """Returns `x` divided by a power of the energy of its neighbouring channels, in the dtype of `x`.

    Computed in float32, or in float64 for float64; the sums of squares in what the backend multiplies matrices of
    float32 with, which on GPUs may be TF32.

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
    energy = _windowed_sum(ops.square(wide), size, alpha / size, axis)
    # Not a power, which takes TensorFlow's CPU kernel twice as long as both of these with their gradients.
    return ops.cast(wide * ops.exp(-beta * ops.log(k + energy)), x.dtype)


def _windowed_sum(x, size, weight, axis):
    """Returns the weighted sums over neighbourhoods, as a product with a band matrix.

    Forwards and backwards the layer takes 47 ms on 32 x 64 x 64 x 64 with it, 384 with a sum of slices, 100 as
    `tf.nn.local_response_normalization` (two cores; benchmarks/layers.py).
    """
    number = np.arange(axes.channels(x.shape, axis))
    band = ops.cast(weight * (abs(number[:, None] - number) <= size // 2), x.dtype)
    # Not ops.matmul, which makes float32 of float64 on PyTorch (Keras 3.15).
    return ops.moveaxis(ops.moveaxis(x, axis, -1) @ band, -1, axis)
