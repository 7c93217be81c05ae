import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import mean_only_batch_norm
from tests import autodiff
from tests.reference import mean_only_batch_norm as definition

SHAPES = [((4, 3), -1), ((2, 5, 3), -1), ((3, 3, 5), 1), ((4, 5, 3, 3), -1), ((2, 3, 5, 7), 1)]
BIAS = np.array([5, 0.1, -1], "float32")


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bias", [None, BIAS])
def test_equals_the_definition(shape, axis, masked, bias, hostile):
    x = hostile(shape, axis)
    positions = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    mask = np.random.default_rng(1).random(positions) < 0.6 if masked else None
    y, moments = mean_only_batch_norm.batch_normalized(x, bias, axis, mask)
    # Some roundings of float32, relative to inputs up to 100.
    np.testing.assert_allclose(ops.convert_to_numpy(y), definition.batch_normalized(x, bias, axis, mask), atol=2e-5)
    assert moments.count == (np.prod(positions) if mask is None else mask.sum())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x - x.mean(),  # one mean for all channels
        lambda x: x - x.mean(1, keepdims=True),  # one per example
        lambda x: (x - x.mean(0)) / x.std(0),  # divided, too
        lambda x: x - np.median(x, 0),
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((4, 3)).astype("float64")
    assert not np.allclose(wrong(x), definition.batch_normalized(x), atol=1e-3)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gradient_loses_its_mean(shape, axis, hostile):
    x, dy = hostile(shape, axis), hostile(shape, axis, seed=5)

    def loss(x, bias):
        return ops.sum(ops.convert_to_tensor(dy) * mean_only_batch_norm.batch_normalized(x, bias, axis)[0])

    for value, expected in zip(autodiff.gradient(loss, x, BIAS), definition.gradients(dy, axis), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("synchronize", [False, True])
def test_large_means_keep_their_digits(synchronize):
    x = np.random.default_rng(0).normal(1e4, 1, (128, 1024, 4)).astype("float32")
    y, _ = mean_only_batch_norm.batch_normalized(x, synchronize=synchronize)
    np.testing.assert_allclose(ops.convert_to_numpy(y), x - x.mean((0, 1), dtype="float64"), atol=1e-4)


def test_adding_a_constant_to_a_channel_changes_nothing(hostile):
    x = hostile((32, 3))
    y, _ = mean_only_batch_norm.batch_normalized(x)
    moved, _ = mean_only_batch_norm.batch_normalized(x + np.array([4, -8, 16], "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(moved), atol=2e-5)


def test_empty_batch_and_its_gradient_are_finite():
    x = np.zeros((0, 4, 3), "float32")
    y, moments = mean_only_batch_norm.batch_normalized(x, BIAS)
    assert tuple(y.shape) == x.shape
    for part in moments:
        np.testing.assert_array_equal(ops.convert_to_numpy(part), np.zeros(part.shape))
    gradient = autodiff.gradient(lambda b: ops.sum(mean_only_batch_norm.batch_normalized(x, b)[0]), BIAS)
    np.testing.assert_array_equal(gradient[0], np.zeros(3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    # The sum of these overflows float16.
    x = ops.cast(np.random.default_rng(0).normal(3e4, 5e3, (64, 3)), dtype)
    y, moments = mean_only_batch_norm.batch_normalized(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert keras.backend.standardize_dtype(moments.mean.dtype) == "float32"
    expected = definition.batch_normalized(ops.convert_to_numpy(ops.cast(x, "float32")))
    digits = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, rtol=digits, atol=1e-2)
