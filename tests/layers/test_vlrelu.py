import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import VLReLU


def test_is_the_larger_of_its_input_and_a_third_of_it(hostile):
    x = hostile((8, 3)) - 10
    # Two roundings: a third, and the product.
    np.testing.assert_allclose(ops.convert_to_numpy(VLReLU()(x)), np.maximum(x, x.astype("float64") / 3), rtol=2.0**-23)


def test_with_the_slope_of_the_benchmark_it_is_keras_leaky_relu(hostile):
    x = hostile((8, 3)) - 10
    ours, theirs = VLReLU(negative_slope=0.3), keras.layers.LeakyReLU()
    np.testing.assert_allclose(ops.convert_to_numpy(ours(x)), ops.convert_to_numpy(theirs(x)), rtol=2.0**-23)
    assert isinstance(ours, keras.layers.LeakyReLU)


def test_a_third_keeps_the_digits_of_half_precision():
    x = -np.arange(1, 2000, dtype="float16")
    y = ops.convert_to_numpy(VLReLU(dtype="float16")(x))
    np.testing.assert_array_equal(y, (x.astype("float64") / 3).astype("float16"))


def test_integers_are_computed_with_as_numbers():
    np.testing.assert_array_equal(ops.convert_to_numpy(VLReLU(0.5)(np.array([[-3, 0, 2]], "int32"))), [[-1.5, 0, 2]])


def test_has_no_weights_and_passes_masks_on():
    layer = VLReLU()
    assert layer(keras.layers.Masking()(keras.Input((4, 3))))._keras_mask is not None
    assert layer.variables == []


@pytest.mark.parametrize("slope", [-0.1, 1.1, None, "0.3", True, float("nan")])
def test_refuses_what_is_no_slope(slope):
    with pytest.raises(ValueError, match=r"`negative_slope` must be a number from 0\.0 to 1\.0\. Received: "):
        VLReLU(negative_slope=slope)
