"""The local response normalization layer."""

import keras
from keras import ops

from keras_norms.layers import arguments
from keras_norms.ops import axes, local_response_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class LocalResponseNorm(keras.Layer):
    """Divides each channel by a power of the energy of its neighbouring channels.

    It has no weights and is the same in training and inference. Use it where a
    published network has it: AlexNet, CaffeNet, GoogLeNet.

        y[c] = x[c] / (k + alpha / size * sum(x[j] ** 2)) ** beta,    |j - c| <= (size - 1) / 2

    The arguments are Caffe's and PyTorch's, with alpha divided by the size; what
    `tf.nn.local_response_normalization` calls alpha is `alpha / size` here, and
    its depth_radius is `(size - 1) / 2`. Under mixed precision it computes in
    float32.

    Args:
        size: Odd integer, the number of channels in a neighbourhood. Defaults to `5`.
        alpha: Float, the weight of the neighbourhood's mean square. Defaults to `1e-4`.
        beta: Float, the exponent. Defaults to `0.75`.
        k: Float above 0, what the weighted mean square is added to. Defaults to `1.0`, as in Caffe;
            the paper has 2.
        axis: Integer, the channel axis. Defaults to `-1`.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.

    Example:
    >>> layer = keras_norms.LocalResponseNorm(size=1, alpha=3.0, beta=0.5)
    >>> keras.ops.convert_to_numpy(layer(np.array([[0.0, 1.0, -1.0]], "float32")))
    array([[ 0. ,  0.5, -0.5]], dtype=float32)

    Reference: [Krizhevsky et al., 2012](https://papers.nips.cc/paper/4824)
    """

    def __init__(self, size=5, alpha=1e-4, beta=0.75, k=1.0, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.size = arguments.integer("size", size, 1)
        if size % 2 == 0:
            raise ValueError(f"`size` must be odd: a channel and as many to each side. Received: size={size}.")
        self.alpha = arguments.number("alpha", alpha)
        self.beta = arguments.number("beta", beta)
        self.k = arguments.positive("k", k)
        self.axis = arguments.integer("axis", axis)
        self.supports_masking = True

    def build(self, input_shape):
        axes.channels(input_shape, self.axis)

    def call(self, inputs):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return local_response_norm.normalized(inputs, self.size, self.alpha, self.beta, self.k, self.axis)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k, "axis": self.axis}
        return {**super().get_config(), **config}
