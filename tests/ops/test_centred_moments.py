import numpy as np
import pytest
from keras import ops

from keras_norms.ops import centred_moments

CASES = [((4, 3), (0,)), ((4, 3), (1,)), ((2, 3, 4, 5), (0, 1, 2)), ((2, 3, 4, 5), (1, 3)), ((2, 3, 4), (0, 1, 2))]


def numbers(moments):
    count, mean, residual, variance = (ops.convert_to_numpy(part).astype("float64") for part in moments)
    return count, mean + residual, variance


@pytest.mark.parametrize(("shape", "reduced"), CASES)
def test_equal_those_of_numpy(shape, reduced, hostile):
    x = hostile(shape)
    count, mean, variance = numbers(centred_moments.over(ops.convert_to_tensor(x), reduced))
    wide = x.astype("float64")
    assert count == np.prod([shape[axis] for axis in reduced])
    # A few roundings of float32, relative to the largest numbers.
    np.testing.assert_allclose(mean, wide.mean(reduced, keepdims=True), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(variance, wide.var(reduced, keepdims=True), rtol=5e-6)


@pytest.mark.parametrize(("shape", "reduced"), CASES)
@pytest.mark.parametrize("length_one", [None, 0, -1])
def test_mask_equals_what_it_leaves(shape, reduced, length_one, hostile):
    x = hostile(shape)
    mask_shape = list(shape)
    if length_one is not None:
        mask_shape[length_one] = 1
    mask = np.random.default_rng(1).random(mask_shape) < 0.7
    left = np.ma.array(x.astype("float64"), mask=~np.broadcast_to(mask, shape))
    unseen = np.where(mask, x, np.nan).astype("float32")
    count, mean, variance = numbers(centred_moments.over(ops.convert_to_tensor(unseen), reduced, mask))
    np.testing.assert_array_equal(np.broadcast_to(count, mean.shape), left.count(reduced, keepdims=True))
    np.testing.assert_allclose(mean, left.mean(reduced, keepdims=True).filled(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(variance, left.var(reduced, keepdims=True).filled(0), rtol=5e-6)


def test_of_nothing_are_zero():
    for part in centred_moments.over(ops.zeros((0, 3)), (0,)):
        np.testing.assert_array_equal(part, np.zeros(part.shape))
    for part in centred_moments.over(ops.ones((2, 3)), (0,), np.zeros((2, 1), bool)):
        np.testing.assert_array_equal(part, np.zeros(part.shape))


def test_over_no_axes_every_number_is_its_own_mean(hostile):
    x = hostile((4, 3))
    count, mean, variance = numbers(centred_moments.over(ops.convert_to_tensor(x), ()))
    assert count == 1
    np.testing.assert_array_equal(mean, x)
    np.testing.assert_array_equal(variance, np.zeros_like(x))


@pytest.mark.parametrize(("mean", "deviation"), [(1000, 0.1), (1e4, 1)])
def test_large_means_keep_their_digits(mean, deviation):
    x = (np.random.default_rng(0).normal(size=(128, 1024, 4)) * deviation + mean).astype("float32")
    y = ops.convert_to_numpy(centred_moments.standardized(ops.convert_to_tensor(x), (0, 1), 1e-5))
    wide = x.astype("float64")
    expected = (wide - wide.mean((0, 1))) / np.sqrt(wide.var((0, 1)) + 1e-5)
    np.testing.assert_allclose(y, expected, atol=2e-4)


def test_mean_alone_is_the_same(hostile):
    x, mask = hostile((2, 5, 3)), np.random.default_rng(0).random((2, 5, 1)) < 0.5
    mean = ops.convert_to_numpy(centred_moments.mean(ops.convert_to_tensor(x), (1,), mask))
    _, expected, _ = numbers(centred_moments.over(ops.convert_to_tensor(x), (1,), mask))
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-5)
