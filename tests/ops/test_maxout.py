import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import maxout
from tests import autodiff
from tests.reference import maxout as definition


def maximum(x, pieces, axis=-1):
    return ops.convert_to_numpy(maxout.maxout(x, pieces, axis))


CASES = [((5, 6), 2, -1), ((5, 6), 3, 1), ((2, 3, 4, 6), 6, -1), ((2, 6, 4, 3), 2, 1), ((2, 3, 6, 2), 3, -2)]


@pytest.mark.parametrize(("shape", "pieces", "axis"), [*CASES, ((5, 6), 1, -1)])
def test_equals_the_definition(shape, pieces, axis, hostile):
    x = hostile(shape, axis)
    # A maximum rounds nothing.
    np.testing.assert_array_equal(maximum(x, pieces, axis), definition.maxout(x, pieces, axis))


def test_golden_order():
    """Written out by hand: unit j is the maximum of x[j], x[units + j], ..., as in TensorFlow Addons 0.23, whose
    `Maxout(num_units)` reshapes the channels to (channels / num_units, num_units) and takes the maximum of the
    first."""
    x = np.array([[1, 5, 3, 4, 2, 6], [-1, -2, -3, -6, -5, -4]], "float32")
    np.testing.assert_array_equal(maximum(x, 2), [[4, 5, 6], [-1, -2, -3]])  # Maxout(num_units=3)
    np.testing.assert_array_equal(maximum(x, 3), [[3, 6], [-1, -2]])  # Maxout(num_units=2)
    np.testing.assert_array_equal(maximum(x, 6), [[6], [-1]])  # Maxout(num_units=1)
    np.testing.assert_array_equal(maximum(x, 1), x)  # Maxout(num_units=6)


def test_is_the_maximum_of_what_was_concatenated(hostile):
    a, b, c = (hostile((4, 5, 3), seed=seed) for seed in range(3))
    joined = np.concatenate([a, b, c], axis=-1)
    np.testing.assert_array_equal(maximum(joined, 3), np.maximum(np.maximum(a, b), c))


@pytest.mark.parametrize("pieces", [2, 3, 6])
def test_gradient_goes_to_the_first_of_the_largest(pieces, hostile):
    x, dy = hostile((7, 6)), hostile((7, 6 // pieces), seed=1)
    x[:2] = 3  # ties of all
    x[2:4] = np.round(x[2:4] / 30)  # of some

    def function(x):
        return ops.sum(ops.convert_to_tensor(dy) * maxout.maxout(x, pieces))

    np.testing.assert_array_equal(autodiff.gradient(function, x)[0], definition.gradient(x, dy, pieces))


def test_definition_of_the_gradient_agrees_with_finite_differences(hostile):
    x, dy = hostile((4, 6)).astype("float64"), hostile((4, 3), seed=1).astype("float64")
    expected = definition.gradient(x, dy, 2)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-6
        difference = dy * (definition.maxout(x + step, 2) - definition.maxout(x - step, 2))
        np.testing.assert_allclose(expected[index], difference.sum() / 2e-6, rtol=1e-5, atol=1e-6)


def test_is_convex_and_grows_with_its_input(hostile):
    x, z = hostile((50, 6)), hostile((50, 6), seed=1)
    middle = maximum((x + z) / 2, 3)
    assert (middle <= (maximum(x, 3) + maximum(z, 3)) / 2 + 1e-5).all()
    assert (maximum(np.maximum(x, z), 3) == np.maximum(maximum(x, 3), maximum(z, 3))).all()


@pytest.mark.parametrize("position", [0, 1, 2])
def test_what_is_not_a_number_stays_none(position):
    x = np.array([[1.0, 2.0, 3.0]], "float32")
    x[0, position] = np.nan
    assert np.isnan(maximum(x, 3)).all()
    x[0, position] = np.inf
    assert maximum(x, 3) == np.inf


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_stays(dtype, hostile):
    x = ops.cast(hostile((4, 6)), dtype)
    y = maxout.maxout(x, 2)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = definition.maxout(ops.convert_to_numpy(ops.cast(x, "float32")), 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(y, "float32")), expected)


def test_batch_without_rows():
    assert maximum(np.zeros((0, 6), "float32"), 2).shape == (0, 3)


@pytest.mark.parametrize(("shape", "pieces", "axis"), [((5, 7), 2, -1), ((2, 4, 5, 6), 3, 1), ((5, 2), 3, -1)])
def test_pieces_must_divide_the_channels(shape, pieces, axis):
    message = rf"`pieces` must divide .* pieces={pieces}, {shape[axis]} channels on axis={axis} of input shape="
    with pytest.raises(ValueError, match=message):
        maxout.maxout(np.zeros(shape, "float32"), pieces, axis)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.maximum(x[:, ::2], x[:, 1::2]),  # the pieces of a unit side by side
        lambda x: x.reshape(-1, 2, 3).min(1),
        lambda x: x.reshape(-1, 2, 3).mean(1),
        lambda x: np.maximum(x[:, :3], 0),  # the first piece alone, a ReLU
        lambda x: abs(x).reshape(-1, 2, 3).max(1),
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((5, 6))
    assert not np.allclose(wrong(x), definition.maxout(x, 2), rtol=1e-3)
