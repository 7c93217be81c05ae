"""Batch normalization."""

import keras
from keras import ops

from keras_norms.ops import axes, batch_norm, moving_average, replicas


@keras.saving.register_keras_serializable(package="keras_norms")
class BatchNorm(keras.Layer):
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
        scale_initializer=None,
        bias_initializer=None,
        scale_regularizer=None,
        bias_regularizer=None,
        scale_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _check(axis, momentum, epsilon, use_global_stats)
        _check_unused("scale", use_scale, scale_initializer, scale_regularizer, scale_constraint)
        _check_unused("bias", use_bias, bias_initializer, bias_regularizer, bias_constraint)
        self.axis = axis
        self.momentum = momentum
        self.epsilon = epsilon
        self.use_scale = use_scale
        self.use_bias = use_bias
        self.use_global_stats = use_global_stats
        self.synchronized = synchronized
        self.scale_initializer = keras.initializers.get(scale_initializer or ("ones" if use_scale else None))
        self.bias_initializer = keras.initializers.get(bias_initializer or ("zeros" if use_bias else None))
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.scale_constraint = keras.constraints.get(scale_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.supports_masking = True

    def build(self, input_shape):
        rank = len(input_shape)
        if not 2 <= rank <= 5:
            raise ValueError(f"The input must have a rank of 2 to 5. Received: input shape={tuple(input_shape)}.")
        channels = axes.channels(input_shape, self.axis)
        self.input_spec = keras.layers.InputSpec(ndim=rank, axes={self.axis % rank: channels})
        self.scale = self._add_learned("scale", channels) if self.use_scale else None
        self.bias = self._add_learned("bias", channels) if self.use_bias else None
        self.moving_mean = self._moving("moving_mean", (channels,))
        self.moving_variance = self._moving("moving_variance", (channels,))
        self.moving_weight = self._moving("moving_weight", ())

    def call(self, inputs, training=None, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        learning = bool(training) and self.trainable
        batch_statistics = learning if self.use_global_stats is None else not self.use_global_stats
        if not batch_statistics:
            mean, variance = self.statistics()
            return batch_norm.normalized(inputs, mean, variance, self.scale, self.bias, self.axis, self.epsilon)
        outputs, moments = batch_norm.batch_normalized(
            inputs, self.scale, self.bias, self.axis, self.epsilon, mask, self._synchronize()
        )
        if learning:
            self._move(moments)
        return outputs

    def statistics(self):
        """Returns the moving mean and the moving variance (unbiased), divided by their weight.

        In a replica of a strategy they are averaged over the replicas.

        Returns:
            Two tensors of shape `(channels,)`: 0 and 1 before the first step in training.
        """
        mean, variance, weight = replicas.mean([self.moving_mean, self.moving_variance, self.moving_weight])
        return moving_average.average(mean, weight, 0.0), moving_average.average(variance, weight, 1.0)

    def compute_output_shape(self, input_shape):
        axes.positive(self.axis, len(input_shape))
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "use_scale": self.use_scale,
            "use_bias": self.use_bias,
            "use_global_stats": self.use_global_stats,
            "synchronized": self.synchronized,
            "scale_initializer": keras.initializers.serialize(self.scale_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "scale_constraint": keras.constraints.serialize(self.scale_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }

    def _statistics_dtype(self):
        return "float64" if self.variable_dtype == "float64" else "float32"

    def _add_learned(self, name, channels):
        return self.add_weight(
            name=name,
            shape=(channels,),
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
            dtype=self._statistics_dtype(),
            autocast=False,
        )

    def _moving(self, name, shape):
        # Not add_weight, which cannot say how replicas synchronize (Keras 3.15): without it each replica keeps
        # statistics of its own and those of the first one are saved (keras#20699).
        return keras.Variable(
            "zeros",
            shape=shape,
            dtype=self._statistics_dtype(),
            trainable=False,
            autocast=False,
            aggregation="mean",
            synchronization="on_read",
            name=name,
        )

    def _synchronize(self):
        if self.synchronized and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`synchronized=True` needs the TensorFlow backend to train. With JAX's keras.distribution statistics "
                f"are synchronized without it. Received: backend={keras.backend.backend()!r}."
            )
        return self.synchronized

    def _move(self, moments):
        for total, value in (
            (self.moving_mean, moments.mean + moments.residual),
            (self.moving_variance, batch_norm.unbiased(moments.variance, moments.count)),
            (self.moving_weight, ops.ones(())),
        ):
            total.assign(moving_average.updated(total.value, value, self.momentum, moments.count))


def _check(axis, momentum, epsilon, use_global_stats):
    if not isinstance(axis, int):
        raise ValueError(f"`axis` must be one integer, the channel axis. Received: axis={axis!r}.")
    if not 0 <= momentum < 1:
        raise ValueError(
            "`momentum` is the weight a moving average keeps, and must be at least 0 and below 1. "
            f"Received: momentum={momentum!r}."
        )
    if not epsilon > 0:
        raise ValueError(f"`epsilon` must be above 0. Received: epsilon={epsilon!r}.")
    if use_global_stats not in (None, True, False):
        raise ValueError(f"`use_global_stats` must be None, True or False. Received: {use_global_stats!r}.")


def _check_unused(name, used, *options):
    if not used and any(option is not None for option in options):
        raise ValueError(
            f"`{name}_initializer`, `{name}_regularizer` and `{name}_constraint` need `use_{name}=True`. "
            f"Received: use_{name}={used}, {options}."
        )
