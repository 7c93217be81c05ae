"""Data sets by name: the embedded `shapes`, and the image classification sets of TensorFlow Datasets."""

import dataclasses
import os

import numpy as np

from keras_norms.data import shapes
from keras_norms.data.in_memory import InMemory
from keras_norms.data.records import READING_ERRORS, Records
from keras_norms.data.streamed import Streamed

EMBEDDED = "shapes"

# ImageNet's test split has no labels.
_TEST_SPLITS = {"imagenet2012": "validation"}
_STATISTICS_EXAMPLES = 2_000
# Of a set, not of a machine: whether a set is held in memory decides the order of its examples.
HELD_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes:
        name: String.
        class_names: Tuple of strings, by label.
        image_shape: Tuple (height, width, channels); None for a height and width that differ between images.
        train, test: `InMemory` or `Streamed`, the sources of the examples.
        test_split: String, the name of the split that `test` is.
        bad_records: Dict from the name of a split to the bad records that are left out of it: a dict from the index of
            each to what is wrong with it.
    """

    name: str
    class_names: tuple
    image_shape: tuple
    train: InMemory | Streamed
    test: InMemory | Streamed
    test_split: str = "test"
    bad_records: dict = dataclasses.field(default_factory=dict)

    @property
    def train_examples(self):
        return self.train.examples

    @property
    def test_examples(self):
        return self.test.examples

    @property
    def channels(self):
        return self.image_shape[-1]

    @property
    def has_one_size(self):
        return None not in self.image_shape


def load(name, data_dir=None, image_size=32, seed=0, skip_bad_records=False):
    """Returns a `Dataset`.

    Args:
        name: String, `"shapes"` or the name of a set of TensorFlow Datasets, `"cifar10"` or `"cifar10:3.0.2"`.
        data_dir: String, the folder where TensorFlow Datasets has prepared sets. `None` means its own default.
        image_size: Integer, the side in pixels at which `shapes` is drawn. Other sets come as they are stored.
        seed: Integer, which `shapes` are drawn.
        skip_bad_records: Boolean, whether bad records are left out, after all have been read to find them. Otherwise
            they are an error: at once in a set that is held in memory, and where they are reached in a streamed one,
            as one of `READING_ERRORS` that `check` explains.

    Raises:
        FileNotFoundError: The set is not prepared there.
        ValueError: It is not an image classification set, has no split to test on, or has bad records.
    """
    if name == EMBEDDED:
        return _drawn(image_size, seed)
    return _prepared(name, data_dir, skip_bad_records)


def find(name, data_dir=None):
    """Looks whether a set is there and can be used, without reading its examples.

    Args: As of `load`.

    Raises: As `load`, but for bad records.
    """
    if name != EMBEDDED:
        _found(name, data_dir)


def check(dataset):
    """Reads and decodes all records of a streamed set, to say which one has made the training fail.

    Raises:
        ValueError: There are bad ones: how many, which is the first, and what is wrong with it.
    """
    for split, source in (("train", dataset.train), (dataset.test_split, dataset.test)):
        if isinstance(source, Streamed):
            _refuse(dataset.name, split, source.records.faults(), source.records.left_out)


def pixel_statistics(dataset):
    """Returns the mean and the standard deviation per channel of (at most 2,000) training images.

    Returns:
        Two lists of floats, in pixel values 0 to 255.

    Raises:
        ValueError: One of them is bad.
    """
    total, squares, pixels = 0.0, 0.0, 0
    try:
        for image, _ in dataset.train.decoded().take(_STATISTICS_EXAMPLES).as_numpy_iterator():
            rows = image.reshape(-1, image.shape[-1]).astype("int64")  # exact
            total, squares, pixels = total + rows.sum(0), squares + (rows**2).sum(0), pixels + len(rows)
    except READING_ERRORS:
        check(dataset)
        raise
    mean = total / pixels
    # A set of one colour has no spread to divide by; a pixel is measured to half a unit.
    deviation = np.maximum(np.sqrt(squares / pixels - mean**2), 0.5)
    return mean.tolist(), deviation.tolist()


def _drawn(image_size, seed):
    train, test = (InMemory(*shapes.render(split, image_size, seed=seed)) for split in ("train", "test"))
    return Dataset(EMBEDDED, shapes.CLASS_NAMES, (image_size, image_size, 3), train, test)


def _prepared(name, data_dir, skip_bad_records):
    builder, records = _found(name, data_dir)
    held, shape = _is_held(records.values()), records["train"].image_shape
    sources, bad = {}, {}
    for split, own in records.items():
        sources[split], bad[split] = _source(builder.name, split, own, held, skip_bad_records)
    classes = tuple(builder.info.features["label"].names)
    return Dataset(builder.name, classes, shape, *sources.values(), list(records)[1], bad)


def _found(name, data_dir):
    """Returns the builder of a set, and the `Records` of its two splits by their names, training first."""
    import tensorflow_datasets as tfds  # slow to import, and not needed for the embedded set

    data_dir = data_dir and os.path.expanduser(data_dir)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError, ImportError) as error:
        reason = "no set of this name and version is known or prepared"
        raise FileNotFoundError(_not_found(tfds, name, data_dir, reason)) from error
    if not builder.is_prepared():
        raise FileNotFoundError(_not_found(tfds, name, data_dir, f"nothing is prepared in {builder.data_dir}"))
    _check_features(tfds, name, builder.info.features)
    _check_format(tfds, name, builder.info.file_format)
    splits = ("train", _test_split(builder.name, builder.info.splits))
    records = {split: _records(builder, split) for split in splits}
    _check_files(tfds, name, data_dir, records.values())
    return builder, records


def _records(builder, split):
    stored, features = builder.info.splits[split], builder.info.features
    files = tuple(str(path) for path in stored.filepaths)
    shape, classes = tuple(features["image"].shape), features["label"].num_classes
    return Records(files, tuple(stored.shard_lengths), shape, classes)


def _is_held(splits):
    examples, shape = sum(records.examples for records in splits), next(iter(splits)).image_shape
    return None not in shape and examples * int(np.prod(shape)) <= HELD_BYTES


def _source(name, split, records, held, skip_bad_records):
    """Returns the source of a split, and the bad records that are left out of it."""
    bad = records.faults() if skip_bad_records else {}
    records = records.without(bad)
    if not held:
        return Streamed(records), bad
    try:
        return InMemory(*records.decoded()), bad
    except READING_ERRORS:
        _refuse(name, split, records.faults())
        raise


def _refuse(name, split, faults, known=()):
    """Raises a `ValueError` about bad records, if there are any but those that are known."""
    faults = {index: fault for index, fault in faults.items() if index not in known}
    if not faults:
        return
    index, fault = next(iter(faults.items()))
    count = "It is the only bad record" if len(faults) == 1 else f"It is the first of {len(faults)} bad records"
    raise ValueError(
        f"Record {index} of the split {split!r} of the data set {name!r} is bad: {fault}. {count} of the split. "
        "Prepare the data set anew, or leave bad records out with --skip_bad_records."
    )


def _check_features(tfds, name, features):
    kinds = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    labelled = isinstance(kinds.get("label"), tfds.features.ClassLabel)
    if not (labelled and isinstance(kinds.get("image"), tfds.features.Image)):
        raise ValueError(
            "`dataset` must be an image classification set, with the features `image` and `label`. "
            f"Received: dataset={name!r} with the features {sorted(kinds) or features}."
        )


def _check_files(tfds, name, data_dir, splits):
    for file in (file for records in splits for file in records.files):
        if not os.path.exists(file):
            raise FileNotFoundError(_not_found(tfds, name, data_dir, f"its file {file} is missing"))


def _check_format(tfds, name, file_format):
    if file_format is not tfds.core.FileFormat.TFRECORD:
        raise ValueError(
            "`dataset` must be stored in TFRecord files: prepare it with "
            f"`tfds.builder({name!r}, file_format='tfrecord').download_and_prepare()`. "
            f"Received: dataset={name!r}, stored as {file_format.value!r}."
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
