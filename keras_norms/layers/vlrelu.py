"""The very leaky rectifier."""

import keras
from keras import ops

from keras_norms.layers import arguments
from keras_norms.ops import leaky_relu


@keras.saving.register_keras_serializable(package="keras_norms")
class VLReLU(keras.layers.LeakyReLU):
    """Multiplies what is not above zero by a third: `max(x, x / 3)`.

    A `keras.layers.LeakyReLU` under the name and with the slope that the caffenet-benchmark's table has. The
    benchmark's own network has a slope of 0.3, which is Keras' default: `VLReLU(negative_slope=0.3)`.

    Args:
        negative_slope: Float from 0 to 1. Defaults to `1 / 3`.
        **kwargs: `name`, `dtype`.

    Input and output shape: Any.

    Example:
    >>> layer = keras_norms.VLReLU()
    >>> keras.ops.convert_to_numpy(layer(np.array([[-6.0, 0.0, 2.0]]))).tolist()
    [[-2.0, 0.0, 2.0]]

    Reference: Mishkin, Sergievskiy and Matas,
    [Systematic evaluation of CNN advances on the ImageNet, 2017](https://arxiv.org/abs/1606.02228)
    """

    def __init__(self, negative_slope=1 / 3, **kwargs):
        super().__init__(arguments.number("negative_slope", negative_slope, 0.0, 1.0), **kwargs)

    def call(self, inputs):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return leaky_relu.leaky_relu(inputs, self.negative_slope)
