"""What benchmarks/training.py counts, and that its entrants see images as they should."""

import concurrent.futures
import itertools

import keras
import numpy as np
import pytest

from benchmarks import training
from benchmarks.peers import training_turns

MEAN, DEVIATION = np.array([125.3, 123.0, 113.9]), np.array([63.0, 62.1, 66.7])
SIZE, MARGIN = 16, 2
IMAGES = np.random.default_rng(0).integers(1, 255, (6, SIZE, SIZE, 3), "uint8")
LABELS = np.arange(6)


def views(image):
    """All that the recipe may show of an image, as pixels, with zeros around it."""
    padded = np.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))
    places = itertools.product(range(2 * MARGIN + 1), repeat=2)
    windows = [padded[top : top + SIZE, left : left + SIZE] for top, left in places]
    return np.array(windows + [window[:, ::-1] for window in windows])


def assert_views(seen):
    """Fails unless all of a list of (image, label) are views of the image of that label, and not all the same."""
    found = set()
    for image, label in seen:
        distances = abs(views(IMAGES[label]) - (image * DEVIATION + MEAN)).max(axis=(1, 2, 3))
        # The deviations are rounded where they are given as variances, or as parts of 255.
        assert distances.min() < 0.5
        found.add(distances.argmin())
    assert len(found) > len(seen) / 4
    assert min(found) < (2 * MARGIN + 1) ** 2 <= max(found)


def test_first_steps_of_a_repeat_and_first_repeats_do_not_count(tmp_path):
    made, path = [], tmp_path / "told.jsonl"

    def advance(count):
        made.append(count)
        return {"images per second": len(made), "waiting share": 0.5}

    repeat = training_turns.repeat(advance, 20, str(path))
    for _ in range(training_turns.WARM_UP + 2):
        repeat()
    ahead = training_turns.AHEAD
    assert made == [ahead] * training_turns.WARM_UP + [ahead, 20] * 2
    assert training_turns.read(path) == {"images per second": [4, 6], "waiting share": [0.5, 0.5]}


def test_an_entrant_that_failed_before_has_measured_nothing(tmp_path):
    assert training_turns.read(tmp_path / "none.jsonl") == {}


def test_a_missing_data_set_is_told_with_what_to_do(tmp_path):
    (tmp_path / "cifar10").mkdir()
    assert training.prepared(str(tmp_path), {"cifar10"}) == str(tmp_path)
    with pytest.raises(SystemExit, match=r"'imagenette128'.*shared/data/prepare_tfds\.py.*--data_dir"):
        training.prepared(str(tmp_path), {"cifar10", "imagenette128"})


def test_quick_cases_are_those_of_the_full_run():
    assert set(training.QUICK) < set(training.CASES)
    for name, (*what, _) in training.QUICK.items():
        assert list(training.CASES[name][:-1]) == what


def test_pytorch_sees_random_views():
    pytest.importorskip("torch")
    from benchmarks.peers import training_torch

    examples = training_torch.Augmented(IMAGES, LABELS)
    seen = [examples[number % 6] for number in range(60)]
    assert_views([(image.numpy().transpose(1, 2, 0), int(label)) for image, label in seen])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_keras_sees_random_views():
    pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf

    from benchmarks.peers import training_keras

    examples = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
    batches = training_keras.batches(examples, SIZE, batch=20).take(3).as_numpy_iterator()
    assert_views([pair for images, labels in batches for pair in zip(images, labels, strict=True)])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_fit_makes_as_many_steps_as_are_asked_for():
    pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf

    from benchmarks.peers import training_keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    # The end of the data ends the `fit`, and with it the wait for further steps.
    batches = tf.data.Dataset.from_tensors((np.ones((2, 1)), np.ones((2, 1)))).repeat(9)
    turnstile = training_keras.Turnstile()
    with concurrent.futures.ThreadPoolExecutor() as thread:
        fitting = thread.submit(model.fit, batches, verbose=0, callbacks=[turnstile])
        for count in (3, 5):
            turnstile.advance(count, fitting)
        assert int(model.optimizer.iterations) == 8
        with pytest.raises(RuntimeError, match="ended"):
            turnstile.advance(2, fitting)
