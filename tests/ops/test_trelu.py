import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import trelu
from tests import autodiff
from tests.reference import trelu as definition

# Of the channels of `hostile`: far below all values, amid those of the second, far above, and amid those of the last.
THRESHOLD = np.array([-1e4, -3.3, 1e4, 50], "float32")
# Outside [0, 1] on both sides, on a bound, and between.
SLOPE = np.array([1.7, 0.3, 0.0, -0.4], "float32")
SHAPES = [((5, 4), -1), ((2, 4, 3, 5), 1), ((2, 3, 5, 4), 3), ((2, 3, 4), 2)]


def relu(x, threshold, axis=-1):
    return ops.convert_to_numpy(trelu.translated_relu(x, threshold, axis))


def prelu(x, threshold, slope, axis=-1):
    return ops.convert_to_numpy(trelu.translated_prelu(x, threshold, slope, axis))


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_equals_the_definition(shape, axis, hostile):
    x = hostile(shape, axis)
    # A maximum rounds nothing: the values agree to the last bit.
    np.testing.assert_array_equal(relu(x, THRESHOLD, axis), definition.translated_relu(x, THRESHOLD, axis))


@pytest.mark.parametrize("slope", [SLOPE, np.array([0.2, 0.9, 0.5, 0.25], "float32")])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_leaky_form_equals_the_definition(shape, axis, slope, hostile):
    x = hostile(shape, axis)
    expected = definition.translated_prelu(x, THRESHOLD, slope, axis)
    # Three roundings of numbers not larger than the threshold and the distance to it.
    np.testing.assert_allclose(prelu(x, THRESHOLD, slope, axis), expected, rtol=1e-6, atol=1e-6 * 1e4)


def test_above_the_threshold_nothing_is_rounded():
    x = np.array([[1e-4, 0.1, 1 / 3]], "float32")
    threshold = np.full(3, -1000, "float32")
    for y in (relu(x, threshold), prelu(x, threshold, threshold)):
        np.testing.assert_array_equal(y, x)
    # The wrong way: 1e-4 would come out as 1.22e-4.
    assert (x - threshold + threshold)[0, 0] != x[0, 0]


