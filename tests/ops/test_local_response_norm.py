import keras
import numpy as np
import pytest

from keras_norms.ops import local_response_norm
from tests import autodiff
from tests.reference import local_response_norm as definition

CAFFE = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
STRONG = {"size": 3, "alpha": 0.5, "beta": 0.6, "k": 2.0}


def normalized(x, **arguments):
    return keras.ops.convert_to_numpy(local_response_norm.normalized(x, **arguments))


@pytest.mark.parametrize("arguments", [CAFFE, STRONG])
@pytest.mark.parametrize(("shape", "axis"), [((4, 7), -1), ((2, 3, 5, 8), -1), ((2, 8, 3, 5), 1), ((2, 3, 3), 2)])
def test_equals_the_definition(arguments, shape, axis, hostile):
    x = hostile(shape, axis)
    # Some float32 operations, among them a power: a few units in the last place.
    np.testing.assert_allclose(
        normalized(x, **arguments, axis=axis), definition.normalized(x, **arguments, axis=axis), rtol=2e-6
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_fewer_channels_than_a_neighbourhood(channels, hostile):
    x = hostile((3, channels))
    np.testing.assert_allclose(normalized(x, **CAFFE), definition.normalized(x, **CAFFE), rtol=2e-6)


@pytest.mark.parametrize("arguments", [CAFFE, STRONG])
def test_gradient_equals_the_quotient_rule(arguments, hostile):
    x, dy = hostile((4, 7)), hostile((4, 7), seed=1)

    def function(x):
        return keras.ops.sum(local_response_norm.normalized(x, **arguments) * keras.ops.convert_to_tensor(dy))

    expected = definition.gradient(x, dy, **arguments)
    # The two terms cancel in part: relative to the largest.
    np.testing.assert_allclose(autodiff.gradient(function, x)[0], expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


def test_gradient_at_zero_is_that_of_a_division_by_k():
    x = np.zeros((2, 6), "float32")
    gradient = autodiff.gradient(lambda x: keras.ops.sum(local_response_norm.normalized(x, **STRONG)), x)[0]
    np.testing.assert_allclose(gradient, np.full((2, 6), 2.0**-0.6), rtol=1e-6)


def test_is_odd_and_indifferent_to_the_direction_of_the_channels(hostile):
    x = hostile((4, 7))
    y = normalized(x, **CAFFE)
    np.testing.assert_array_equal(normalized(-x, **CAFFE), -y)
    np.testing.assert_allclose(normalized(x[:, ::-1], **CAFFE), y[:, ::-1], rtol=1e-6)


def test_without_weight_only_k_remains(hostile):
    x = hostile((4, 7))
    np.testing.assert_array_equal(normalized(x, size=5, alpha=0.0, beta=0.75, k=1.0), x)


def test_equals_the_kernel_of_tensorflow(hostile):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares with an operation of TensorFlow")
    import tensorflow as tf

    x = hostile((2, 3, 4, 16))
    expected = tf.nn.local_response_normalization(x, depth_radius=2, bias=1.0, alpha=1e-4 / 5, beta=0.75)
    np.testing.assert_allclose(normalized(x, **CAFFE), expected, rtol=2e-6)


def test_half_precision_is_computed_in_float32():
    # The square of 300 is no float16.
    x = np.array([[300.0, -300.0, 1.0]], "float16")
    y = normalized(x, **CAFFE)
    assert y.dtype == "float16"
    np.testing.assert_allclose(y, definition.normalized(x, **CAFFE), rtol=2**-10)


def test_float64_stays_float64(hostile):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is switched on")
    x = hostile((4, 7)).astype("float64") / 3
    y = normalized(x, **CAFFE)
    assert y.dtype == "float64"
    np.testing.assert_allclose(y, definition.normalized(x, **CAFFE), rtol=1e-13)


def neighbours(x, offsets):
    padded = np.pad(x, [(0, 0), (4, 4)])
    return sum(padded[:, 4 + i : 4 + i + x.shape[1]] ** 2 for i in offsets)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x / (1 + 1e-4 * neighbours(x, range(-2, 3))) ** 0.75,  # TensorFlow's alpha
        lambda x: x / (1 + 1e-4 / 5 * neighbours(x, range(-1, 2))) ** 0.75,  # a neighbourhood of three
        lambda x: x / (1 + 1e-4 / 5 * neighbours(x, range(5))) ** 0.75,  # to one side
        lambda x: x / (2 + 1e-4 / 5 * neighbours(x, range(-2, 3))) ** 0.75,  # the paper's k
        lambda x: x / (1 + 1e-4 / 5 * neighbours(x, range(-2, 3))) ** 0.5,  # a root
        lambda x: x / (1 + 1e-4 * neighbours(x, range(-2, 3)) / neighbours(x * 0 + 1, range(-2, 3))) ** 0.75,
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((4, 7)).astype("float64")
    assert not np.allclose(wrong(x), definition.normalized(x, **CAFFE), rtol=1e-3)
