"""From images of a data set to batches a network trains on.

Training: each view is a random crop, half of them mirrored. Images that are
stored at the size the network takes are padded by an eighth of it and cropped (4
pixels at 32, as He et al., 2015); others are resized so that the shorter side is
an eighth longer than the network's, and cropped (144 to 128 pixels, as Mishkin
et al., 2017). Testing: the centre.

All randomness is a function of the seed and the position in the stream, so that a
run that continues at step k sees what the uninterrupted one saw.
"""

import dataclasses

import tensorflow as tf

from keras_norms.data import datasets

_SHUFFLED_EXAMPLES = 16_384


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What happens to every image, in training and in service.

    Attributes:
        size: Integer, height and width in pixels of what the network takes.
        mean, deviation: Tuples of floats per channel, in pixel values 0 to 255.
    """

    size: int
    mean: tuple
    deviation: tuple

    def __call__(self, pixels):
        """Returns `(pixels - mean) / deviation`, float32.

        Args:
            pixels: Tensor of shape `(..., channels)`, values 0 to 255 of any dtype.
        """
        return (tf.cast(pixels, tf.float32) - self.mean) / self.deviation

    @property
    def margin(self):
        return self.size // 8


def preprocessing(dataset, size):
    """Returns the `Preprocessing` with the pixel statistics of a data set."""
    mean, deviation = datasets.pixel_statistics(dataset)
    return Preprocessing(size, tuple(mean), tuple(deviation))


def training_batches(dataset, prepare, batch_size, seed, crop=True, flip=True, first_step=0):
    """Returns the endless stream of training batches, epoch after epoch, each shuffled anew.

    An epoch is `train_examples // batch_size` batches; the examples that do not fill one are others every time.

    Args:
        dataset: `datasets.Dataset`.
        prepare: `Preprocessing`.
        batch_size: Integer, over all replicas.
        seed: Integer.
        crop, flip: Booleans, whether views are cropped at random, mirrored at random.
        first_step: Integer, how many batches of the stream have been used already.

    Returns:
        `tf.data.Dataset` of (images float32 `(batch, size, size, channels)`, labels int64 `(batch,)`).

    Raises:
        ValueError: The set has not enough images for one batch.
    """
    steps = steps_per_epoch(dataset, batch_size)
    first_epoch, used_steps = divmod(first_step, steps)
    together = _viewed_together(dataset, batch_size)

    def epoch_of(epoch):
        # The seed of this function's graph alone: the order depends on no global state, and TensorFlow 2.21 cannot
        # combine a global seed of 0 with one that is a tensor.
        tf.random.set_seed(1)
        # A seed of its own for each epoch: a shuffle that counts its repetitions forgets them in a new process.
        shuffled = dataset.train.shuffle(_shuffle_buffer(dataset), seed * 1_000_003 + epoch, False)
        used = tf.where(epoch == first_epoch, used_steps * batch_size, 0)
        return shuffled.take(steps * batch_size).skip(tf.cast(used, tf.int64)).batch(together, drop_remainder=True)

    def view(position, batch):
        images, labels = batch
        return _random_views(images, prepare, tf.stack([tf.cast(seed, tf.int64), position]), crop, flip), labels

    stream = tf.data.Dataset.counter(start=first_epoch).flat_map(epoch_of)
    stream = stream.enumerate(start=first_step * batch_size // together).map(view, tf.data.AUTOTUNE, deterministic=True)
    return _rebatched(stream, together, batch_size).prefetch(tf.data.AUTOTUNE)


def test_batches(dataset, prepare, batch_size):
    """Returns all test images once, in batches of one size.

    Args:
        dataset: `datasets.Dataset`.
        prepare: `Preprocessing`.
        batch_size: Integer, over all replicas.

    Returns:
        `tf.data.Dataset` of (images, labels, weights float32 `(batch,)`). The last batch is filled up with images of
        weight 0, so that one compiled program serves all.
    """
    together = _viewed_together(dataset, batch_size)

    def view(images, labels):
        return _centre_views(images, prepare), labels

    def filled(images, labels):
        missing = batch_size - tf.shape(labels)[0]
        tensors = (images, labels, tf.ones_like(labels, tf.float32))
        padded = (tf.pad(t, [[0, missing]] + [[0, 0]] * (t.shape.rank - 1)) for t in tensors)
        return tuple(tf.ensure_shape(p, (batch_size, *t.shape[1:])) for p, t in zip(padded, tensors, strict=True))

    views = dataset.test.batch(together).map(view, tf.data.AUTOTUNE)
    return _rebatched(views, together, batch_size).map(filled, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def example_pixels(dataset, size, count=16):
    """Returns the first test images as the network is shown them, but as pixels from 0 to 255.

    Returns:
        Array of shape `(count, size, size, channels)`, float32.
    """
    pixels = Preprocessing(size, (0.0,), (1.0,))
    images, _, weights = next(iter(test_batches(dataset, pixels, count)))
    return images.numpy()[weights.numpy() > 0]


def steps_per_epoch(dataset, batch_size):
    """Returns how many full batches the training images make.

    Raises:
        ValueError: Not one.
    """
    steps = dataset.train_examples // batch_size
    if steps < 1:
        raise ValueError(
            f"`batch_size` must be at most the number of training images, {dataset.train_examples}. "
            f"Received: batch_size={batch_size}."
        )
    return steps


def _viewed_together(dataset, batch_size):
    """Returns how many images are resized and cropped by one call: a batch, or one where their sizes differ."""
    return batch_size if dataset.has_one_size else 1


def _rebatched(views, together, batch_size):
    return views if together == batch_size else views.unbatch().batch(batch_size)


def _shuffle_buffer(dataset):
    return dataset.train_examples if dataset.has_one_size else min(dataset.train_examples, _SHUFFLED_EXAMPLES)


def _random_views(images, prepare, seed, crop, flip):
    """Returns one view of each image, drawn with a seed of shape `(2,)`."""
    images = _canvas(images, prepare)
    count = tf.shape(images)[0]
    room = tf.shape(images)[1:3] - prepare.size
    chances = tf.random.stateless_uniform((count, 3), seed)
    corners = chances[:, :2] * tf.cast(room + 1, tf.float32) if crop else tf.cast(room[None] // 2, tf.float32)
    corners = tf.minimum(tf.cast(corners, tf.int32), room)
    mirrored = (chances[:, 2] < 0.5) & flip
    return _windows(images, corners, mirrored, prepare.size)


def _centre_views(images, prepare):
    images = _canvas(images, prepare)
    corners = (tf.shape(images)[1:3] - prepare.size)[None] // 2
    return _windows(images, corners, tf.constant([False]), prepare.size)


def _canvas(images, prepare):
    """Returns the images, normalized, with the room around a view that the module's text tells of."""
    images = prepare(_resized(images, prepare))
    if images.shape[1:3].as_list() != [prepare.size] * 2:
        return images
    margins = [prepare.margin, prepare.margin]
    return tf.pad(images, [[0, 0], margins, margins, [0, 0]])


def _resized(images, prepare):
    if images.shape[1:3].as_list() == [prepare.size] * 2:
        return images
    sides = tf.cast(tf.shape(images)[1:3], tf.float32)
    wanted = tf.round(sides * (prepare.size + prepare.margin) / tf.reduce_min(sides))
    return tf.image.resize(images, tf.cast(wanted, tf.int32), antialias=True)


def _windows(images, corners, mirrored, size):
    """Returns a window of each image, two gathers for a batch; corners and mirrored broadcast over it."""
    count = tf.shape(images)[0]
    steps = tf.range(size)
    rows = tf.broadcast_to(corners[:, :1] + steps, (count, size))
    columns = tf.broadcast_to(corners[:, 1:] + tf.where(mirrored[:, None], steps[::-1], steps), (count, size))
    images = tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    return tf.ensure_shape(images, (None, size, size, images.shape[-1]))
