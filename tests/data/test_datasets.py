import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data import datasets, pipeline, shapes
from keras_norms.data.in_memory import InMemory
from keras_norms.data.records import READING_ERRORS
from keras_norms.data.streamed import Streamed
from tests.data import record_files

tfds = pytest.importorskip("tensorflow_datasets")
PREPARE = pathlib.Path(__file__).parents[3] / "shared" / "data" / "prepare_tfds.py"


@pytest.fixture(scope="session")
def fashion_mnist(tmp_path_factory):
    if not PREPARE.exists():
        pytest.skip(f"needs the real images beside the checkout, {PREPARE}")
    folder = tmp_path_factory.mktemp("tfds")
    subprocess.run([sys.executable, PREPARE, folder, "fashion_mnist"], check=True, capture_output=True)
    return folder


def test_shapes_need_no_files():
    dataset = datasets.load("shapes", data_dir="/nowhere", image_size=16)
    assert dataset.class_names == shapes.CLASS_NAMES
    assert dataset.image_shape == (16, 16, 3)
    assert (dataset.train_examples, dataset.test_examples) == (shapes.TRAIN_EXAMPLES, shapes.TEST_EXAMPLES)
    image, label = next(dataset.test.decoded().as_numpy_iterator())
    expected, labels = shapes.render("test", 16, examples=1)
    np.testing.assert_array_equal(image, expected[0])
    assert label == labels[0]


def test_prepared_set_is_read(fashion_mnist):
    dataset = datasets.load("fashion_mnist", str(fashion_mnist))
    assert (dataset.image_shape, dataset.train_examples, dataset.test_examples) == ((28, 28, 1), 60_000, 10_000)
    assert dataset.class_names[9] == "Ankle boot"
    assert isinstance(dataset.train, InMemory)
    mean, deviation = datasets.pixel_statistics(dataset)
    # All of it has 0.2860 and 0.3530; of 2,000 images the mean has a standard error of 0.002.
    np.testing.assert_allclose([mean[0] / 255, deviation[0] / 255], [0.2860, 0.3530], atol=0.01)
    images, labels, _ = next(iter(pipeline.training_batches(dataset, pipeline.preprocessing(dataset, 32), 64, 0)))
    assert images.shape == (64, 32, 32, 1)
    assert abs(float(np.mean(images))) < 0.5
    assert len(set(labels.numpy())) == 10


@pytest.mark.parametrize("name", ["cifar10", "no_such_set"])
def test_missing_set_says_what_was_looked_for_where_and_what_to_do(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        datasets.load(name, str(tmp_path))
    for words in (repr(name), str(tmp_path), "download_and_prepare", "--data_dir", "--dataset shapes"):
        assert words in str(error.value)


def stored(folder, name, features, splits, file_format="tfrecord"):
    """Writes a small set in the form of TensorFlow Datasets."""
    with tfds.core.registered.skip_registration():

        class Builder(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=tuple(features)
                )

            def _split_generators(self, _):
                return {split: self._generate_examples(examples) for split, examples in splits.items()}

            def _generate_examples(self, examples):
                yield from enumerate(examples)

    Builder.name = name
    Builder(data_dir=folder, file_format=file_format).download_and_prepare()


def images(count, shape=(6, 5, 3)):
    rng = np.random.default_rng(0)
    return [{"image": rng.integers(0, 256, shape, "uint8"), "label": i % 2} for i in range(count)]


def features(shape):
    return {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=["no", "yes"])}


def test_set_with_images_of_many_sizes_and_a_validation_split_is_read(tmp_path):
    examples = images(4) + images(3, (9, 12, 3))
    stored(tmp_path, "many_sizes", features((None, None, 3)), {"train": examples, "validation": examples[:5]})
    dataset = datasets.load("many_sizes", str(tmp_path))
    assert (dataset.image_shape, dataset.test_split, dataset.test_examples) == ((None, None, 3), "validation", 5)
    assert dataset.class_names == ("no", "yes")
    assert isinstance(dataset.train, Streamed)
    assert isinstance(dataset.test, Streamed)
    views, *_ = next(iter(pipeline.training_batches(dataset, pipeline.preprocessing(dataset, 8), 7, 0)))
    assert views.shape == (7, 8, 8, 3)


def test_set_without_a_test_split_is_refused(tmp_path):
    stored(tmp_path, "only_train", features((6, 5, 3)), {"train": images(4)})
    with pytest.raises(
        ValueError, match=r"`train` and one of .*test.* Received: dataset='only_train' with \['train'\]"
    ):
        datasets.load("only_train", str(tmp_path))


def test_set_of_another_task_is_refused(tmp_path):
    examples = [{"text": "a", "number": 1.0}]
    wrong = {"text": tfds.features.Text(), "number": tfds.features.Scalar(np.float32)}
    stored(tmp_path, "texts", wrong, {"train": examples, "test": examples})
    with pytest.raises(ValueError, match=r"image classification set.*\['number', 'text'\]"):
        datasets.load("texts", str(tmp_path))


