import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import filter_response_norm
from tests import autodiff, differences
from tests.reference import filter_response_norm as definition

SHAPES = [((2, 5, 3), -1), ((3, 3, 5), 1), ((2, 4, 5, 3), -1), ((2, 3, 5, 4), 1), ((4, 1, 1, 3), -1)]
SCALE, BIAS = np.array([0.5, -2, 3], "float32"), np.array([5, 0.1, -1], "float32")


def normalized(*arguments, **options):
    return ops.convert_to_numpy(filter_response_norm.normalized(*arguments, **options))


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("scale", "bias"), [(None, None), (SCALE, None), (SCALE, BIAS)])
def test_equals_the_definition(shape, axis, masked, scale, bias, hostile):
    x = hostile(shape, axis)
    positions = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    mask = np.random.default_rng(1).random(positions) < 0.6 if masked else None
    if masked:  # every example has something
        mask.reshape(len(mask), -1)[:, 0] = True
    y = normalized(x, scale, bias, axis, 1e-3, mask)
    # Squares, their mean and a root: some roundings.
    expected = definition.normalized(x, scale, bias, axis, 1e-3, mask)
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x / np.sqrt((x**2).mean(1, keepdims=True)),  # no epsilon
        lambda x: x / (np.sqrt((x**2).mean(1, keepdims=True)) + 1e-3),  # outside the root
        lambda x: x / np.sqrt(x.var(1, keepdims=True) + 1e-3),  # the deviation
        lambda x: x / np.sqrt((x**2).mean((0, 1)) + 1e-3),  # over the batch
        lambda x: x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-3),  # over the channels
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((2, 5, 3)).astype("float64") / 300
    assert not np.allclose(wrong(x), definition.normalized(x, epsilon=1e-3), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("shape", "axis"), [((2, 4, 3), -1), ((2, 3, 2, 2), 1)])
def test_gradients_equal_finite_differences(shape, axis, hostile):
    x, dy, epsilon = hostile(shape, axis) / 10, hostile(shape, axis, seed=5), np.float32(0.3)

    def loss(x, scale, bias, epsilon):
        return ops.sum(ops.convert_to_tensor(dy) * filter_response_norm.normalized(x, scale, bias, axis, epsilon))

    def exact(x, scale, bias, epsilon):
        return np.sum(dy * definition.normalized(x, scale, bias, axis, epsilon))

    arguments = x, SCALE, BIAS, epsilon
    for value, expected in zip(
        autodiff.gradient(loss, *arguments), differences.gradient(exact, *arguments), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_positive_multiple_of_a_map_changes_nothing(hostile):
    x = hostile((2, 5, 3))
    multiple = x * np.array([[[4, 0.5, 2]], [[8, 1, 0.25]]], "float32")
    np.testing.assert_allclose(normalized(x, epsilon=1e-12), normalized(multiple, epsilon=1e-12), rtol=1e-6)


def test_one_position_is_its_sign(hostile):
    x = hostile((4, 1, 1, 3))
    np.testing.assert_allclose(normalized(x, epsilon=1e-12), np.sign(x), rtol=1e-5)


def test_zeros_masked_examples_and_empty_batches_are_finite(hostile):
    x = np.zeros((2, 4, 3), "float32")
    np.testing.assert_array_equal(normalized(x), x)
    (gradient,) = autodiff.gradient(lambda x: ops.sum(filter_response_norm.normalized(x, epsilon=1e-4)), x)
    np.testing.assert_allclose(gradient, np.full(x.shape, 100), rtol=1e-6)
    assert np.isfinite(normalized(hostile((2, 4, 3)), mask=np.array([[True] * 4, [False] * 4]))).all()
    assert normalized(np.zeros((0, 4, 3), "float32")).shape == (0, 4, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    x = ops.cast(np.random.default_rng(0).normal(3e4, 5e3, (4, 8, 8, 3)), dtype)  # squares overflow float16
    y = filter_response_norm.normalized(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = definition.normalized(ops.convert_to_numpy(ops.cast(x, "float32")))
    digits = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, rtol=digits)
