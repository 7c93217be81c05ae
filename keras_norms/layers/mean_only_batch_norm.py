"""Mean-only batch normalization."""

import keras

from keras_norms.layers import moving_statistics, scale_and_bias
from keras_norms.ops import mean_only_batch_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class MeanOnlyBatchNorm(moving_statistics.MovingStatistics, scale_and_bias.WithBias):
    """Subtracts from each channel the mean of the batch and adds a bias; the spread stays as it is.

    The companion of `WeightNormalization`, which sets the spread and leaves the mean: wrap the linear layer, give it
    no bias of its own, and put this layer behind it. Its noise is gentler than that of `BatchNorm`, the gradient
    loses its mean and nothing else.

    In training the mean is that of the batch, in inference a moving average. The average starts at zero and is divided
    by the weight it has gathered, so that it is right from the first step on: read it with `statistics()`. Masks,
    batches without rows, replicas and `synchronized` are as in `BatchNorm`.

    Mixed precision: statistics and weights are float32, whatever the layer's policy.

    Args:
        axis: Integer, the channel axis. Defaults to `-1`.
        momentum: Float in [0, 1), the weight a moving average keeps in a step. Defaults to `0.9`.
        use_bias: Boolean, whether there is a learned summand per channel.
        use_global_stats: `None`: the mean of the batch in training, the moving one in inference. `True`: the moving
            mean always, and it does not move. `False`: the mean of the batch always; the moving one moves in training.
        synchronized: Boolean, whether the mean of a step is that of the batches of all replicas. See `BatchNorm`.
        **kwargs: `bias_initializer` (`"zeros"` if not given), `bias_regularizer`, `bias_constraint`; `name`, `dtype`,
            `trainable`. With `trainable=False` the layer is frozen, as `BatchNorm` is.

    Call arguments:
        inputs: Floating tensor of rank 2 to 5.
        training: Boolean.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the mean; they are shifted like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        bias: Shape `(channels,)`, trainable.
        moving_mean: Shape `(channels,)`, an average from zero, not divided by its weight.
        moving_weight: Scalar, `1 - momentum**steps`.

    Example:
    >>> layer = keras_norms.MeanOnlyBatchNorm()
    >>> outputs = layer(np.array([[1.0], [2.0], [6.0]]), training=True)
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[-2.0], [-1.0], [3.0]]

    Reference: [Salimans and Kingma, 2016](https://arxiv.org/abs/1602.07868)
    """

    moving = ("mean",)

    def __init__(self, axis=-1, momentum=0.9, use_bias=True, use_global_stats=None, synchronized=False, **kwargs):
        super().__init__(
            axis=axis,
            momentum=momentum,
            use_bias=use_bias,
            use_global_stats=use_global_stats,
            synchronized=synchronized,
            **kwargs,
        )

    def build(self, input_shape):
        channels = self.take_channels(input_shape)
        self.add_learned((channels,))
        self.add_moving(channels)

    def batch_normalized(self, inputs, mask):
        return mean_only_batch_norm.batch_normalized(inputs, self.bias, self.axis, mask, self.synchronize())

    def normalized(self, inputs, mask):
        (mean,) = self.statistics()
        return mean_only_batch_norm.normalized(inputs, mean, self.bias, self.axis)
