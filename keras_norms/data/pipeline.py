"""From images of a data set to batches a network trains on, and tests on.

Training: each view is a random crop, half of them mirrored. Testing: the centre, or ten crops (`views`).

A global batch is shared out among replicas (`shares`), and every example of it counts once: its weight is one over
their number, so that a sum over all replicas is a mean over the batch, whatever they are divided into.

All randomness is a function of the seed and the position in the stream, so that a run that continues at step k sees
what the uninterrupted one saw, and any number of replicas and workers sees what one would.
"""

import dataclasses

import tensorflow as tf

from keras_norms.data import datasets, epochs, views
from keras_norms.data.shares import ALONE


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What happens to every image, in training and in service.

    Attributes:
        size: Integer, height and width in pixels of what the network takes.
        mean, deviation: Tuples of floats per channel, in pixel values 0 to 255.
        margin: Integer, by how many pixels the shorter side of an image is longer than `size` before it is cropped;
            an eighth of `size` if not given.
    """

    size: int
    mean: tuple
    deviation: tuple
    margin: int | None = None

    def __post_init__(self):
        if self.margin is None:
            object.__setattr__(self, "margin", self.size // 8)

    def __call__(self, pixels):
        """Returns `(pixels - mean) / deviation`, float32.

        Args:
            pixels: Tensor of shape `(..., channels)`, values 0 to 255 of any dtype.
        """
        return (tf.cast(pixels, tf.float32) - self.mean) / self.deviation


def preprocessing(dataset, size, margin=None, mean=None, deviation=None):
    """Returns the `Preprocessing` of a data set.

    Args:
        dataset: `datasets.Dataset`.
        size: Integer, height and width of what the network takes.
        margin: Integer, see `Preprocessing`.
        mean, deviation: Tuples of floats per channel; None for the statistics of the training images.

    Raises:
        ValueError: They are not one number a channel.
    """
    statistics = datasets.pixel_statistics(dataset) if None in (mean, deviation) else (None, None)
    values = []
    for name, given, own in zip(("pixel_mean", "pixel_deviation"), (mean, deviation), statistics, strict=True):
        values.append(tuple(own) if given is None else tuple(given))
        if len(values[-1]) != dataset.channels:
            raise ValueError(
                f"`{name}` must be one number for each of the {dataset.channels} channel(s) of {dataset.name}, or "
                f"none for the statistics of its training images. Received: {name}={given}."
            )
    return Preprocessing(size, *values, margin)


def training_batches(
    dataset, prepare, batch_size, seed, crop=True, flip=True, first_step=0, drop_remainder=True, shares=ALONE
):
    """Returns the endless stream of training batches, epoch after epoch, each shuffled anew.

    Args:
        dataset: `datasets.Dataset`.
        prepare: `Preprocessing`.
        batch_size: Integer, over all replicas.
        seed: Integer.
        crop, flip: Booleans, whether views are cropped at random, mirrored at random.
        first_step: Integer, how many batches of the stream have been used already.
        drop_remainder: Boolean, whether the examples that do not fill a batch are left out of an epoch, others every
            time, or make a smaller last batch.
        shares: `Shares`, which parts of every batch this stream yields. For `distribute_datasets_from_function`.

    Returns:
        `tf.data.Dataset` of (images float32 `(rows, size, size, channels)`, labels int64 `(rows,)`, weights float32
        `(rows,)`): the parts of one batch, one after the other, then those of the next. Weights of a batch sum to 1
        over all its parts; rows that fill a part up are zeros with weight 0.

    Raises:
        ValueError: The set has not enough images for one batch.
    """
    batches = dataset.train.shuffled(batch_size, seed, first_step, drop_remainder).enumerate(start=first_step)

    def shared(step, references):
        chances = tf.random.stateless_uniform((batch_size, 3), tf.stack([tf.cast(seed, tf.int64), step]))
        examples = tf.cast(tf.size(references), tf.float32)
        references, chances, counts = _shared(references, chances, batch_size, shares)
        return references, chances, counts / examples

    return _viewed(dataset.train, batches.map(shared), views.Random(prepare, crop, flip))


def test_batches(dataset, prepare, batch_size, shares=ALONE, split="test"):  # noqa: PT028 (no test)
    """Returns all test images once, in batches of one size.

    Args:
        dataset: `datasets.Dataset`.
        prepare: `Preprocessing`.
        batch_size: Integer, over all replicas.
        shares: `Shares`, which parts of every batch this stream yields. For `distribute_datasets_from_function`.
        split: String, `"test"`, or `"train"` to test on the training images.

    Returns:
        `tf.data.Dataset` of (images, labels, weights float32 `(rows,)`): the parts of one batch, one after the other,
        then those of the next. They are filled up with zeros of weight 0, so that one compiled program serves all;
        examples have weight 1.
    """
    return _tested(dataset, views.Centre(prepare), batch_size, shares, split)


def ten_crop_batches(dataset, prepare, batch_size, shares=ALONE, split="test"):
    """Returns ten views of each test image (`views.TenCrops`): `test_batches` of `(rows, 10, size, size, channels)`."""
    return _tested(dataset, views.TenCrops(prepare), batch_size, shares, split)


def example_pixels(dataset, prepare, count=16):
    """Returns the first test images as the network is shown them, but as pixels from 0 to 255.

    Args:
        dataset: `datasets.Dataset`.
        prepare: `Preprocessing` of the network.
        count: Integer, how many images at most.

    Returns:
        Array of shape `(count, size, size, channels)`, float32.
    """
    plain = dataclasses.replace(prepare, mean=(0.0,) * dataset.channels, deviation=(1.0,) * dataset.channels)
    images, _, weights = next(iter(test_batches(dataset, plain, count)))
    return images.numpy()[weights.numpy() > 0]


def steps_per_epoch(dataset, batch_size, drop_remainder=True):
    """Returns how many batches the training images make.

    Raises:
        ValueError: Not one.
    """
    return epochs.steps(dataset.train.examples, batch_size, drop_remainder)


def _tested(dataset, view, batch_size, shares, split):
    sources = {"test": dataset.test, "train": dataset.train}
    if split not in sources:
        raise ValueError(f"`split` must be one of {list(sources)}. Received: split={split!r}.")
    source = sources[split]

    def shared(references):
        return _shared(references, tf.zeros((batch_size, 3)), batch_size, shares)

    return _viewed(source, source.in_order(batch_size).map(shared), view)


def _shared(references, chances, batch_size, shares):
    """Returns the parts of one batch, each tensor with the shape `(parts, rows, ...)`, and 1.0 for rows that count."""
    positions, counts = shares.positions(tf.size(references), batch_size)
    return tf.gather(references, positions), tf.gather(chances, positions), tf.cast(counts, tf.float32)


def _viewed(source, parts, view):
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return source.viewed(parts.unbatch(), view).prefetch(tf.data.AUTOTUNE).with_options(options)
