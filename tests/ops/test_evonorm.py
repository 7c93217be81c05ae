import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import evonorm
from tests import autodiff, differences
from tests.reference import evonorm as definition

SHAPES = [((2, 5, 6), -1), ((3, 6, 5), 1), ((2, 2, 3, 6), -1), ((2, 6, 3, 2), 1)]
SLOPE = np.array([1, -0.5, 2, 0.3, -1, 0.1], "float32")
SCALE, BIAS = np.array([0.5, -2, 3, 1, 4, -1], "float32"), np.array([5, 0.1, -1, 2, 0, -4], "float32")
VARIANCE = np.array([100, 0.1, 4, 1, 1e-4, 9], "float32")


def centred(hostile, shape, axis=-1, seed=0):
    """Returns values of both signs in all channels."""
    return hostile(shape, axis, seed) - np.median(
        hostile(shape, axis, seed), (0, -1 if axis == 1 else 1), keepdims=True
    )


def mask_of(shape, axis):
    mask = np.random.default_rng(1).random([n for i, n in enumerate(shape) if i != axis % len(shape)]) < 0.6
    mask.reshape(len(mask), -1)[:, 0] = True  # every example has something
    return mask


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("masked", [False, True])
def test_b0_equals_the_definition(shape, axis, masked, hostile):
    x, mask = centred(hostile, shape, axis), mask_of(shape, axis) if masked else None
    y = ops.convert_to_numpy(evonorm.batch_activated(x, VARIANCE, SLOPE, SCALE, BIAS, axis, 1e-3, mask))
    expected = definition.batch_activated(x, VARIANCE, SLOPE, SCALE, BIAS, axis, 1e-3, mask)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_b0_meets_both_sides_of_the_maximum(hostile):
    x = centred(hostile, (2, 5, 6)).astype("float64")
    right = SLOPE * x + np.sqrt(x.var(1, keepdims=True) + 1e-3)
    left = np.sqrt(VARIANCE + 1e-3)
    assert 0.2 < (left > right).mean() < 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x / np.maximum(np.sqrt(x.var((0, 1)) + 1e-3), SLOPE * x),  # no deviation of the example
        lambda x: x / np.maximum(np.sqrt(x.var((0, 1)) + 1e-3), x + np.sqrt(x.var(1, keepdims=True) + 1e-3)),
        lambda x: x / np.minimum(np.sqrt(x.var((0, 1)) + 1e-3), SLOPE * x + np.sqrt(x.var(1, keepdims=True) + 1e-3)),
        lambda x: x / np.maximum(x.var((0, 1)) + 1e-3, SLOPE * x + np.sqrt(x.var(1, keepdims=True) + 1e-3)),
        lambda x: definition.batch_activated(x - x.mean((0, 1)), x.var((0, 1)), SLOPE),
    ],
)
def test_input_tells_wrong_formulas_of_b0_apart(wrong, hostile):
    x = centred(hostile, (2, 5, 6)).astype("float64")
    assert not np.allclose(wrong(x), definition.batch_activated(x, x.var((0, 1)), SLOPE), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("shape", "axis"), [*SHAPES, ((4, 6), -1)])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_s0_equals_the_definition(shape, axis, groups, masked, hostile):
    x, mask = hostile(shape, axis), mask_of(shape, axis) if masked else None
    y = ops.convert_to_numpy(evonorm.sample_activated(x, groups, SLOPE, SCALE, BIAS, axis, 1e-3, mask))
    expected = definition.sample_activated(x, groups, SLOPE, SCALE, BIAS, axis, 1e-3, mask)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: definition.sample_activated(x, 3, SLOPE),
        lambda x: definition.sample_activated(x, 2, np.ones(6)),
        lambda x: definition.sample_activated(x, 2, SLOPE, epsilon=1e-2),
        lambda x: definition.sample_activated(x - x.mean(1, keepdims=True), 2, SLOPE),
        lambda x: definition.sample_activated(x, 2, SLOPE) / (1 + np.exp(-SLOPE * x)),  # the gate twice
    ],
)
def test_input_tells_wrong_formulas_of_s0_apart(wrong, hostile):
    x = hostile((2, 5, 6)).astype("float64") / 30
    assert not np.allclose(wrong(x), definition.sample_activated(x, 2, SLOPE), atol=1e-3, rtol=1e-3)


def test_gradients_of_b0_equal_finite_differences(hostile):
    x, dy = centred(hostile, (2, 3, 6)) / 10, hostile((2, 3, 6), seed=5)
    variance = np.array([1, 0.1, 0.4, 0.1, 0.02, 0.9], "float32")

    def loss(*arguments):
        return ops.sum(ops.convert_to_tensor(dy) * evonorm.batch_activated(*arguments))

    def exact(*arguments):
        return np.sum(dy * definition.batch_activated(*arguments))

    arguments = x, variance, SLOPE, SCALE, BIAS
    for value, expected in zip(
        autodiff.gradient(loss, *arguments), differences.gradient(exact, *arguments), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


def test_gradients_of_s0_equal_finite_differences(hostile):
    x, dy = hostile((2, 3, 6)) / 10, hostile((2, 3, 6), seed=5)

    def loss(x, *arguments):
        return ops.sum(ops.convert_to_tensor(dy) * evonorm.sample_activated(x, 2, *arguments))

    def exact(x, *arguments):
        return np.sum(dy * definition.sample_activated(x, 2, *arguments))

    arguments = x, SLOPE, SCALE, BIAS
    for value, expected in zip(
        autodiff.gradient(loss, *arguments), differences.gradient(exact, *arguments), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


def test_s0_of_large_means_keeps_its_digits():
    x = (np.random.default_rng(0).normal(size=(2, 32, 32, 6)) + 1e4).astype("float32")
    y = ops.convert_to_numpy(evonorm.sample_activated(x, 2, np.zeros(6, "float32")))
    wide = x.astype("float64").reshape(2, 32, 32, 2, 3)
    expected = (wide / 2 / np.sqrt(wide.var((1, 2, 4), keepdims=True) + 1e-5)).reshape(x.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_empty_batches_are_finite():
    x = np.zeros((0, 4, 6), "float32")
    assert tuple(evonorm.batch_activated(x, VARIANCE, SLOPE).shape) == x.shape
    assert tuple(evonorm.sample_activated(x, 2, SLOPE).shape) == x.shape


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    x = ops.cast(np.random.default_rng(0).normal(0, 2e4, (2, 4, 4, 6)), dtype)  # squares overflow float16
    rounded = ops.convert_to_numpy(ops.cast(x, "float32"))
    variance = np.full(6, 4e8, "float32")
    for y, expected in (
        (evonorm.batch_activated(x, variance, SLOPE), definition.batch_activated(rounded, variance, SLOPE)),
        (evonorm.sample_activated(x, 2, SLOPE), definition.sample_activated(rounded, 2, SLOPE.astype("float64"))),
    ):
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        digits = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
        np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, rtol=digits, atol=1e-4)