def test_set_in_another_file_format_is_refused(tmp_path):
    stored(tmp_path, "other_format", features((6, 5, 3)), {"train": images(4), "test": images(4)}, "array_record")
    with pytest.raises(ValueError, match=r"TFRecord files: .*file_format='tfrecord'.* stored as 'array_record'"):
        datasets.load("other_format", str(tmp_path))


def test_set_of_one_size_that_is_too_large_is_streamed(tmp_path, monkeypatch):
    stored(tmp_path, "large", features((6, 5, 3)), {"train": images(4), "test": images(3)})
    for limit, kind in ((7 * 6 * 5 * 3, InMemory), (7 * 6 * 5 * 3 - 1, Streamed)):
        monkeypatch.setattr(datasets, "HELD_BYTES", limit)
        dataset = datasets.load("large", str(tmp_path))
        assert {type(dataset.train), type(dataset.test)} == {kind}
        for source, count in ((dataset.train, 4), (dataset.test, 3)):
            # TensorFlow Datasets stores them in an order of its own.
            shown = {(image.tobytes(), int(label)) for image, label in source.decoded().as_numpy_iterator()}
            assert shown == {(example["image"].tobytes(), example["label"]) for example in images(count)}


def replaced(folder, split, records):
    """Writes records over some of a stored split of one file: a dict from index to content."""
    (path,) = map(str, pathlib.Path(folder).rglob(f"*-{split}.tfrecord*"))
    whole = [record.numpy() for record in tf.data.TFRecordDataset(path)]
    record_files.write(path, [records.get(index, content) for index, content in enumerate(whole)])


@pytest.fixture(params=["held", "streamed"])
def damaged(request, tmp_path):
    """The folder of the set `damaged`, with records 3 and 7 of 9 bad in train, and 0 of 4 in test."""
    shape = (6, 5, 3) if request.param == "held" else (None, None, 3)
    stored(tmp_path, "damaged", features(shape), {"train": images(9), "test": images(4)})
    image = images(1)[0]["image"]
    cut, label = record_files.png(image)[:-10], record_files.record(record_files.png(image), -1)
    replaced(tmp_path, "train", {3: record_files.record(cut, 0), 7: label})
    replaced(tmp_path, "test", {0: record_files.record(record_files.jpeg(image)[:-10], 1)})
    return str(tmp_path), request.param


FIRST = (
    r"Record 3 of the split 'train' of the data set 'damaged' is bad: its image cannot be decoded: Invalid PNG.* It is "
    r"the first of 2 bad records of the split\. .*--skip_bad_records"
)


def test_bad_record_is_named(damaged):
    folder, kind = damaged
    if kind == "held":
        with pytest.raises(ValueError, match=FIRST):
            datasets.load("damaged", folder)
        return
    dataset = datasets.load("damaged", folder)
    with pytest.raises(READING_ERRORS):
        list(pipeline.test_batches(dataset, pipeline.Preprocessing(4, (0,) * 3, (1,) * 3), 2, split="train"))
    for read in (datasets.check, datasets.pixel_statistics):
        with pytest.raises(ValueError, match=FIRST):
            read(dataset)


def test_bad_records_are_left_out_and_counted_on_demand(damaged):
    folder, _ = damaged
    dataset = datasets.load("damaged", folder, skip_bad_records=True)
    assert {split: list(bad) for split, bad in dataset.bad_records.items()} == {"train": [3, 7], "test": [0]}
    assert re.match("its label is -1, but the classes are 0 to 1", dataset.bad_records["train"][7])
    assert (dataset.train_examples, dataset.test_examples) == (7, 3)
    datasets.check(dataset)
    prepare = pipeline.preprocessing(dataset, 4)
    batches = list(pipeline.training_batches(dataset, prepare, 3, 0, drop_remainder=False).take(6))
    assert [int(np.sum(weights > 0)) for *_, weights in batches] == [3, 3, 1, 3, 3, 1]
    assert sum(int(np.sum(weights)) for *_, weights in pipeline.test_batches(dataset, prepare, 2)) == 3


def test_sound_set_has_nothing_to_check(tmp_path):
    stored(tmp_path, "sound", features((None, None, 3)), {"train": images(4), "test": images(3)})
    dataset = datasets.load("sound", str(tmp_path))
    assert dataset.bad_records == {"train": {}, "test": {}}
    datasets.check(dataset)
    datasets.check(datasets.load("shapes", image_size=16))


def test_file_that_is_gone_is_named(tmp_path):
    stored(tmp_path, "gone", features((None, None, 3)), {"train": images(4), "test": images(3)})
    (path,) = tmp_path.rglob("*-test.tfrecord*")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        datasets.load("gone", str(tmp_path))
