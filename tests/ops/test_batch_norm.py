import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import batch_norm
from tests import autodiff
from tests.reference import batch_norm as definition

SHAPES = [((4, 3), -1), ((2, 5, 3), -1), ((3, 3, 5), 1), ((4, 5, 3, 3), -1), ((2, 3, 5, 7), 1), ((2, 3, 3, 5, 3), -1)]


def mask_of(x, axis, seed=1):
    positions = [n for i, n in enumerate(x.shape) if i != axis % x.ndim]
    return np.random.default_rng(seed).random(positions) < 0.6


def numpy_moments(moments):
    count, mean, residual, variance = (ops.convert_to_numpy(part).astype("float64") for part in moments)
    return count, mean + residual, variance


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("masked", [False, True])
def test_moments_equal_the_definition(shape, axis, masked, hostile):
    x = hostile(shape, axis)
    mask = mask_of(x, axis) if masked else None
    count, mean, variance = numpy_moments(batch_norm.moments(x, axis, mask))
    expected = definition.moments(x, axis, mask)
    assert count == expected[0]
    # A few roundings of float32, relative to the largest numbers of the channel.
    np.testing.assert_allclose(mean, expected[1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, expected[2], rtol=3e-6)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scale", [None, np.array([0.5, -2, 3], "float32")])
@pytest.mark.parametrize("bias", [None, np.array([5, 0.1, -1], "float32")])
def test_output_equals_the_definition(shape, axis, masked, scale, bias, hostile):
    x = hostile(shape, axis)
    mask = mask_of(x, axis) if masked else None
    y, _ = batch_norm.batch_normalized(x, scale, bias, axis, 1e-3, mask)
    expected = definition.batch_normalized(x, scale, bias, axis, 1e-3, mask)
    # The fused kernel keeps the mean in one float32: 1e-6 of 50 against a spread of 0.05.
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, mean, variance: (x - mean) / (np.sqrt(variance) + 1e-3),  # epsilon outside the root
        lambda x, mean, variance: (x - mean) / np.sqrt(variance * 4 / 3 + 1e-3),  # unbiased for biased
        lambda x, mean, variance: (x - mean[::-1]) / np.sqrt(variance + 1e-3),  # channels mixed up
        lambda x, mean, variance: (x - mean) / (variance + 1e-3),  # root forgotten
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((4, 3)).astype("float64")
    x[:, 0] *= 0.02  # a channel whose variance is of the size of epsilon
    _, mean, variance = definition.moments(x)
    assert not np.allclose(wrong(x, mean, variance), definition.batch_normalized(x, epsilon=1e-3), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gradients_equal_the_derivation_of_the_paper(shape, axis, hostile):
    x, dy = hostile(shape, axis), hostile(shape, axis, seed=5)
    scale, bias = np.array([0.5, -2, 3], "float32"), np.array([5, 0.1, -1], "float32")

    def loss(x, scale, bias):
        y, _ = batch_norm.batch_normalized(x, scale, bias, axis, 1e-3)
        return ops.sum(ops.convert_to_tensor(dy) * y)

    for value, expected in zip(
        autodiff.gradient(loss, x, scale, bias), definition.gradients(x, dy, scale, axis, 1e-3), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


def test_gradient_does_not_enter_moving_statistics(hostile):
    x = hostile((4, 5, 5, 3))
    statistics = np.array([1, 2, 3], "float32"), np.array([4, 9, 0.25], "float32")

    def loss(x):
        return ops.sum(ops.square(batch_norm.normalized(x, *statistics, epsilon=1e-3)))

    expected = 2 * definition.normalized(x, *statistics, epsilon=1e-3) / np.sqrt(statistics[1] + 1e-3)
    np.testing.assert_allclose(autodiff.gradient(loss, x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("mean", "deviation", "shape", "tolerance"),
    [
        (1000, 0.1, (64, 8, 8, 4), 1e-4),
        (1e4, 1, (128, 32, 32, 4), 1e-2),
    ],
)
@pytest.mark.parametrize("form", ["masked", "channels first", "synchronized", "rank 3"])
def test_large_means_keep_their_digits(mean, deviation, shape, tolerance, form):
    x = (np.random.default_rng(0).normal(size=shape) * deviation + mean).astype("float32")
    expected = (x - x.mean((0, 1, 2), dtype="float64")) / np.sqrt(x.astype("float64").var((0, 1, 2)) + 1e-5)
    axis, arguments = -1, {}
    if form == "masked":
        arguments["mask"] = np.ones(shape[:3], bool)
    elif form == "channels first":
        axis, x, expected = 1, np.moveaxis(x, -1, 1), np.moveaxis(expected, -1, 1)
    elif form == "synchronized":
        arguments["synchronize"] = True
    else:
        x, expected = x.reshape(shape[0], -1, shape[-1]), expected.reshape(shape[0], -1, shape[-1])
    y, moments = batch_norm.batch_normalized(x, axis=axis, **arguments)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=tolerance)
    np.testing.assert_allclose(ops.convert_to_numpy(moments.variance), deviation**2, rtol=0.05)


def parts_of(x, cuts):
    return [batch_norm.moments(part) for part in np.split(x, cuts)]


@pytest.mark.parametrize("cuts", [[5], [1, 2, 40], [0, 7], [50], []])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_merge_of_parts_equals_the_whole(cuts, offset, hostile):
    x = hostile((50, 3)) + np.float32(offset)
    parts = [ops.stack(values) for values in zip(*parts_of(x, cuts), strict=True)]
    merged = batch_norm.merged(batch_norm.Moments(ops.reshape(parts[0], (-1, 1)), *parts[1:]))
    count, mean, variance = numpy_moments(merged)
    expected = definition.moments(x)
    assert count == 50
    np.testing.assert_allclose(mean, expected[1], rtol=1e-6)
    np.testing.assert_allclose(variance, expected[2], rtol=1e-5)


def test_merge_of_the_golden_parts():
    parts = batch_norm.Moments(
        *(np.array(v, "float32") for v in ([[2], [3], [0]], [[1.5], [4], [0]], [[0]] * 3, [[0.25], [2 / 3], [0]]))
    )
    count, mean, variance = numpy_moments(batch_norm.merged(parts))
    np.testing.assert_allclose([count, mean[0], variance[0]], [5, 3, 2], rtol=1e-6)


def test_masked_positions_do_not_count_even_as_nan(hostile):
    x = hostile((6, 3))
    mask = np.array([True, False, True, True, False, True])
    expected = definition.moments(x[mask])
    x[~mask] = np.nan
    count, mean, variance = numpy_moments(batch_norm.moments(x, -1, mask))
    assert count == 4
    np.testing.assert_allclose(mean, expected[1], rtol=1e-6)
    np.testing.assert_allclose(variance, expected[2], rtol=3e-6)


@pytest.mark.parametrize("shape", [(0, 3), (0, 4, 5, 3)])
def test_empty_batch_has_finite_moments_and_gradients(shape):
    x = np.zeros(shape, "float32")
    y, moments = batch_norm.batch_normalized(x)
    assert tuple(y.shape) == shape
    for part in moments:
        np.testing.assert_array_equal(ops.convert_to_numpy(part), np.zeros(part.shape))
    scale = np.ones(3, "float32")
    gradient = autodiff.gradient(lambda s: ops.sum(batch_norm.batch_normalized(x, s)[0]), scale)
    np.testing.assert_array_equal(gradient[0], np.zeros(3))


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)])
def test_one_element_is_its_own_mean(shape, hostile):
    y, moments = batch_norm.batch_normalized(hostile(shape), bias=np.array([1, 2, 3], "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(y).ravel(), [1, 2, 3], atol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(batch_norm.unbiased(moments.variance, moments.count)), [0, 0, 0])


def test_unbiased_variance_divides_by_one_less():
    np.testing.assert_allclose(batch_norm.unbiased(np.float32(1.25), np.float32(4)), 5 / 3, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(64, 3), (4, 8, 8, 3)])
def test_half_precision_computes_in_float32(dtype, shape):
    # Squares of these overflow float16, and bfloat16 cannot count to the number of rows.
    x = np.random.default_rng(0).normal(3e4, 5e3, shape).astype("float32")
    x = ops.cast(x, dtype)
    y, moments = batch_norm.batch_normalized(x)
    rounded = ops.convert_to_numpy(ops.cast(x, "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert keras.backend.standardize_dtype(moments.variance.dtype) == "float32"
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}[dtype]  # half a unit in the last place of 3
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(y, "float32")), definition.batch_normalized(rounded), atol=tolerance
    )


def test_float64_stays_float64():
    x = np.random.default_rng(0).normal(1e4, 1, (50, 3))
    y, moments = batch_norm.batch_normalized(ops.convert_to_tensor(x, "float64"))
    if keras.backend.standardize_dtype(y.dtype) != "float64":
        pytest.skip("JAX computes in float64 only where it is switched on")
    np.testing.assert_allclose(ops.convert_to_numpy(y), definition.batch_normalized(x), atol=1e-10)
    assert keras.backend.standardize_dtype(moments.mean.dtype) == "float64"
