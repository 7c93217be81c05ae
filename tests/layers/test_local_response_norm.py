import keras
import numpy as np
import pytest

from keras_norms.layers import local_response_norm
from tests.reference import local_response_norm as definition

ARGUMENTS = {"size": 3, "alpha": 0.5, "beta": 0.6, "k": 2.0}


def test_defaults_are_those_of_caffe(hostile):
    x = hostile((2, 3, 3, 8))
    y = keras.ops.convert_to_numpy(local_response_norm.LocalResponseNorm()(x))
    np.testing.assert_allclose(y, definition.normalized(x, size=5, alpha=1e-4, beta=0.75, k=1.0), rtol=2e-6)


def test_every_argument_counts(hostile):
    x = hostile((2, 8, 3, 3), axis=1)
    y = keras.ops.convert_to_numpy(local_response_norm.LocalResponseNorm(**ARGUMENTS, axis=1)(x))
    np.testing.assert_allclose(y, definition.normalized(x, **ARGUMENTS, axis=1), rtol=2e-6)


def test_has_no_weights_and_is_the_same_in_training(hostile):
    x = hostile((2, 3, 3, 8))
    layer = local_response_norm.LocalResponseNorm()
    training, inference = (keras.ops.convert_to_numpy(layer(x, training=flag)) for flag in (True, False))
    np.testing.assert_array_equal(training, inference)
    assert layer.variables == []


def test_config_gives_the_same_layer(hostile):
    x = hostile((2, 8, 3, 3), axis=1)
    layer = local_response_norm.LocalResponseNorm(**ARGUMENTS, axis=1, name="lrn")
    config = layer.get_config()
    assert {name: config[name] for name in (*ARGUMENTS, "axis", "name")} == {**ARGUMENTS, "axis": 1, "name": "lrn"}
    again = local_response_norm.LocalResponseNorm.from_config(config)
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(one(x)) for one in (layer, again)))


def test_symbolic_shape_and_saved_file(hostile, tmp_path):
    images = keras.Input((3, 3, 8))
    outputs = local_response_norm.LocalResponseNorm(**ARGUMENTS)(images)
    assert outputs.shape == (None, 3, 3, 8)
    model = keras.Model(images, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = hostile((2, 3, 3, 8))
    np.testing.assert_array_equal(*(one.predict(x, verbose=0) for one in (model, loaded)))


def test_computes_in_float32_under_mixed_precision():
    # The square of 300 is no float16.
    x = np.array([[300.0, -300.0, 1.0]], "float16")
    y = local_response_norm.LocalResponseNorm(dtype="mixed_float16")(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), definition.normalized(x), rtol=2**-10)


@pytest.mark.parametrize(("size", "words"), [(0, "an integer, at least 1"), (-1, "an integer, at least 1"), (4, "odd")])
def test_refuses_a_neighbourhood_without_a_centre(size, words):
    with pytest.raises(ValueError, match=rf"`size` must be {words}.* Received: size={size}\."):
        local_response_norm.LocalResponseNorm(size=size)


def test_refuses_to_divide_zeros_by_zero():
    with pytest.raises(ValueError, match=r"`k` must be a number above 0\. Received: k=0\."):
        local_response_norm.LocalResponseNorm(k=0)


def test_refuses_unknown_channels():
    with pytest.raises(ValueError, match="channel axis needs a known length"):
        local_response_norm.LocalResponseNorm()(keras.Input((3, 3, None)))


def test_refuses_an_axis_the_input_lacks():
    with pytest.raises(ValueError, match="`axis` must name an axis"):
        local_response_norm.LocalResponseNorm(axis=4)(keras.Input((3, 3, 8)))
