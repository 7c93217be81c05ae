"""Batch normalization."""

import keras

from keras_norms.layers import arguments, moving_statistics, scale_and_bias
from keras_norms.ops import batch_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class BatchNorm(moving_statistics.MovingStatistics, scale_and_bias.WithScaleAndBias):
    """Normalizes each channel by the mean and variance of the batch, then scales and shifts it.

    In training the statistics are those of the batch, in inference moving averages of them. Scale and bias are
    chosen one by one; the one that is off does not exist as a variable. Use it between a linear layer and its
    activation, or behind the activation (`BatchNormBefore`, `BatchNormAfter` hold the pair). A linear layer right
    before it needs no bias.

    The moving averages start at zero and are divided by the weight they have gathered (`moving_weight`, Caffe's
    third blob), so that they are right from the first step on: read them with `statistics()`. Before any step the
    mean reads 0 and the variance 1, and inference is the identity but for `epsilon`, scale and bias. They average
    the unbiased variance. A batch without rows, or with a mask of False alone, leaves them as they are.

    On several replicas of a `tf.distribute` strategy each replica averages the batches it has seen; whatever reads,
    saves or exports the averages gets their mean over the replicas, weighted by what each has seen. That mean of
    variances leaves out how far the means of the replicas lie apart; `synchronized=True` does not.

    Mixed precision: statistics and weights are float32, whatever the layer's policy.

    Accuracy: in inference the mean is one float32, so that at a mean of 1e4 standard deviations outputs are right to
    5e-3. In training they keep their digits, but for one case: on TensorFlow, outside XLA, rank 4 with channels last
    goes through the fused kernel unless there is a mask or `synchronized=True`. With means of 1e4 standard deviations
    over 1e5 and more elements per channel its output is finite but wrong by several units, as that of Keras and PyTorch
    is.

    Args:
        axis: Integer, the channel axis. Defaults to `-1`.
        momentum: Float in [0, 1), the weight a moving average keeps in a step. PyTorch's and TensorFlow's
            `exponential_avg_factor` are `1 - momentum`. Defaults to `0.9` (He et al., 2015).
        epsilon: Float above 0, added to the variance. Defaults to `1e-5`.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per channel.
        use_global_stats: As in Caffe. `None`: batch statistics in training, moving ones in inference. `True`: moving
            statistics always, and they do not move. `False`: batch statistics always; they move in training.
        synchronized: Boolean, whether the statistics of a step are those of the batches of all replicas: one
            collective a layer, and the moving statistics are exact. It needs the replica context: not inside a
            `tf.function` nested in `strategy.run`, so not with XLA compiled per replica.
        scale_initializer, bias_initializer: Initializers, `"ones"` and `"zeros"` if not given.
        scale_regularizer, bias_regularizer: Regularizers or `None`.
        scale_constraint, bias_constraint: Constraints or `None`.
        **kwargs: `name`, `dtype`, `trainable`. With `trainable=False` the layer is frozen, as in Keras: moving
            statistics also in training (batch ones with `use_global_stats=False`), and they do not move.

    Call arguments:
        inputs: Floating tensor of rank 2 to 5.
        training: Boolean.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the statistics; they are normalized like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        scale, bias: Shape `(channels,)`, trainable.
        moving_mean, moving_variance: Shape `(channels,)`, averages from zero, not divided by their weight.
        moving_weight: Scalar, `1 - momentum**steps`.

    Example:
    >>> layer = keras_norms.BatchNorm(use_scale=False)
    >>> outputs = layer(np.array([[1.0], [2.0], [3.0], [4.0]]), training=True)
    >>> mean, variance = layer.statistics()
    >>> print(float(mean[0]), round(float(variance[0]), 4))
    2.5 1.6667

    Reference: [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167)
    """

    def __init__(
        self,
        axis=-1,
        momentum=0.9,
        epsilon=1e-5,
        use_scale=True,
        use_bias=True,
        use_global_stats=None,
        synchronized=False,
        **kwargs,
    ):
        super().__init__(
            axis=axis,
            momentum=momentum,
            use_scale=use_scale,
            use_bias=use_bias,
            use_global_stats=use_global_stats,
            synchronized=synchronized,
            **kwargs,
        )
        self.epsilon = arguments.positive("epsilon", epsilon)

    def build(self, input_shape):
        channels = self.take_channels(input_shape)
        self.add_learned((channels,))
        self.add_moving(channels)

    def batch_normalized(self, inputs, mask):
        return batch_norm.batch_normalized(
            inputs, self.scale, self.bias, self.axis, self.epsilon, mask, self.synchronize()
        )

    def normalized(self, inputs, mask):
        mean, variance = self.statistics()
        return batch_norm.normalized(inputs, mean, variance, self.scale, self.bias, self.axis, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
