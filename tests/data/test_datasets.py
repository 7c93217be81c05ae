import pathlib
import subprocess
import sys

import numpy as np
import pytest

from keras_norms.data import datasets, pipeline, shapes

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
    image, label = next(dataset.test.as_numpy_iterator())
    expected, labels = shapes.render("test", 16, examples=1)
    np.testing.assert_array_equal(image, expected[0])
    assert label == labels[0]


def test_prepared_set_is_read(fashion_mnist):
    dataset = datasets.load("fashion_mnist", str(fashion_mnist))
    assert (dataset.image_shape, dataset.train_examples, dataset.test_examples) == ((28, 28, 1), 60_000, 10_000)
    assert dataset.class_names[9] == "Ankle boot"
    mean, deviation = datasets.pixel_statistics(dataset)
    # All of it has 0.2860 and 0.3530; of 2,000 images the mean has a standard error of 0.002.
    np.testing.assert_allclose([mean[0] / 255, deviation[0] / 255], [0.2860, 0.3530], atol=0.01)
    images, labels = next(iter(pipeline.training_batches(dataset, pipeline.preprocessing(dataset, 32), 64, 0)))
    assert images.shape == (64, 32, 32, 1)
    assert abs(float(np.mean(images))) < 0.5
    assert len(set(labels.numpy())) == 10


@pytest.mark.parametrize("name", ["cifar10", "no_such_set"])
def test_missing_set_says_what_was_looked_for_where_and_what_to_do(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        datasets.load(name, str(tmp_path))
    for words in (repr(name), str(tmp_path), "download_and_prepare", "--data_dir", "--dataset shapes"):
        assert words in str(error.value)


def stored(folder, name, features, splits):
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
    Builder(data_dir=folder).download_and_prepare()


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
    views, _ = next(iter(pipeline.training_batches(dataset, pipeline.preprocessing(dataset, 8), 7, 0)))
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
