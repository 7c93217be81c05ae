"""Filter response normalization."""

import keras
from keras import ops

from keras_norms.layers import arguments, scale_and_bias
from keras_norms.ops import filter_response_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class FilterResponseNorm(scale_and_bias.WithScaleAndBias):
    """Divides each channel of each example by its root mean square over the positions, then scales and shifts it.

    It subtracts no mean, sees one example at a time, and is the same in training and in inference, for any batch size.
    The mean being left in, the zero of a ReLU behind it is arbitrary: the published pair is `FilterResponseNorm`
    followed by `TReLU` (called thresholded linear unit, TLU, there), which learns where to clip.

    For images it reduces over height and width.

    Where an example has one position, a channel is divided by its own magnitude and little but its sign is left. For
    such layers the paper learns an epsilon that softens this: `use_learned_epsilon=True`.

    Mixed precision: computed in float32 whatever the layer's policy, and weights are float32.

    Args:
        axis: Integer, the channel axis. Defaults to `-1`.
        epsilon: Float above 0, added to the mean square. Defaults to `1e-6`, as in the paper.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per channel.
        use_learned_epsilon: Boolean, whether the magnitude of a learned number, one for all channels, is added to
            `epsilon`. It starts at 1e-4, as in TensorFlow Addons. Defaults to `False`.
        **kwargs: `scale_initializer` (`"ones"` if not given), `bias_initializer` (`"zeros"`), `scale_regularizer`,
            `bias_regularizer`, `scale_constraint`, `bias_constraint`; `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Floating tensor of rank 3 to 5.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the mean square; they are normalized like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        scale, bias: Shape `(channels,)`, trainable.
        learned_epsilon: Scalar, trainable.

    Example:
    >>> layer = keras_norms.FilterResponseNorm()
    >>> outputs = layer(np.array([[[[3.0], [-3.0]]], [[[1.0], [7.0]]]]))
    >>> keras.ops.convert_to_numpy(outputs).round(3).reshape(2, 2).tolist()
    [[1.0, -1.0], [0.20000000298023224, 1.399999976158142]]

    Reference: [Singh and Krishnan, 2019](https://arxiv.org/abs/1911.09737)
    """

    def __init__(self, axis=-1, epsilon=1e-6, use_scale=True, use_bias=True, use_learned_epsilon=False, **kwargs):
        super().__init__(axis=axis, use_scale=use_scale, use_bias=use_bias, **kwargs)
        self.epsilon = arguments.positive("epsilon", epsilon)
        self.use_learned_epsilon = arguments.boolean("use_learned_epsilon", use_learned_epsilon)

    def build(self, input_shape):
        self.add_learned((self.take_channels(input_shape, ranks=(3, 4, 5)),))
        self.learned_epsilon = self._add_epsilon() if self.use_learned_epsilon else None

    def call(self, inputs, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        epsilon = self.epsilon
        if self.use_learned_epsilon:
            epsilon = epsilon + ops.abs(self.learned_epsilon)
        return filter_response_norm.normalized(inputs, self.scale, self.bias, self.axis, epsilon, mask)

    def get_config(self):
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "use_learned_epsilon": self.use_learned_epsilon,
        }

    def _add_epsilon(self):
        return self.add_weight(
            name="learned_epsilon",
            shape=(),
            initializer=keras.initializers.Constant(1e-4),
            dtype=self.statistics_dtype(),
            autocast=False,
        )
