"""What batch norm's family shares: statistics of the batch in training, moving averages of them in inference."""

import keras
from keras import ops

from keras_norms.layers import arguments, counted_rows
from keras_norms.ops import batch_norm, moving_average, replicas

# What a moving statistic reads before it has seen a batch.
_UNSEEN = {"mean": 0.0, "variance": 1.0}


class MovingStatistics(keras.Layer):
    """Base of the layers that normalize with statistics of the batch in training, with moving ones in inference.

    A subclass names its statistics in `moving`, creates them in `build`, and says in `batch_normalized` and
    `normalized` what it computes.

    Args:
        momentum: Float in [0, 1), the weight a moving average keeps in a step.
        use_global_stats: None, True or False, as in Caffe.
        synchronized: Boolean, whether the statistics of a step are those of the batches of all replicas.
        **kwargs: The arguments of the other base.
    """

    moving = ("mean", "variance")

    def __init__(self, momentum=0.9, use_global_stats=None, synchronized=False, **kwargs):
        super().__init__(**kwargs)
        self.momentum = arguments.momentum(momentum)
        self.use_global_stats = arguments.one_of("use_global_stats", use_global_stats, [None, True, False])
        self.synchronized = arguments.boolean("synchronized", synchronized)

    def batch_normalized(self, inputs, mask):
        """Returns the outputs, normalized with statistics of the batch, and the `Moments` of the whole batch."""
        raise NotImplementedError

    def normalized(self, inputs, mask):
        """Returns the outputs, normalized with the moving statistics."""
        raise NotImplementedError

    def add_moving(self, channels):
        """Creates the moving statistics, averages from zero, and the weight they have gathered."""
        for name in self.moving:
            setattr(self, f"moving_{name}", self._add_average(f"moving_{name}", (channels,)))
        self.moving_weight = self._add_average("moving_weight", ())

    def call(self, inputs, training=None, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        learning = bool(training) and self.trainable
        batch_statistics = learning if self.use_global_stats is None else not self.use_global_stats
        if not batch_statistics:
            return self.normalized(inputs, mask)
        outputs, moments = self.batch_normalized(inputs, counted_rows.masked(mask, inputs))
        if learning:
            self._move(moments)
        return outputs

    def statistics(self):
        """Returns the moving statistics, divided by their weight. In a replica of a strategy, as wherever they are read
        outside, they are averaged over the replicas.

        Returns:
            Tuple of tensors of shape `(channels,)`, in the order of `moving`. Before the first step in training a mean
            is 0 and a variance 1.
        """
        return self._averages(replicas.mean(self._totals()))

    def own_statistics(self):
        """Returns the moving statistics of this replica alone, as `statistics` does, without a collective."""
        return self._averages([ops.convert_to_tensor(total) for total in self._totals()])

    def moments(self, inputs, mask):
        """Returns the `Moments` of the batch, or of the batches of all replicas if they are synchronized."""
        batch = batch_norm.moments(inputs, self.axis, mask)
        return batch_norm.synchronized(batch) if self.synchronize() else batch

    def synchronize(self):
        """Returns whether statistics are synchronized, or says why they cannot be."""
        if self.synchronized and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`synchronized=True` needs the TensorFlow backend to train. With JAX's keras.distribution statistics "
                f"are synchronized without it. Received: backend={keras.backend.backend()!r}."
            )
        return self.synchronized

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "use_global_stats": self.use_global_stats,
            "synchronized": self.synchronized,
        }

    def _add_average(self, name, shape):
        # Not add_weight, which cannot say how replicas synchronize (Keras 3.15): without it each replica keeps
        # statistics of its own and those of the first one are saved (keras#20699).
        return keras.Variable(
            "zeros",
            shape=shape,
            dtype=self.statistics_dtype(),
            trainable=False,
            autocast=False,
            aggregation="mean",
            synchronization="on_read",
            name=name,
        )

    def _totals(self):
        return [getattr(self, f"moving_{name}") for name in (*self.moving, "weight")]

    def _averages(self, totals):
        *totals, weight = totals
        initial = [_UNSEEN[name] for name in self.moving]
        return tuple(moving_average.average(t, weight, start) for t, start in zip(totals, initial, strict=True))

    def _move(self, moments):
        values = {
            "mean": moments.mean + moments.residual,
            "variance": batch_norm.unbiased(moments.variance, moments.count),
            "weight": ops.ones(()),
        }
        for name, total in zip((*self.moving, "weight"), self._totals(), strict=True):
            total.assign(moving_average.updated(total.value, values[name], self.momentum, moments.count))
