import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import batch_norm, batch_renorm
from tests import autodiff, differences
from tests.reference import batch_norm as whole
from tests.reference import batch_renorm as definition

SCALE, BIAS = np.array([0.5, -2, 3], "float32"), np.array([5, 0.1, -1], "float32")
# Of the channels of `hostile`: near the batch, of a spread far too large, of a mean far off.
MEAN, VARIANCE = np.array([-30.1, 9.0, 90.0], "float32"), np.array([0.004, 4e4, 1.5], "float32")
LIMITS = [(1.0, 0.0), (1.5, 0.3), (3.0, 5.0), (np.inf, np.inf)]


def normalized(x, limits, axis=-1, epsilon=1e-3, mean=MEAN, variance=VARIANCE):
    batch = batch_norm.moments(x, axis)
    factor, shift = batch_renorm.corrections(batch, mean, variance, *limits, epsilon)
    return batch_renorm.batch_normalized(x, batch, factor, shift, SCALE, BIAS, axis, epsilon)


@pytest.mark.parametrize(("shape", "axis"), [((9, 3), -1), ((5, 3, 4), 1), ((4, 5, 2, 3), -1)])
@pytest.mark.parametrize("limits", LIMITS)
def test_equals_the_definition(shape, axis, limits, hostile):
    x = hostile(shape, axis)
    r, d = definition.corrections(x, MEAN, VARIANCE, *limits, axis, 1e-3)
    expected = definition.batch_normalized(x, r, d, SCALE, BIAS, axis, 1e-3)
    # The digits of inputs up to 100 over the smallest deviation, 0.06.
    tolerance = 1e-5 * (1 + np.abs(expected).max())
    np.testing.assert_allclose(ops.convert_to_numpy(normalized(x, limits, axis)), expected, atol=tolerance, rtol=1e-4)


def test_each_limit_is_met_in_some_channel(hostile):
    x = hostile((9, 3))
    factor, shift = (
        ops.convert_to_numpy(v) for v in batch_renorm.corrections(batch_norm.moments(x), MEAN, VARIANCE, 3.0, 5.0, 1e-3)
    )
    r, d = definition.corrections(x, MEAN, VARIANCE, np.inf, np.inf, epsilon=1e-3)
    np.testing.assert_array_equal(factor != np.float32(r), np.abs(np.log(r)) > np.log(3))
    assert (np.abs(np.log(r)) > np.log(3)).any()
    assert (np.abs(d) > 5).any()
    assert (np.abs(d) < 5).any()
    np.testing.assert_allclose(factor, np.clip(r, 1 / 3, 3), rtol=1e-4)
    np.testing.assert_allclose(shift, np.clip(d, -5, 5), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, r, d: definition.batch_normalized(x, 1 / r, d),  # the inverse ratio
        lambda x, r, d: definition.batch_normalized(x, r, -d),  # the other way
        lambda x, r, d: definition.batch_normalized(x, r, d / r),  # divided by the deviation of the batch
        lambda x, r, d: definition.batch_normalized(x, r, r * d),  # shifted before it is multiplied
        lambda x, r, d: definition.batch_normalized(x, r**2, d),  # variances for deviations
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((9, 3)).astype("float64")
    r, d = definition.corrections(x, MEAN, VARIANCE, 1.5, 5)
    assert not np.allclose(wrong(x, r, d), definition.batch_normalized(x, r, d), atol=1e-3, rtol=1e-3)


def test_without_limits_it_is_inference(hostile):
    x = hostile((9, 3))
    expected = whole.normalized(x, MEAN, VARIANCE, SCALE, BIAS, epsilon=1e-3)
    y = ops.convert_to_numpy(normalized(x, (np.inf, np.inf)))
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [(9, 3), (4, 5, 5, 3)])
def test_limits_of_one_and_zero_are_batch_norm(shape, hostile):
    x = hostile(shape)
    expected = whole.batch_normalized(x, SCALE, BIAS, epsilon=1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(normalized(x, (1.0, 0.0))), expected, atol=1e-3)


def test_no_gradient_flows_through_the_corrections(hostile):
    x, dy = hostile((5, 3)) / 10, hostile((5, 3), seed=5)
    mean, variance = np.array([-3, 1, 4], "float32"), np.array([0.1, 0.3, 2], "float32")
    r, d = definition.corrections(x, mean, variance, 3, 5, epsilon=1e-3)

    def loss(x, scale, bias):
        batch = batch_norm.moments(x)
        factor, shift = batch_renorm.corrections(batch, mean, variance, 3.0, 5.0, 1e-3)
        y = batch_renorm.batch_normalized(x, batch, factor, shift, scale, bias, -1, 1e-3)
        return ops.sum(ops.convert_to_tensor(dy) * y)

    def exact(x, scale, bias):  # r and d are constants
        return np.sum(dy * definition.batch_normalized(x, r, d, scale, bias, epsilon=1e-3))

    found = autodiff.gradient(loss, x, SCALE, BIAS)
    for value, expected in zip(found, differences.gradient(exact, x, SCALE, BIAS), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [None, SCALE])
@pytest.mark.parametrize("bias", [None, BIAS])
def test_scale_and_bias_may_be_absent(scale, bias, hostile):
    x, r, d = hostile((9, 3)), np.array([2, 1, 0.5], "float32"), np.array([1, -1, 3], "float32")
    y = batch_renorm.batch_normalized(x, batch_norm.moments(x), r, d, scale, bias)
    expected = definition.batch_normalized(x, r, d, scale, bias)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, rtol=1e-3, atol=1e-3)


def test_empty_batch_is_finite():
    x = np.zeros((0, 3), "float32")
    batch = batch_norm.moments(x)
    corrections = batch_renorm.corrections(batch, MEAN, VARIANCE, 3.0, 5.0)
    assert all(np.isfinite(ops.convert_to_numpy(value)).all() for value in corrections)
    assert tuple(batch_renorm.batch_normalized(x, batch, *corrections).shape) == (0, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    x = ops.cast(np.random.default_rng(0).normal(3e4, 5e3, (64, 3)), dtype)
    rounded = ops.convert_to_numpy(ops.cast(x, "float32"))
    mean, variance = np.full(3, 3e4, "float32"), np.full(3, 3e7, "float32")
    y = normalized(x, (3.0, 5.0), mean=mean, variance=variance)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    r, d = definition.corrections(rounded, mean, variance, 3, 5, epsilon=1e-3)
    expected = definition.batch_normalized(rounded, r, d, SCALE, BIAS, epsilon=1e-3)
    tolerance = {"float16": 4e-3, "bfloat16": 4e-2}[dtype]  # half a unit in the last place of 9
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, atol=tolerance)
