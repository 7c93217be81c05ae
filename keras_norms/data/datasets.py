"""Data sets by name: the embedded `shapes`, and the image classification sets of TensorFlow Datasets."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_norms.data import shapes

EMBEDDED = "shapes"

# ImageNet's test split has no labels.
_TEST_SPLITS = {"imagenet2012": "validation"}
_STATISTICS_EXAMPLES = 2_000
_CACHED_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes:
        name: String.
        class_names: Tuple of strings, by label.
        image_shape: Tuple (height, width, channels); None for a height and width that differ between images.
        train, test: `tf.data.Dataset` of (image uint8, label int64), one example each.
        train_examples, test_examples: Integers.
        test_split: String, the name of the split that `test` is.
    """

    name: str
    class_names: tuple
    image_shape: tuple
    train: tf.data.Dataset
    test: tf.data.Dataset
    train_examples: int
    test_examples: int
    test_split: str = "test"

    @property
    def channels(self):
        return self.image_shape[-1]

    @property
    def has_one_size(self):
        return None not in self.image_shape


def load(name, data_dir=None, image_size=32, seed=0):
    """Returns a `Dataset`.

    Args:
        name: String, `"shapes"` or the name of a set of TensorFlow Datasets, `"cifar10"` or `"cifar10:3.0.2"`.
        data_dir: String, the folder where TensorFlow Datasets has prepared sets. `None` means its own default.
        image_size: Integer, the side in pixels at which `shapes` is drawn. Other sets come as they are stored.
        seed: Integer, which `shapes` are drawn.

    Raises:
        FileNotFoundError: The set is not prepared there.
        ValueError: It is not an image classification set, or has no split to test on.
    """
    if name == EMBEDDED:
        return _drawn(image_size, seed)
    return _prepared(name, data_dir)


def pixel_statistics(dataset):
    """Returns the mean and the standard deviation per channel of (at most 2,000) training images.

    Returns:
        Two lists of floats, in pixel values 0 to 255.
    """
    total, squares, pixels = 0.0, 0.0, 0
    for image, _ in dataset.train.take(_STATISTICS_EXAMPLES).as_numpy_iterator():
        rows = image.reshape(-1, image.shape[-1]).astype("int64")  # exact
        total, squares, pixels = total + rows.sum(0), squares + (rows**2).sum(0), pixels + len(rows)
    mean = total / pixels
    # A set of one colour has no spread to divide by; a pixel is measured to half a unit.
    deviation = np.maximum(np.sqrt(squares / pixels - mean**2), 0.5)
    return mean.tolist(), deviation.tolist()


def _drawn(image_size, seed):
    splits = {split: shapes.render(split, image_size, seed=seed) for split in ("train", "test")}
    train, test = (
        tf.data.Dataset.from_tensor_slices((images, labels.astype("int64"))) for images, labels in splits.values()
    )
    shape = (image_size, image_size, 3)
    return Dataset(EMBEDDED, shapes.CLASS_NAMES, shape, train, test, len(train), len(test))


def _prepared(name, data_dir):
    import tensorflow_datasets as tfds  # slow to import, and not needed for the embedded set

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError, ImportError) as error:
        reason = "no set of this name and version is known or prepared"
        raise FileNotFoundError(_not_found(tfds, name, data_dir, reason)) from error
    if not builder.is_prepared():
        raise FileNotFoundError(_not_found(tfds, name, data_dir, f"nothing is prepared in {builder.data_dir}"))
    _check_features(tfds, name, builder.info.features)
    test_split = _test_split(builder.name, builder.info.splits)
    class_names, image_shape = builder.info.features["label"].names, builder.info.features["image"].shape
    counts = {split: builder.info.splits[split].num_examples for split in ("train", test_split)}
    train, test = (_read(builder, split, image_shape, count) for split, count in counts.items())
    return Dataset(
        builder.name,
        tuple(class_names),
        tuple(image_shape),
        train,
        test,
        counts["train"],
        counts[test_split],
        test_split,
    )


def _read(builder, split, image_shape, examples):
    images = builder.as_dataset(split=split, as_supervised=True)
    fits = None not in image_shape and examples * np.prod(image_shape) <= _CACHED_BYTES
    return images.cache() if fits else images


def _check_features(tfds, name, features):
    kinds = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    labelled = isinstance(kinds.get("label"), tfds.features.ClassLabel)
    if not (labelled and isinstance(kinds.get("image"), tfds.features.Image)):
        raise ValueError(
            "`dataset` must be an image classification set, with the features `image` and `label`. "
            f"Received: dataset={name!r} with the features {sorted(kinds) or features}."
        )


def _test_split(name, splits):
    wanted = [_TEST_SPLITS[name]] if name in _TEST_SPLITS else ["test", "validation"]
    for split in wanted:
        if split in splits and "train" in splits:
            return split
    raise ValueError(
        f"`dataset` must have the splits `train` and one of {wanted}. Received: dataset={name!r} with {sorted(splits)}."
    )


def _not_found(tfds, name, data_dir, reason):
    folder = data_dir or tfds.core.constants.DATA_DIR
    prepare = (
        f"import tensorflow_datasets as tfds; tfds.builder({name!r}, data_dir={str(folder)!r}).download_and_prepare()"
    )
    return (
        f"The data set {name!r} was not found: {reason}. Looked in: {folder}. "
        f'Prepare it with: python -c "{prepare}" ; or name the folder where it is with --data_dir; '
        f"or train on the embedded set with --dataset {EMBEDDED}."
    )
