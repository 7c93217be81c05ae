"""The record of a probe for TensorBoard."""

import tensorflow as tf


class TensorBoardRecord:
    """Writes scalars by quantity and layer, and histograms over the channels.

    Args:
        folder: Path of the event files.
    """

    def __init__(self, folder):
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, step, measurement):
        """Appends a `Measurement`."""
        with self._writer.as_default(step):
            for _, layer, weight, quantity, value in measurement.readings:
                tf.summary.scalar("/".join(filter(None, (quantity, weight or layer))), value)
            for _, layer, mean, variance in measurement.channels:
                tf.summary.histogram(f"channel_mean/{layer}", mean)
                tf.summary.histogram(f"channel_variance/{layer}", variance)
        self._writer.flush()

    def close(self):
        self._writer.close()
