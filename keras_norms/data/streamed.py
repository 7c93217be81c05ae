"""Images that are read from files while training, undecoded until they are wanted.

An epoch takes the files in an order drawn from the seed and its number, cuts them into windows of some consecutive
ones, and shuffles each window by itself: what came before a step is left unread, but for the window the step lies in,
of which nothing is decoded.
"""

import tensorflow as tf

from keras_norms.data import epochs

_WINDOW_EXAMPLES = 16_384
_PREFETCHED_EXAMPLES = 4_096
# Not as many as the machine likes: the order depends on it.
_FILES_AT_ONCE = 8


class Streamed:
    """A source of examples that reads them when they are wanted.

    Args:
        records: `records.Records`.
    """

    def __init__(self, records):
        self.records = records

    @property
    def examples(self):
        return self.records.examples

    def decoded(self):
        """Returns a `tf.data.Dataset` of (image, label), one by one in the order stored."""
        return self.records.in_order().map(self.records.decode, tf.data.AUTOTUNE, deterministic=True)

    def in_order(self, batch_size):
        """Returns a `tf.data.Dataset` of batches of undecoded records as stored, the last one as long as is left."""
        return self.records.in_order().batch(batch_size)

    def shuffled(self, batch_size, seed, first_step, drop_remainder):
        """Returns the endless `tf.data.Dataset` of batches of undecoded records, each epoch in an order of its own."""
        steps = epochs.steps(self.examples, batch_size, drop_remainder)

        def epoch_of(epoch, first):
            batches = self._epoch(seed, epoch, first * batch_size).batch(batch_size)
            return batches.take(steps - first)

        return epochs.endless(epoch_of, first_step, steps).prefetch(max(1, _PREFETCHED_EXAMPLES // batch_size))

    def viewed(self, parts, view):
        """Returns the views of what is stored in records.

        Args:
            parts: `tf.data.Dataset` of (records `(rows,)`, chances `(rows, 3)`, weights `(rows,)`).
            view: One of `views`.

        Returns:
            `tf.data.Dataset` of (images, labels, weights); where the weight is 0, the image and the label are 0 too.
        """
        rows, channels = parts.element_spec[0].shape[0], self.records.image_shape[-1]

        def shown(record, chances):
            image, label = self.records.decode(record)
            return view(image[None], chances[None])[0], label

        def nothing():
            return tf.zeros((*view.shape, channels)), tf.zeros((), tf.int64)

        def shown_if_counts(record, chances, weight):
            return *tf.cond(weight > 0, lambda: shown(record, chances), nothing), weight

        examples = parts.unbatch().map(shown_if_counts, tf.data.AUTOTUNE, deterministic=True)
        return examples.batch(rows, drop_remainder=True)

    def _epoch(self, seed, epoch, used):
        """Returns the undecoded records of an epoch after the first `used`."""
        bits = epochs.random_bits((len(self.records.files), 2), seed, epoch)
        order = tf.argsort(bits[:, 0], stable=True)
        lengths = tf.gather(tf.constant(self.records.kept_lengths, tf.int64), order)
        starts = tf.cumsum(lengths, exclusive=True)
        windows = starts // _WINDOW_EXAMPLES
        first = windows[tf.searchsorted(starts, used[None], side="right")[0] - 1]
        skipped = used - tf.reduce_min(tf.boolean_mask(starts, windows == first))

        def window(number):
            files = tf.boolean_mask(order, windows == number)
            examples = tf.reduce_sum(tf.boolean_mask(lengths, windows == number))
            records = tf.data.Dataset.from_tensor_slices(files).interleave(
                self.records.of_file, _FILES_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
            # The seed of this function's graph alone: the order depends on no global state, and TensorFlow 2.21 cannot
            # combine a global seed of 0 with one that is a tensor.
            tf.random.set_seed(1)
            return records.shuffle(tf.maximum(examples, 1), bits[files[0], 1], reshuffle_each_iteration=False)

        left = tf.unique(tf.boolean_mask(windows, windows >= first)).y
        return tf.data.Dataset.from_tensor_slices(left).flat_map(window).skip(skipped)
