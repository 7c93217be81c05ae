"""Images of one size, decoded once and held in memory: a batch is a gather of rows."""

import tensorflow as tf

from keras_norms.data import epochs


class InMemory:
    """A source of examples that holds all of them.

    The order of an epoch is a permutation drawn from the seed and the epoch's number; a stream that starts at a later
    step reads nothing of what came before.

    Args:
        images: Array of shape `(examples, height, width, channels)`, uint8.
        labels: Array of shape `(examples,)`, integers.
    """

    def __init__(self, images, labels):
        with tf.device("CPU:0"):
            self.images = tf.convert_to_tensor(images, tf.uint8)
            self.labels = tf.cast(labels, tf.int64)

    @property
    def examples(self):
        return self.images.shape[0]

    def decoded(self):
        """Returns a `tf.data.Dataset` of (image, label), one by one in the order stored."""
        return tf.data.Dataset.from_tensor_slices((self.images, self.labels))

    def in_order(self, batch_size):
        """Returns a `tf.data.Dataset` of batches of references in the order stored, the last one as long as is left."""
        return tf.data.Dataset.range(self.examples).batch(batch_size)

    def shuffled(self, batch_size, seed, first_step, drop_remainder):
        """Returns the endless `tf.data.Dataset` of batches of references, each epoch in an order of its own."""
        steps = epochs.steps(self.examples, batch_size, drop_remainder)

        def epoch_of(epoch, first):
            order = tf.argsort(epochs.random_bits((self.examples,), seed, epoch), stable=True)
            batches = tf.data.Dataset.range(first, steps)
            return batches.map(lambda step: tf.cast(order[step * batch_size : (step + 1) * batch_size], tf.int64))

        return epochs.endless(epoch_of, first_step, steps)

    def viewed(self, parts, view):
        """Returns the views of what references stand for.

        Args:
            parts: `tf.data.Dataset` of (references `(rows,)`, chances `(rows, 3)`, weights `(rows,)`).
            view: One of `views`.

        Returns:
            `tf.data.Dataset` of (images, labels, weights); where the weight is 0, the image and the label are 0 too.
        """

        def shown(references, chances, weights):
            images = view(tf.gather(self.images, references), chances)
            counts = weights > 0
            images = tf.cond(tf.reduce_all(counts), lambda: images, lambda: _zero_unless(counts, images))
            return images, _zero_unless(counts, tf.gather(self.labels, references)), weights

        return parts.map(shown, tf.data.AUTOTUNE, deterministic=True)


def _zero_unless(counts, rows):
    return tf.where(tf.reshape(counts, [-1] + [1] * (rows.shape.rank - 1)), rows, tf.zeros((), rows.dtype))
