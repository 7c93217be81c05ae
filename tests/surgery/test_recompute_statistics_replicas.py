import functools

import keras
import numpy as np
import pytest

import keras_norms
from keras_norms.surgery import recompute_statistics
from tests.surgery.moved import moved, values

if keras.backend.backend() != "tensorflow":
    pytest.skip("replicas are those of TensorFlow", allow_module_level=True)

import tensorflow as tf


def network():
    layers = [
        keras.Input((5, 5, 3)),
        keras_norms.BatchNorm(name="first"),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(name="second"),
        keras.layers.Conv2D(4, 2),
        keras_norms.BatchNorm(synchronized=True, name="third"),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    return moved(keras.Sequential(layers))


def distributed(strategy):
    with strategy.scope():
        return network()


@pytest.mark.parametrize("sizes", [(6, 4), (5, 3, 1)])
def test_replicas_get_what_one_device_gets(sizes, strategy, hostile):
    x = hostile((sum(sizes), 5, 5, 3))
    dataset = tf.data.Dataset.from_generator(
        lambda: np.split(x, np.cumsum(sizes)[:-1]), output_signature=tf.TensorSpec((None, 5, 5, 3))
    )
    expected, _ = recompute_statistics(network(), dataset)
    model, report = recompute_statistics(distributed(strategy), dataset)
    for variable, value in zip(model.variables, values(expected), strict=True):
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == 2
        for copy in copies:
            np.testing.assert_allclose(copy.numpy(), value, rtol=2e-5, err_msg=variable.path)
    assert "values a channel" in report["third"].done


def test_each_example_goes_to_one_replica(strategy, monkeypatch, hostile):
    rows = []
    own = keras.layers.BatchNormalization.call

    @functools.wraps(own)
    def seen(self, inputs, *args, **kwargs):
        rows.append(inputs.shape[0])
        return own(self, inputs, *args, **kwargs)

    with strategy.scope():
        model = moved(keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()]))
    monkeypatch.setattr(keras.layers.BatchNormalization, "call", seen)
    recompute_statistics(model, [hostile((8, 3))])
    assert rows[-2:] == [4, 4]


def test_rows_that_do_not_count_are_divided_too(strategy, hostile):
    x, weights = hostile((7, 5, 5, 3)), np.array([1, 0, 1, 1, 0, 0, 1.0])
    expected, _ = recompute_statistics(network(), [(x, None, weights)])
    model, _ = recompute_statistics(distributed(strategy), [(x, None, weights)])
    for value, other in zip(values(model), values(expected), strict=True):
        np.testing.assert_allclose(value, other, rtol=2e-5)


def test_a_batch_already_distributed_is_refused(strategy, hostile):
    dataset = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensor_slices(hostile((8, 5, 5, 3))).batch(4)
    )
    with pytest.raises(ValueError, match="A batch must be an array"):
        recompute_statistics(distributed(strategy), dataset)


def test_a_dataset_without_an_end_is_refused():
    with pytest.raises(ValueError, match="without an end"):
        recompute_statistics(network(), tf.data.Dataset.from_tensors(np.ones((2, 5, 5, 3), "float32")).repeat())
