import keras
import numpy as np
import pytest

from keras_norms import layers
from keras_norms.training import diagnosis, steps

IMAGES = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")
LABELS = np.array([0, 1, 2, 1])
LOSS = steps.objective({"main": 1.0})


@pytest.fixture
def model():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3, name="conv"),
            layers.BatchNorm(name="norm"),
            keras.layers.Dropout(0.5, name="dropout"),
            keras.layers.Flatten(name="flat"),
            layers.WeightNormalization(keras.layers.Dense(3), name="dense"),
        ]
    )


def first_broken(model, images=IMAGES, loss=LOSS):
    before = model.get_weights()
    found = diagnosis.first_broken(model, loss, images, LABELS)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return found


def put(variable, value):
    array = variable.numpy()
    array.flat[1] = value
    variable.assign(array)


def test_sound_network_has_no_broken_place(model):
    assert first_broken(model) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_and_weights_are_named(model, value):
    images = IMAGES.copy()
    images[2, 1, 0, 1] = value
    assert first_broken(model, images) == "the images"
    put(model.get_layer("norm").scale, value)
    assert "norm/scale" in first_broken(model)


def test_first_of_the_layers_that_overflow_is_named(model):
    put(model.get_layer("conv").kernel, 1e38)
    assert first_broken(model, 1e3 * IMAGES) == "the outputs of the layer 'conv'"


def test_overflow_of_a_later_layer_is_named(model):
    model.get_layer("norm").scale.assign([1e36] * 3)
    put(model.get_layer("dense").scales["kernel"], 1e10)
    assert first_broken(model) == "the outputs of the layer 'dense'"


def test_statistics_that_no_output_shows_are_named(model):
    # The square of a deviation overflows; divided by an infinite deviation the outputs are zeros.
    assert "norm/moving_variance" in first_broken(model, 1e25 * IMAGES)


def test_gradients_are_searched_from_the_last_layer_back(model):
    def loss(labels, outputs):
        return keras.ops.sum(keras.ops.sqrt(keras.ops.abs(outputs - keras.ops.stop_gradient(outputs))), -1)

    found = first_broken(model, loss=loss)
    assert found.startswith("the gradients of")
    assert "dense" in found
