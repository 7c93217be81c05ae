"""Ghost batch normalization."""

import keras

from keras_norms.layers import arguments, batch_norm
from keras_norms.ops import ghost_batch_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class GhostBatchNorm(batch_norm.BatchNorm):
    """Batch norm whose statistics in training are those of small parts of the batch, each part with its own.

    Use it where the batch is large, for speed or for many devices, and the noise of small batches is missed. In
    inference it is `BatchNorm`, with moving statistics. With one part it is `BatchNorm` in training, too.

    A part is made of consecutive examples, at most `ghost_batch_size` of them. Where that does not divide the batch,
    as in the last step of an epoch, there are as few parts as that allows, as equal as they can be: 9 examples in
    parts of at most 8 are 5 and 4, never 8 and a lone 1. A batch of unknown size, in a `tf.function` or under XLA, is
    divided as it comes.

    The moving statistics move once a step, by the statistics of the whole batch (parts merged), just as those of
    `BatchNorm`. Implementations that call batch norm once a part move them once a part: their momentum of m is
    `m ** parts` here.

    On replicas of a `tf.distribute` strategy each divides the examples it has; no part crosses replicas, so there is
    no `synchronized`.

    Args:
        ghost_batch_size: Integer of at least 1, the largest number of examples in a part.
        **kwargs: The arguments of `BatchNorm`, but for `synchronized=True`.

    Call arguments:
        inputs: Floating tensor of rank 2 to 5.
        training: Boolean.
        mask: Boolean tensor with the first axes of the inputs, without the channel axis. Positions it leaves out do
            not count in the statistics of their part; they are normalized like the others.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights: Those of `BatchNorm`, whose weights it takes.

    Example:
    >>> layer = keras_norms.GhostBatchNorm(2, use_scale=False, use_bias=False)
    >>> outputs = layer(np.array([[1.0], [3.0], [100.0], [104.0]]), training=True)
    >>> keras.ops.convert_to_numpy(outputs).round(3).tolist()
    [[-1.0], [1.0], [-1.0], [1.0]]

    Reference: [Hoffer, Hubara and Soudry, 2017](https://arxiv.org/abs/1705.08741)
    """

    def __init__(self, ghost_batch_size, **kwargs):
        super().__init__(**kwargs)
        self.ghost_batch_size = arguments.integer("ghost_batch_size", ghost_batch_size, minimum=1)
        if self.synchronized:
            raise ValueError(
                "Statistics of small parts are not those of all replicas: take `BatchNorm`, or leave `synchronized` "
                f"out. Received: synchronized=True, ghost_batch_size={ghost_batch_size}."
            )

    def batch_normalized(self, inputs, mask):
        return ghost_batch_norm.batch_normalized(
            inputs, self.ghost_batch_size, self.scale, self.bias, self.axis, self.epsilon, mask
        )

    def get_config(self):
        return {**super().get_config(), "ghost_batch_size": self.ghost_batch_size}
