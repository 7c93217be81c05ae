"""The record of a probe for TensorBoard."""

import contextlib

import tensorflow as tf


class TensorBoardRecord:
    """Writes scalars by quantity and layer, and histograms over the channels.

    Args:
        folder: Path of the event files.

    Raises:
        OSError: From any method, where the files cannot be written.
    """

    def __init__(self, folder):
        self._folder = folder
        with self._writing():
            self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, step, measurement):
        """Appends a `Measurement`."""
        with self._writing(), self._writer.as_default(step):
            for _, layer, weight, quantity, value in measurement.readings:
                tf.summary.scalar("/".join(filter(None, (quantity, weight or layer))), value)
            for _, layer, mean, variance in measurement.channels:
                tf.summary.histogram(f"channel_mean/{layer}", mean)
                tf.summary.histogram(f"channel_variance/{layer}", variance)
            self._writer.flush()

    def close(self):
        with self._writing():
            self._writer.close()

    @contextlib.contextmanager
    def _writing(self):
        """Raises what Python would: TensorFlow calls a full disk an exhausted resource, as it calls full memory."""
        try:
            yield
        except tf.errors.OpError as error:
            raise OSError(f"{self._folder} cannot be written: {str(error).partition(chr(10))[0]}") from error
