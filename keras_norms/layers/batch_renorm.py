"""Batch renormalization."""

import keras
from keras import ops

from keras_norms.layers import arguments, batch_norm
from keras_norms.ops import batch_renorm


@keras.saving.register_keras_serializable(package="keras_norms")
class BatchRenorm(batch_norm.BatchNorm):
    """Batch norm that computes in training nearly what it will compute in inference.

    In training the normalized batch is corrected towards the moving statistics: multiplied and shifted, within limits,
    so that it comes out as inference would give it. Within the limits training and inference compute the same; the
    gradient still sees the statistics of the batch. Use it where batches are small or not drawn independently. In
    inference it is `BatchNorm`.

    The limits are variables, `scale_limit` and `shift_limit`, which start at `maximum_scale` and `maximum_shift` and
    are saved with the weights. With limits of 1 and 0 it is `BatchNorm`. The paper starts so, for 5,000 steps, and
    then relaxes them, the scale's to 3 at step 40,000, the shift's to 5 at step 25,000 (as implementations quote it).
    Do that by assigning to them, from a callback for instance:

        def relax(batch, logs=None):
            step = float(model.optimizer.iterations)
            layer.scale_limit.assign(np.interp(step, [5_000, 40_000], [1, 3]))
            layer.shift_limit.assign(np.interp(step, [5_000, 25_000], [0, 5]))

        model.fit(..., callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=relax)])

    On JAX, where `fit` holds the state of an epoch itself, take `on_epoch_begin`.

    Before there are moving statistics, in the first step, it is `BatchNorm` whatever the limits: corrected towards
    the mean 0 and variance 1 that they read then, it would not normalize at all.

    On replicas of a `tf.distribute` strategy each corrects towards the moving statistics of its own batches. With
    `synchronized=True` they are the same on all, and so is the correction.

    Args:
        maximum_scale: Float of at least 1, or infinite: the correcting factor stays between its inverse and it.
        maximum_shift: Float of at least 0, or infinite: the correcting summand stays between its negative and it.
        **kwargs: The arguments of `BatchNorm`.

    Call arguments: Those of `BatchNorm`.
    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        Those of `BatchNorm`.
        scale_limit, shift_limit: Scalars, not trainable.

    Example:
    >>> layer = keras_norms.BatchRenorm(float("inf"), float("inf"))
    >>> outputs = layer(np.array([[0.0], [2.0]]), training=True)  # the first: batch norm
    >>> before = layer(np.array([[7.0]]))
    >>> bool(layer(np.array([[7.0]]), training=True)[0, 0] == before[0, 0])
    True

    Reference: [Ioffe, 2017](https://arxiv.org/abs/1702.03275)
    """

    def __init__(self, maximum_scale, maximum_shift, **kwargs):
        super().__init__(**kwargs)
        self.maximum_scale = arguments.number("maximum_scale", maximum_scale, minimum=1)
        self.maximum_shift = arguments.number("maximum_shift", maximum_shift, minimum=0)

    def build(self, input_shape):
        super().build(input_shape)
        self.scale_limit = self._add_limit("scale_limit", self.maximum_scale)
        self.shift_limit = self._add_limit("shift_limit", self.maximum_shift)

    def batch_normalized(self, inputs, mask):
        batch = self.moments(inputs, mask)
        factor, shift = self._corrections(batch)
        outputs = batch_renorm.batch_normalized(
            inputs, batch, factor, shift, self.scale, self.bias, self.axis, self.epsilon
        )
        return outputs, batch

    def get_config(self):
        return {
            **super().get_config(),
            "maximum_scale": self.maximum_scale,
            "maximum_shift": self.maximum_shift,
        }

    def _corrections(self, batch):
        unseen = ops.equal(ops.convert_to_tensor(self.moving_weight), 0.0)
        scale_limit = ops.where(unseen, 1.0, ops.convert_to_tensor(self.scale_limit))
        shift_limit = ops.where(unseen, 0.0, ops.convert_to_tensor(self.shift_limit))
        mean, variance = self.own_statistics()
        return batch_renorm.corrections(batch, mean, variance, scale_limit, shift_limit, self.epsilon)

    def _add_limit(self, name, value):
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype=self.statistics_dtype(),
            trainable=False,
            autocast=False,
        )
