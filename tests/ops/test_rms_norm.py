import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import rms_norm
from tests import autodiff, differences
from tests.reference import rms_norm as definition

CASES = [((4, 7), (-1,)), ((2, 3, 5), (-1,)), ((2, 6, 3, 4), (1,)), ((2, 3, 4, 5), (1, 2, 3)), ((2, 3, 4, 5), (-1, 1))]


def normalized(*arguments, **options):
    return ops.convert_to_numpy(rms_norm.normalized(*arguments, **options))


def learned(shape, chosen):
    lengths = [shape[axis] for axis in sorted(axis % len(shape) for axis in chosen)]
    rng = np.random.default_rng(1)
    return rng.normal(1, 2, lengths).astype("float32"), rng.normal(3, 2, lengths).astype("float32")


@pytest.mark.parametrize(("shape", "chosen"), CASES)
@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_equals_the_definition(shape, chosen, use_scale, use_bias, hostile):
    x, (scale, bias) = hostile(shape, seed=2), learned(shape, chosen)
    scale, bias = scale if use_scale else None, bias if use_bias else None
    expected = definition.normalized(x, scale, bias, chosen, 1e-3)
    # Squares, their mean and a root: some roundings.
    np.testing.assert_allclose(normalized(x, scale, bias, chosen, 1e-3), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True)),  # no epsilon, as in the docstring of Keras
        lambda x: x / (np.sqrt((x**2).mean(-1, keepdims=True)) + 1e-3),  # outside the root
        lambda x: x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-3),  # sum for mean
        lambda x: x / np.sqrt(x.var(-1, keepdims=True) + 1e-3),  # the deviation
        lambda x: definition.normalized(x, chosen=(1, 2), epsilon=1e-3),
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((2, 3, 5)).astype("float64") / 300
    assert not np.allclose(wrong(x), definition.normalized(x, epsilon=1e-3), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("shape", "chosen"), [((2, 3, 5), (-1,)), ((2, 3, 5), (1,)), ((2, 3, 4), (2, 1))])
def test_gradients_equal_finite_differences(shape, chosen, hostile):
    x, dy, (scale, bias) = hostile(shape) / 10, hostile(shape, seed=5), learned(shape, chosen)

    def loss(x, scale, bias):
        return ops.sum(ops.convert_to_tensor(dy) * rms_norm.normalized(x, scale, bias, chosen, 1e-3))

    def exact(x, scale, bias):
        return np.sum(dy * definition.normalized(x, scale, bias, chosen, 1e-3))

    found = autodiff.gradient(loss, x, scale, bias)
    for value, expected in zip(found, differences.gradient(exact, x, scale, bias), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_of_zeros_is_zero_with_a_finite_gradient():
    x = np.zeros((2, 3), "float32")
    np.testing.assert_array_equal(normalized(x), x)
    (gradient,) = autodiff.gradient(lambda x: ops.sum(rms_norm.normalized(x, epsilon=1e-4)), x)
    np.testing.assert_allclose(gradient, np.full((2, 3), 100), rtol=1e-6)


def test_positive_multiple_of_an_example_changes_nothing(hostile):
    x = hostile((4, 7))
    multiple = x * np.array([[4], [0.5], [2], [8]], "float32")
    np.testing.assert_allclose(normalized(x, epsilon=1e-12), normalized(multiple, epsilon=1e-12), rtol=1e-6)


def test_empty_batch_has_an_empty_result():
    assert normalized(np.zeros((0, 3, 6), "float32")).shape == (0, 3, 6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    x = ops.cast(np.random.default_rng(0).normal(3e4, 5e3, (4, 64)), dtype)  # squares overflow float16
    y = rms_norm.normalized(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = definition.normalized(ops.convert_to_numpy(ops.cast(x, "float32")))
    digits = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, rtol=digits)