def test_gradient_goes_to_the_threshold_where_clipped(hostile):
    x = hostile((50, 4))
    x[0] = THRESHOLD  # ties
    gradients = autodiff.gradient(lambda x, t: ops.sum(trelu.translated_relu(x, t)), x, THRESHOLD)
    np.testing.assert_array_equal(gradients[0], x > THRESHOLD)
    np.testing.assert_array_equal(gradients[1], (x <= THRESHOLD).sum(0))


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gradients_equal_their_definition(shape, axis, hostile):
    x, dy = hostile(shape, axis), hostile(shape, axis, seed=1)
    threshold = THRESHOLD.copy()
    tie = (0,) * (axis % len(shape)) + (1,) + (0,) * (len(shape) - axis % len(shape) - 1)
    x[tie] = threshold[1]

    def leaky(x, t, a):
        return ops.sum(ops.convert_to_tensor(dy) * trelu.translated_prelu(x, t, a, axis))

    expected = definition.gradients(x, dy, threshold, SLOPE, axis)
    for ours, theirs in zip(autodiff.gradient(leaky, x, threshold, SLOPE), expected, strict=True):
        # Sums of up to 30 products.
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * abs(theirs).max())

    def plain(x, t):
        return ops.sum(ops.convert_to_tensor(dy) * trelu.translated_relu(x, t, axis))

    expected = definition.gradients(x, dy, threshold, np.zeros(4), axis)
    for ours, theirs in zip(autodiff.gradient(plain, x, threshold), expected[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * abs(theirs).max())


def test_definition_of_the_gradients_agrees_with_finite_differences(hostile):
    x, dy = hostile((6, 4)).astype("float64"), hostile((6, 4), seed=1).astype("float64")
    arguments = [x, THRESHOLD.astype("float64"), SLOPE + 0.01]
    assert abs(x - arguments[1]).min() > 1e-2  # away from the corners the function is linear in each argument
    expected = definition.gradients(x, dy, *arguments[1:])
    for position, argument in enumerate(arguments):
        for index in np.ndindex(argument.shape):
            ends = []
            for step in (1e-3, -1e-3):
                changed = [array.copy() for array in arguments]
                changed[position][index] += step
                ends.append(definition.translated_prelu(*changed))
            difference = (dy * (ends[0] - ends[1])).sum() / 2e-3
            np.testing.assert_allclose(expected[position][index], difference, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_slope_on_a_bound_learns(start):
    x, threshold = np.array([[-3.0], [2.0]], "float32"), np.array([1.0], "float32")
    slope = np.array([start], "float32")
    (gradient,) = autodiff.gradient(lambda a: ops.sum(trelu.translated_prelu(x, threshold, a)), slope)
    np.testing.assert_array_equal(gradient, [-4])


@pytest.mark.parametrize("slope", [0.0, -2.0])
def test_without_slope_it_is_the_clipped_form(slope, hostile):
    x = hostile((5, 4))
    np.testing.assert_array_equal(prelu(x, THRESHOLD, np.full(4, slope, "float32")), relu(x, THRESHOLD))


def test_is_translated_with_its_threshold(hostile):
    # Powers of two, so that the translation rounds nothing.
    x, threshold = np.round(hostile((5, 4)) * 8) / 8, np.array([-4, 1, 2, 48], "float32")
    np.testing.assert_array_equal(relu(x + 16, threshold + 16), relu(x, threshold) + 16)
    slope = np.array([0.5, 0.25, 0.5, 0.125], "float32")
    np.testing.assert_array_equal(prelu(x + 16, threshold + 16, slope), prelu(x, threshold, slope) + 16)


def test_what_is_not_a_number_stays_none():
    x, threshold = np.array([[np.nan, np.inf, -np.inf]], "float32"), np.array([1, 2, 3], "float32")
    np.testing.assert_array_equal(relu(x, threshold), [[np.nan, np.inf, 3]])
    np.testing.assert_array_equal(prelu(x, threshold, np.full(3, 0.5)), [[np.nan, np.inf, -np.inf]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    # 70,000 clipped elements: their sum is no float16, and stops at 256 in bfloat16.
    x = np.zeros((70_000, 2), "float32")
    thresholds, slopes = np.array([0.3, -1], "float32"), np.array([0.5, 0.5], "float32")

    def clipped(t):
        y = trelu.translated_relu(ops.cast(x, dtype), t)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        return ops.sum(ops.cast(y, "float32"))

    def leaky(t, a):
        y = trelu.translated_prelu(ops.cast(x, dtype), t, a)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        return ops.sum(ops.cast(y, "float32"))

    (gradient,) = autodiff.gradient(clipped, thresholds)
    np.testing.assert_array_equal(gradient, [70_000, 0])
    dthreshold, dslope = autodiff.gradient(leaky, thresholds, slopes)
    np.testing.assert_array_equal(dthreshold, [35_000, 0])
    # float32 sums of a number that is not a power of two.
    np.testing.assert_allclose(dslope, [-0.3 * 70_000, 0], rtol=1e-3)


def test_float64_stays_float64(hostile):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is switched on")
    x, threshold = hostile((5, 4)).astype("float64") / 3, THRESHOLD.astype("float64") / 3
    y = relu(x, threshold)
    assert y.dtype == "float64"
    np.testing.assert_array_equal(y, definition.translated_relu(x, threshold))
    y = prelu(x, threshold, SLOPE.astype("float64"))
    assert y.dtype == "float64"
    np.testing.assert_allclose(y, definition.translated_prelu(x, threshold, SLOPE), rtol=1e-13, atol=1e-13 * 1e4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, t: np.maximum(x, 0) + t,  # translated, not clipped
        lambda x, t: np.maximum(x - t, 0),  # not translated back
        lambda x, t: np.maximum(x + t, 0) - t,  # translated the other way
        lambda x, t: np.maximum(x, t[::-1]),  # channels in another order
        lambda x, t: np.minimum(x, t),  # clipped from above
        lambda x, t: np.maximum(x, t.mean()),  # one threshold for all
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x, t = hostile((5, 4)), THRESHOLD
    assert not np.allclose(wrong(x, t), definition.translated_relu(x, t), rtol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, t, a: np.where(x > t, x, a * x),  # a PReLU with a jump
        lambda x, t, a: np.where(x > t, x, a * x + t),  # a jump of another size
        lambda x, t, a: np.where(x > t, x, a * (x - t)),  # not translated back
        lambda x, t, a: np.where(x > 0, x, a * (x - t) + t),  # the corner at zero
        lambda x, t, a: np.where(x > t, x, (1 - a) * (x - t) + t),
        lambda x, t, a: np.where(x > t, x, a[::-1] * (x - t) + t),  # channels in another order
    ],
)
def test_input_tells_wrong_leaky_formulas_apart(wrong, hostile):
    x, t, a = hostile((5, 4)), THRESHOLD, np.clip(SLOPE, 0, 1)
    expected = definition.translated_prelu(x, t, a)
    assert not np.allclose(wrong(x, t, a), expected, rtol=1e-3)
    # Without the clamp.
    assert not np.allclose(np.where(x > t, x, SLOPE * (x - t) + t), expected, rtol=1e-3)
