import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import layer_norm
from tests import autodiff, differences
from tests.reference import layer_norm as definition

CASES = [((4, 7), (-1,)), ((2, 3, 5), (-1,)), ((2, 6, 3, 4), (1,)), ((2, 3, 4, 5), (1, 2, 3)), ((2, 3, 4, 5), (-1, 1))]


def normalized(*arguments, **options):
    return ops.convert_to_numpy(layer_norm.normalized(*arguments, **options))


def learned(shape, chosen, seed=1):
    lengths = [shape[axis] for axis in sorted(axis % len(shape) for axis in chosen)]
    rng = np.random.default_rng(seed)
    return rng.normal(1, 2, lengths).astype("float32"), rng.normal(3, 2, lengths).astype("float32")


@pytest.mark.parametrize(("shape", "chosen"), CASES)
@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_equals_the_definition(shape, chosen, use_scale, use_bias, hostile):
    x, (scale, bias) = hostile(shape, seed=2), learned(shape, chosen)
    scale, bias = scale if use_scale else None, bias if use_bias else None
    expected = definition.normalized(x, scale, bias, chosen, 1e-3)
    np.testing.assert_allclose(normalized(x, scale, bias, chosen, 1e-3), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-3),  # epsilon outside the root
        lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + 1e-3),  # unbiased
        lambda x: x / np.sqrt(x.var(-1, keepdims=True) + 1e-3),  # not centred
        lambda x: definition.normalized(x, chosen=(1, 2), epsilon=1e-3),
        lambda x: definition.normalized(x, chosen=(1,), epsilon=1e-3),
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((2, 3, 5)).astype("float64") / 300
    assert not np.allclose(wrong(x), definition.normalized(x, epsilon=1e-3), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("shape", "chosen"), [((2, 3, 5), (-1,)), ((2, 3, 5), (1,)), ((2, 3, 4), (2, 1))])
def test_gradients_equal_finite_differences(shape, chosen, hostile):
    x, dy, (scale, bias) = hostile(shape) / 10, hostile(shape, seed=5), learned(shape, chosen)

    def loss(x, scale, bias):
        return ops.sum(ops.convert_to_tensor(dy) * layer_norm.normalized(x, scale, bias, chosen, 1e-3))

    def exact(x, scale, bias):
        return np.sum(dy * definition.normalized(x, scale, bias, chosen, 1e-3))

    found = autodiff.gradient(loss, x, scale, bias)
    for value, expected in zip(found, differences.gradient(exact, x, scale, bias), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("mean", "deviation"), [(1000, 0.1), (1e4, 1)])
@pytest.mark.parametrize("chosen", [(-1,), (1, 2, 3)])
def test_large_means_keep_their_digits(mean, deviation, chosen):
    x = (np.random.default_rng(0).normal(size=(2, 32, 32, 64)) * deviation + mean).astype("float32")
    wide = x.astype("float64")
    expected = wide - wide.mean(chosen, keepdims=True)
    expected /= np.sqrt(wide.var(chosen, keepdims=True) + 1e-5)
    # Keras 3.15 is off by 2e-3 here.
    np.testing.assert_allclose(normalized(x, chosen=chosen), expected, atol=5e-5)


def test_positive_affine_map_of_an_example_changes_nothing(hostile):
    x = hostile((4, 7))
    mapped = x * np.array([[4], [0.5], [2], [8]], "float32") + np.array([[3], [-7], [100], [0]], "float32")
    np.testing.assert_allclose(normalized(x, epsilon=1e-12), normalized(mapped, epsilon=1e-12), atol=1e-5)


def test_empty_batch_has_an_empty_result():
    assert normalized(np.zeros((0, 3, 6), "float32")).shape == (0, 3, 6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    x = ops.cast(np.random.default_rng(0).normal(3e4, 5e3, (4, 64)), dtype)  # squares overflow float16
    y = layer_norm.normalized(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = definition.normalized(ops.convert_to_numpy(ops.cast(x, "float32")))
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}[dtype]  # half a unit in the last place of 3
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, atol=tolerance)
