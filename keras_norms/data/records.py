"""The stored examples of a split: TFRecord files of TensorFlow Datasets, read without decoding more than is asked for.

A record is named by its index: its position in the split, file after file.
"""

import dataclasses
import re

import numpy as np
import tensorflow as tf

_FEATURES = {"image": tf.io.FixedLenFeature((), tf.string), "label": tf.io.FixedLenFeature((), tf.int64)}
_DECODED_TOGETHER = 64
# What reading a bad record raises. TensorFlow quotes one that is no example, and fails to turn the quotation into text.
READING_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
_UNREADABLE = "it cannot be read: its file is missing, ends before it, or is damaged there or before it"


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of a split.

    Attributes:
        files: Tuple of paths.
        lengths: Tuple of integers, how many records each file holds.
        image_shape: Tuple (height, width, channels) that each image must have; None for what may differ.
        classes: Integer; labels are from 0 to below it.
        left_out: Tuple of integers, indices of records that are passed over.
    """

    files: tuple
    lengths: tuple
    image_shape: tuple
    classes: int
    left_out: tuple = ()

    @property
    def examples(self):
        return sum(self.lengths) - len(self.left_out)

    @property
    def kept_lengths(self):
        """How many records of each file are not left out, an int64 array."""
        return np.array([kept.sum() for kept in self._kept()], "int64")

    def of_file(self, number):
        """Returns a `tf.data.Dataset` of the undecoded records of a file that are not left out.

        Its iteration fails with one of `READING_ERRORS` where the file is damaged or too short.

        Args:
            number: Integer or scalar tensor, which file.
        """
        # Up to the last one that is kept: a file that is damaged behind it, or all of it, is not read there.
        lengths = [np.max(np.flatnonzero(kept), initial=-1) + 1 for kept in self._kept()]
        length = tf.gather(tf.constant(lengths, tf.int64), number)
        records = self._numbered(number, length).apply(tf.data.experimental.assert_cardinality(length))
        if self.left_out:
            left_out = tf.constant(self.left_out, tf.int64)
            records = records.filter(lambda index, record: tf.reduce_all(index != left_out))
        return records.map(lambda index, record: record)

    def in_order(self):
        """Returns a `tf.data.Dataset` of all undecoded records that are not left out."""
        return tf.data.Dataset.range(len(self.files)).flat_map(self.of_file)

    def decode(self, record):
        """Returns the image, uint8, and the label, int64, of a record. Fails on a bad one.

        An image of one channel stored as JPEG is repeated over the channels, as ImageNet has some among its colours.
        """
        features = tf.io.parse_single_example(record, _FEATURES)
        contents, label = features["image"], features["label"]
        in_range = tf.debugging.Assert((label >= 0) & (label < self.classes), [label])
        image = tf.io.decode_image(contents, channels=0, expand_animations=False)
        image.set_shape((None, None, None))
        grey = tf.io.is_jpeg(contents) & (tf.shape(image)[-1] == 1)
        image = tf.cond(grey, lambda: tf.repeat(image, self.image_shape[-1], axis=-1), lambda: image)
        with tf.control_dependencies([in_range] if in_range is not None else []):
            return tf.ensure_shape(image, self.image_shape), label

    def decoded(self):
        """Returns the images and the labels of all that is not left out, as arrays, in the order stored.

        Raises:
            `READING_ERRORS`: A record is bad.
        """
        images, labels = np.empty((self.examples, *self.image_shape), "uint8"), np.empty(self.examples, "int64")
        types = tf.TensorSpec(self.image_shape, tf.uint8), tf.TensorSpec((), tf.int64)
        batches = self.in_order().batch(_DECODED_TOGETHER)
        batches = batches.map(lambda batch: tf.map_fn(self.decode, batch, fn_output_signature=types), tf.data.AUTOTUNE)
        start = 0
        for some_images, some_labels in batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            stop = start + len(some_labels)
            images[start:stop], labels[start:stop] = some_images, some_labels
            start = stop
        return images, labels

    def faults(self):
        """Reads and decodes all records.

        Returns:
            Dict from the indices of bad records, ascending, to what is wrong with each.
        """

        def decoded(index, record):
            image, _ = self.decode(record)
            return index, tf.reduce_max(image)  # or else it would not be decoded

        intact = self._all_numbered().map(decoded, tf.data.AUTOTUNE).ignore_errors().batch(1024)
        found = [indices for indices, _ in intact.as_numpy_iterator()]
        bad = np.setdiff1d(np.arange(sum(self.lengths)), np.concatenate([[], *found]))
        faults = dict.fromkeys(bad.tolist(), _UNREADABLE)
        if faults:
            wanted = tf.constant(bad, tf.int64)
            records = self._all_numbered().ignore_errors().filter(lambda index, _: tf.reduce_any(index == wanted))
            faults.update((int(index), self._fault(record)) for index, record in records)
        return faults

    def without(self, indices):
        """Returns these records but for some."""
        return dataclasses.replace(self, left_out=tuple(sorted({*self.left_out, *indices})))

    def _all_numbered(self):
        # A file that cannot be opened fails again and again where errors are ignored.
        numbers = [number for number, file in enumerate(self.files) if _opens(file)]
        lengths = tf.constant(self.lengths, tf.int64)
        files = tf.data.Dataset.from_tensor_slices(tf.constant(numbers, tf.int64))
        return files.flat_map(lambda number: self._numbered(number, lengths[number]))

    def _numbered(self, number, length):
        """Returns a `tf.data.Dataset` of (index, record) of a file, up to a length."""
        starts = tf.constant(np.cumsum([0, *self.lengths[:-1]]), tf.int64)
        records = tf.data.TFRecordDataset(tf.gather(tf.constant(self.files), number))
        return records.take(length).enumerate(start=tf.gather(starts, number))

    def _kept(self):
        """Returns, for each file, a boolean array that says which of its records are not left out."""
        kept = np.ones(sum(self.lengths), bool)
        kept[list(self.left_out)] = False
        return np.split(kept, np.cumsum(self.lengths)[:-1])

    def _fault(self, record):
        try:
            features = tf.io.parse_single_example(record, _FEATURES)
        except READING_ERRORS:
            return "it is no example with the features `image` and `label`"
        label = int(features["label"])
        if not 0 <= label < self.classes:
            return f"its label is {label}, but the classes are 0 to {self.classes - 1}"
        try:
            shape = tf.io.decode_image(features["image"], channels=0, expand_animations=False).shape.as_list()
        except tf.errors.OpError as error:
            return f"its image cannot be decoded: {_said(error)}"
        wanted = ["any" if side is None else side for side in self.image_shape]
        return f"its image has the shape {shape}, but the set has {wanted}"


def _opens(file):
    try:
        with tf.io.gfile.GFile(file, "rb") as opened:
            opened.read(1)
    except tf.errors.OpError:
        return False
    return True


def _said(error):
    """Returns what TensorFlow said of an error, without where in a graph it occurred."""
    return re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|name:\s*$|\n.*", "", error.message, flags=re.DOTALL).strip(" .")
