"""EvoNorm, normalization and activation in one."""

import keras
from keras import ops

from keras_norms.layers import arguments, moving_statistics, scale_and_bias
from keras_norms.ops import evonorm


class _EvoNorm(scale_and_bias.WithScaleAndBias):
    """Base of the EvoNorms: a scale, a bias, and the slope of their activation."""

    def __init__(self, epsilon, slope_initializer=None, slope_regularizer=None, slope_constraint=None, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = arguments.positive("epsilon", epsilon)
        self.slope_initializer = keras.initializers.get(slope_initializer or "ones")
        self.slope_regularizer = keras.regularizers.get(slope_regularizer)
        self.slope_constraint = keras.constraints.get(slope_constraint)

    def add_learned(self, shape):
        super().add_learned(shape)
        self.slope = self.add_vector("slope", shape)

    def get_config(self):
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "slope_initializer": keras.initializers.serialize(self.slope_initializer),
            "slope_regularizer": keras.regularizers.serialize(self.slope_regularizer),
            "slope_constraint": keras.constraints.serialize(self.slope_constraint),
        }


@keras.saving.register_keras_serializable(package="keras_norms")
class EvoNormB0(moving_statistics.MovingStatistics, _EvoNorm):
    """Divides by the larger of a deviation of the batch and an affine map of the input: batch norm and ReLU in one.

        y = x / max(sqrt(variance of the batch), slope * x + sqrt(variance of the example)) * scale + bias

    with epsilon added to both variances. It takes the place of `BatchNorm` and its activation together: put no other
    activation behind it. It subtracts no mean.

    For images the variance of the batch is over examples, height and width; that of an example over height and width.

    In inference the variance of the batch is a moving average, of the unbiased variance, from zero and divided by the
    weight it has gathered: read it with `statistics()`. Replicas and `synchronized` are as in `BatchNorm`.

    Mixed precision: computed in float32 whatever the layer's policy, and weights and statistics are float32.

    Args:
        axis: Integer, the channel axis. Defaults to `-1`.
        momentum: Float in [0, 1), the weight a moving average keeps in a step. Defaults to `0.9`.
        epsilon: Float above 0, added to the variances. Defaults to `1e-3`.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per channel.
        use_global_stats, synchronized: See `BatchNorm`.
        **kwargs: `slope_initializer` (`"ones"` if not given), `scale_initializer` (`"ones"`), `bias_initializer`
            (`"zeros"`), and the same with `_regularizer` and `_constraint`; `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Floating tensor of rank 3 to 5.
        training: Boolean.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the variances; they are normalized like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        slope, scale, bias: Shape `(channels,)`, trainable.
        moving_variance: Shape `(channels,)`, an average from zero, not divided by its weight.
        moving_weight: Scalar, `1 - momentum**steps`.

    Example:
    >>> layer = keras_norms.EvoNormB0(epsilon=1e-9)
    >>> outputs = layer(np.array([[[-2.0], [2.0]], [[-4.0], [4.0]]]), training=True)
    >>> keras.ops.convert_to_numpy(outputs).round(3).reshape(4).tolist()
    [-0.6320000290870667, 0.5, -1.2649999856948853, 0.5]

    Reference: [Liu, Brock, Simonyan and Le, 2020](https://arxiv.org/abs/2004.02967)
    """

    moving = ("variance",)

    def __init__(
        self,
        axis=-1,
        momentum=0.9,
        epsilon=1e-3,
        use_scale=True,
        use_bias=True,
        use_global_stats=None,
        synchronized=False,
        **kwargs,
    ):
        super().__init__(
            axis=axis,
            momentum=momentum,
            epsilon=epsilon,
            use_scale=use_scale,
            use_bias=use_bias,
            use_global_stats=use_global_stats,
            synchronized=synchronized,
            **kwargs,
        )

    def build(self, input_shape):
        channels = self.take_channels(input_shape, ranks=(3, 4, 5))
        self.add_learned((channels,))
        self.add_moving(channels)

    def batch_normalized(self, inputs, mask):
        batch = self.moments(inputs, mask)
        return self._activated(inputs, batch.variance, mask), batch

    def normalized(self, inputs, mask):
        (variance,) = self.statistics()
        return self._activated(inputs, variance, mask)

    def _activated(self, inputs, variance, mask):
        return evonorm.batch_activated(
            inputs, variance, self.slope, self.scale, self.bias, self.axis, self.epsilon, mask
        )


@keras.saving.register_keras_serializable(package="keras_norms")
class EvoNormS0(_EvoNorm):
    """A swish divided by the deviation of a group of channels: group norm and activation in one.

        y = x * sigmoid(slope * x) / sqrt(variance of the group) * scale + bias

    with epsilon added to the variance. It sees one example at a time, and is the same in training and in inference.
    It takes the place of `GroupNorm` and its activation together: put no other activation behind it. It subtracts no
    mean.

    For images the variance is over height, width and the channels of a group of one example.

    Mixed precision: computed in float32 whatever the layer's policy, and weights are float32.

    Args:
        groups: Integer, the number of groups. It must divide the channels. Defaults to `32`.
        axis: Integer, the channel axis. Defaults to `-1`.
        epsilon: Float above 0, added to the variance. Defaults to `1e-5`.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per channel.
        **kwargs: `slope_initializer` (`"ones"` if not given), `scale_initializer` (`"ones"`), `bias_initializer`
            (`"zeros"`), and the same with `_regularizer` and `_constraint`; `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Floating tensor of rank 2 to 5.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the variance; they are normalized like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        slope, scale, bias: Shape `(channels,)`, trainable.

    Example:
    >>> layer = keras_norms.EvoNormS0(groups=1, slope_initializer="zeros", epsilon=1e-9)
    >>> keras.ops.convert_to_numpy(layer(np.array([[2.0, 4.0]]))).round(3).tolist()
    [[1.0, 2.0]]

    Reference: [Liu, Brock, Simonyan and Le, 2020](https://arxiv.org/abs/2004.02967)
    """

    def __init__(self, groups=32, axis=-1, epsilon=1e-5, use_scale=True, use_bias=True, **kwargs):
        super().__init__(axis=axis, epsilon=epsilon, use_scale=use_scale, use_bias=use_bias, **kwargs)
        self.groups = arguments.integer("groups", groups, minimum=1)

    def build(self, input_shape):
        channels = self.take_channels(input_shape)
        arguments.divides("groups", self.groups, channels)
        self.add_learned((channels,))

    def call(self, inputs, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return evonorm.sample_activated(
            inputs, self.groups, self.slope, self.scale, self.bias, self.axis, self.epsilon, mask
        )

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
