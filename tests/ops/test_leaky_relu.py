import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import leaky_relu
from tests import autodiff
from tests.reference import leaky_relu as definition


def leaky(x, slope):
    return ops.convert_to_numpy(leaky_relu.leaky_relu(x, slope))


RANDOM = np.random.default_rng(5)
# For an input of shape (6, 5, 3).
SLOPES = [RANDOM.uniform(-0.5, 1.5, shape).astype("float32") for shape in [(3,), (1, 5, 1), (6, 5, 3)]]


@pytest.mark.parametrize("slope", [0.3, 0.0, 1.0, *SLOPES], ids=lambda slope: str(np.shape(slope)))
def test_equals_the_definition(slope, hostile):
    x = hostile((6, 5, 3))
    expected = definition.leaky_relu(x, np.broadcast_to(slope, x.shape))
    # Two roundings: that of the slope to float32, and that of the product.
    np.testing.assert_allclose(leaky(x, slope), expected, rtol=2.0**-23)
    np.testing.assert_array_equal(leaky(x, slope)[x > 0], x[x > 0])


@pytest.mark.parametrize("slope", SLOPES, ids=lambda slope: str(np.shape(slope)))
def test_gradients_equal_their_definition(slope, hostile):
    x, dy = hostile((6, 5, 3)), hostile((6, 5, 3), seed=1)
    x[0, 0] = 0  # counts as negative

    def function(x, slope):
        return ops.sum(ops.convert_to_tensor(dy) * leaky_relu.leaky_relu(x, slope))

    dx, dslope = autodiff.gradient(function, x, slope)
    expected_dx, each = definition.gradients(x, dy, np.broadcast_to(slope, x.shape))
    padded = (1,) * (x.ndim - slope.ndim) + slope.shape
    summed = each.sum(tuple(i for i, n in enumerate(padded) if n == 1 and x.shape[i] > 1), keepdims=True)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-6)
    # Sums of up to 30 products, which cancel in part.
    np.testing.assert_allclose(dslope, summed.reshape(slope.shape), rtol=1e-5, atol=1e-5 * abs(each).max())


def test_definition_of_the_gradients_agrees_with_finite_differences(hostile):
    x, dy = hostile((6, 3)).astype("float64"), hostile((6, 3), seed=1).astype("float64")
    slope = np.random.default_rng(2).uniform(0, 1, x.shape)
    assert abs(x).min() > 1e-3  # away from the corner
    expected = definition.gradients(x, dy, slope)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-6
        for ours, upper, lower in (
            (expected[0], (x + step, slope), (x - step, slope)),
            (expected[1], (x, slope + step), (x, slope - step)),
        ):
            difference = dy * (definition.leaky_relu(*upper) - definition.leaky_relu(*lower))
            np.testing.assert_allclose(ours[index], difference.sum() / 2e-6, rtol=1e-5, atol=1e-6)


def test_a_slope_of_1_changes_nothing_and_one_of_0_is_a_relu(hostile):
    x = hostile((6, 3))
    np.testing.assert_array_equal(leaky(x, 1.0), x)
    np.testing.assert_array_equal(leaky(x, 0.0), np.maximum(x, 0))


def test_what_is_not_a_number_stays_none():
    x = np.array([np.nan, np.inf, -np.inf], "float32")
    np.testing.assert_array_equal(leaky(x, 0.5), x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    # 70,000 slopes' gradients: their sum is no float16, and stops at 256 in bfloat16.
    x = np.full((70_000, 1), -1, "float32")

    def function(slope):
        y = leaky_relu.leaky_relu(ops.cast(x, dtype), slope)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        return ops.sum(ops.cast(y, "float32"))

    (gradient,) = autodiff.gradient(function, np.array([0.3], "float32"))
    np.testing.assert_array_equal(gradient, [-70_000])


def test_half_precision_rounds_once():
    x = -np.arange(1, 2000, dtype="float16")
    expected = (x.astype("float32") * np.float32(1 / 3)).astype("float16")
    np.testing.assert_array_equal(leaky(x, 1 / 3), expected)
    assert (x * np.float16(1 / 3) != expected).any()


def test_float64_stays_float64(hostile):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is switched on")
    x = hostile((6, 3)).astype("float64") / 3
    y = leaky(x, 1 / 3)
    assert y.dtype == "float64"
    np.testing.assert_array_equal(y, np.where(x > 0, x, 1 / 3 * x))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, a: np.maximum(x, 0) - a * np.minimum(x, 0),  # the other sign
        lambda x, a: np.where(x > 0, a * x, x),  # the other side
        lambda x, a: np.where(x > 0, x, x / a),  # divided
        lambda x, a: np.where(x > 0, x, a * (np.exp(x) - 1)),  # an ELU
        lambda x, a: a * x,
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((6, 3))
    assert not np.allclose(wrong(x, 0.3), definition.leaky_relu(x, np.full(x.shape, 0.3)), rtol=1e-3)
