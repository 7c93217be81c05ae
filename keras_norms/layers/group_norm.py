"""Group normalization."""

import keras
from keras import ops

from keras_norms.layers import arguments, scale_and_bias
from keras_norms.ops import group_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class GroupNorm(scale_and_bias.WithScaleAndBias):
    """Normalizes groups of neighbouring channels within each example, then scales and shifts each channel.

    It sees one example at a time, and is the same in training and in inference: use it where batches are too small
    for `BatchNorm`, as in detection and segmentation.

    For images it reduces over height, width and the channels of a group.

    Its own computation, not that of `keras.layers.GroupNormalization`: at a mean of 1,000 and a deviation of 0.1 that
    is wrong by 0.01 under XLA, and NaN on PyTorch (Keras 3.15); this is right to 1e-5.

    Mixed precision: computed in float32 whatever the layer's policy, and weights are float32.

    Args:
        groups: Integer, the number of groups. It must divide the channels. Defaults to `32`, as in the paper; 1 makes
            the layer normalization of whole examples, with a scale per channel.
        axis: Integer, the channel axis. Defaults to `-1`.
        epsilon: Float above 0, added to the variance. Defaults to `1e-5`, as in the paper and PyTorch; Keras has 1e-3.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per channel.
        **kwargs: `scale_initializer` (`"ones"` if not given), `bias_initializer` (`"zeros"`), `scale_regularizer`,
            `bias_regularizer`, `scale_constraint`, `bias_constraint`; `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Floating tensor of rank 2 to 5.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the statistics; they are normalized like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        scale, bias: Shape `(channels,)`, trainable.

    Example:
    >>> layer = keras_norms.GroupNorm(groups=2)
    >>> outputs = layer(np.array([[1.0, 3.0, 100.0, 104.0]]))
    >>> keras.ops.convert_to_numpy(outputs).round(3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]

    Reference: [Wu and He, 2018](https://arxiv.org/abs/1803.08494)
    """

    def __init__(self, groups=32, axis=-1, epsilon=1e-5, use_scale=True, use_bias=True, **kwargs):
        super().__init__(axis=axis, use_scale=use_scale, use_bias=use_bias, **kwargs)
        self.groups = arguments.integer("groups", groups, minimum=1)
        self.epsilon = arguments.positive("epsilon", epsilon)

    def build(self, input_shape):
        channels = self.take_channels(input_shape)
        arguments.divides("groups", self.groups, channels)
        self.add_learned((channels,))

    def call(self, inputs, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return group_norm.normalized(inputs, self.groups, self.scale, self.bias, self.axis, self.epsilon, mask)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}
