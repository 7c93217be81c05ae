"""How a global batch is shared out among replicas, which may belong to several workers.

Of a batch of `n` examples replica `r` of `R` gets examples `r n // R` to `(r + 1) n // R - 1`: as even as can be. What
all replicas work on has one shape, so each part is filled up to the size of the largest, with rows that do not count.
"""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Shares:
    """The parts of every global batch that one worker feeds to its replicas.

    Attributes:
        replicas: Integer, into how many parts a global batch is divided.
        first: Integer, the first part of this worker.
        count: Integer, how many parts it feeds; None for all from `first` on.
    """

    replicas: int = 1
    first: int = 0
    count: int | None = None

    def __post_init__(self):
        if self.first < 0 or self.parts < 1 or self.first + self.parts > self.replicas:
            raise ValueError(
                f"`first` and `count` must name some of the `replicas` parts of a batch. Received: {self}."
            )

    @property
    def parts(self):
        """How many parts of a global batch are fed."""
        return self.replicas - self.first if self.count is None else self.count

    def rows(self, batch_size):
        """Returns how many rows each part has, of which some may not count."""
        return -(-batch_size // self.replicas)

    def fills(self, batch_size, drop_remainder=True):
        """Returns whether any part of any batch may have rows that do not count."""
        return not drop_remainder or batch_size % self.replicas != 0

    def positions(self, examples, batch_size):
        """Returns where in a global batch the examples of each part are.

        Args:
            examples: Scalar integer tensor, how many the batch has, from 1 to `batch_size`.
            batch_size: Integer.

        Returns:
            Positions from 0 to `examples - 1`, int32 of shape `(parts, rows)`, and whether each counts, boolean.
        """
        numbers = self.first + tf.range(self.parts, dtype=tf.int64)[:, None]
        examples = tf.cast(examples, tf.int64)
        starts, stops = numbers * examples // self.replicas, (numbers + 1) * examples // self.replicas
        positions = starts + tf.range(self.rows(batch_size), dtype=tf.int64)
        return tf.cast(tf.minimum(positions, examples - 1), tf.int32), positions < stops


ALONE = Shares()
