"""Instance normalization."""

import keras
from keras import ops

from keras_norms.layers import arguments, scale_and_bias
from keras_norms.ops import group_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class InstanceNorm(scale_and_bias.WithScaleAndBias):
    """Normalizes each channel of each example by itself, then scales and shifts it.

    It takes the contrast of an image away, and is the same in training and in inference: use it in style transfer and
    image generation. It is `GroupNorm` with as many groups as channels.

    For images it reduces over height and width. An image of one position becomes zero (and the bias).

    Its own computation, for the reason given in `GroupNorm`.

    Mixed precision: computed in float32 whatever the layer's policy, and weights are float32.

    Args:
        axis: Integer, the channel axis. Defaults to `-1`.
        epsilon: Float above 0, added to the variance. Defaults to `1e-5`, as in PyTorch.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per channel. PyTorch has
            neither by default (`affine=False`).
        **kwargs: `scale_initializer` (`"ones"` if not given), `bias_initializer` (`"zeros"`), `scale_regularizer`,
            `bias_regularizer`, `scale_constraint`, `bias_constraint`; `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Floating tensor of rank 3 to 5.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the statistics; they are normalized like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        scale, bias: Shape `(channels,)`, trainable.

    Example:
    >>> layer = keras_norms.InstanceNorm()
    >>> outputs = layer(np.array([[[1.0, 100.0], [3.0, 104.0]]]))
    >>> keras.ops.convert_to_numpy(outputs).round(3).tolist()
    [[[-1.0, -1.0], [1.0, 1.0]]]

    Reference: [Ulyanov, Vedaldi and Lempitsky, 2016](https://arxiv.org/abs/1607.08022)
    """

    def __init__(self, axis=-1, epsilon=1e-5, use_scale=True, use_bias=True, **kwargs):
        super().__init__(axis=axis, use_scale=use_scale, use_bias=use_bias, **kwargs)
        self.epsilon = arguments.positive("epsilon", epsilon)

    def build(self, input_shape):
        self.add_learned((self.take_channels(input_shape, ranks=(3, 4, 5)),))

    def call(self, inputs, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        groups = inputs.shape[self.axis]
        return group_norm.normalized(inputs, groups, self.scale, self.bias, self.axis, self.epsilon, mask)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
