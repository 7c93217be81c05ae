import keras
import numpy as np
import pytest

from keras_norms.ops import normprop
from tests import autodiff
from tests.reference import normprop as definition


def test_standardized_equals_the_definition(hostile):
    x = hostile((5, 3))
    y = keras.ops.convert_to_numpy(normprop.standardized(x, 0.4, 0.25))
    np.testing.assert_allclose(y, (x.astype("float64") - 0.4) / 0.25, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        autodiff.gradient(lambda x: keras.ops.sum(normprop.standardized(x, 0.4, 0.25)), x)[0], np.full((5, 3), 4.0)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_standardized_rounds_once(dtype):
    x = keras.ops.cast(np.linspace(-3, 3, 101), dtype)
    exact = (keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) - 0.3989422804) / 0.5838193701
    y = normprop.standardized(x, 0.3989422804, 0.5838193701)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    rounded = keras.ops.cast(keras.ops.cast(exact, dtype), "float32")
    # Where float32 lies between two halves, one of them.
    difference = np.abs(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32") - rounded))
    assert (difference > 0).mean() < 0.05


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0, -0.2])
def test_sum_equals_the_definition(count, correlation, hostile):
    streams = [hostile((4, 3), seed=i) for i in range(count)]
    y = keras.ops.convert_to_numpy(normprop.added(streams, correlation))
    expected = definition.added(streams, correlation)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6 * np.abs(streams).max())


def test_sum_of_half_precision_does_not_overflow():
    x = keras.ops.cast([[6e4]], "float16")
    y = normprop.added([x, x], correlation=1.0)
    assert float(y[0, 0]) == float(x[0, 0])
