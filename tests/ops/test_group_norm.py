import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import group_norm
from tests import autodiff, differences
from tests.reference import group_norm as definition

SHAPES = [((4, 6), -1), ((3, 6, 5), 1), ((2, 3, 4, 6), -1), ((2, 3, 6, 2), 2)]
SCALE, BIAS = np.array([0.5, -2, 3, 1, 4, -1], "float32"), np.array([5, 0.1, -1, 2, 0, -4], "float32")


def normalized(*arguments, **options):
    return ops.convert_to_numpy(group_norm.normalized(*arguments, **options))


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_definition(shape, axis, groups, masked, hostile):
    x = hostile(shape, axis)
    positions = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    mask = np.random.default_rng(1).random(positions) < 0.6 if masked else None
    if masked:  # every example has something
        mask.reshape(len(mask), -1)[:, 0] = True
    y = normalized(x, groups, SCALE, BIAS, axis, 1e-3, mask)
    expected = definition.normalized(x, groups, SCALE, BIAS, axis, 1e-3, mask)
    # 1e-6 of 50, the digits of the input, against a spread of 0.05.
    np.testing.assert_allclose(y, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: definition.normalized(x, 3),
        lambda x: definition.normalized(x[..., [0, 3, 1, 4, 2, 5]], 2)[..., [0, 2, 4, 1, 3, 5]],  # not neighbours
        lambda x: definition.normalized(x.reshape(1, -1, 6), 2).reshape(x.shape),  # over the batch
        lambda x: definition.normalized(x.reshape(-1, 6), 2).reshape(x.shape),  # each position apart
        lambda x: definition.normalized(x, 2, epsilon=1e-3),
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((2, 5, 6)).astype("float64") / 100
    assert not np.allclose(wrong(x), definition.normalized(x, 2), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_equal_finite_differences(axis, masked, hostile):
    shape = (2, 3, 6) if axis == -1 else (2, 6, 3)
    x, dy = hostile(shape, axis) / 10, hostile(shape, axis, seed=5)
    mask = np.array([[1, 1, 0], [0, 1, 1]], bool) if masked else None

    def loss(x, scale, bias):
        return ops.sum(ops.convert_to_tensor(dy) * group_norm.normalized(x, 2, scale, bias, axis, 1e-3, mask))

    def exact(x, scale, bias):
        return np.sum(dy * definition.normalized(x, 2, scale, bias, axis, 1e-3, mask))

    found = autodiff.gradient(loss, x, SCALE, BIAS)
    for value, expected in zip(found, differences.gradient(exact, x, SCALE, BIAS), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("mean", "deviation"), [(1000, 0.1), (1e4, 1)])
@pytest.mark.parametrize("groups", [4, 64])
@pytest.mark.parametrize("compiled", [False, True])
def test_large_means_keep_their_digits(mean, deviation, groups, compiled):
    x = (np.random.default_rng(0).normal(size=(2, 32, 32, 64)) * deviation + mean).astype("float32")
    wide = x.astype("float64").reshape(2, 32, 32, groups, -1)
    expected = wide - wide.mean((1, 2, 4), keepdims=True)
    expected = (expected / np.sqrt(wide.var((1, 2, 4), keepdims=True) + 1e-5)).reshape(x.shape)
    if compiled and keras.backend.backend() != "tensorflow":
        pytest.skip("compiled by XLA of TensorFlow")
    if compiled:
        import tensorflow as tf

        y = tf.function(lambda x: group_norm.normalized(x, groups), jit_compile=True)(x).numpy()
    else:
        y = normalized(x, groups)
    # Keras 3.15 is off by 0.01 here, and NaN on PyTorch.
    np.testing.assert_allclose(y, expected, atol=5e-5)


def test_positive_affine_map_of_a_group_changes_nothing(hostile):
    x = hostile((4, 5, 6))
    mapped = x * np.repeat(np.array([4, 0.5], "float32"), 3) + np.repeat(np.array([3, -7], "float32"), 3)
    np.testing.assert_allclose(normalized(x, 2, epsilon=1e-12), normalized(mapped, 2, epsilon=1e-12), atol=1e-4)


def test_examples_do_not_see_each_other(hostile):
    x = hostile((4, 5, 6))
    # Not to the last bit: how a sum is ordered may depend on the shape.
    np.testing.assert_allclose(normalized(x, 2)[1:3], normalized(x[1:3], 2), rtol=1e-6, atol=1e-6)


def test_group_of_one_number_is_the_bias(hostile):
    np.testing.assert_array_equal(normalized(hostile((4, 6)), 6, SCALE, BIAS), np.tile(BIAS, (4, 1)))


def test_masked_example_and_empty_batch_are_finite(hostile):
    assert np.isfinite(normalized(hostile((2, 3, 6)), 2, mask=np.array([[True] * 3, [False] * 3]))).all()
    assert normalized(np.zeros((0, 3, 6), "float32"), 2).shape == (0, 3, 6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    # Squares of these overflow float16.
    x = ops.cast(np.random.default_rng(0).normal(3e4, 5e3, (4, 8, 8, 6)), dtype)
    y = group_norm.normalized(x, 2)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = definition.normalized(ops.convert_to_numpy(ops.cast(x, "float32")), 2)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}[dtype]  # half a unit in the last place of 3
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, atol=tolerance)


def test_float64_stays_float64():
    x = np.random.default_rng(0).normal(1e4, 1, (4, 5, 6))
    y = group_norm.normalized(ops.convert_to_tensor(x, "float64"), 2)
    if keras.backend.standardize_dtype(y.dtype) != "float64":
        pytest.skip("JAX computes in float64 only where it is switched on")
    np.testing.assert_allclose(ops.convert_to_numpy(y), definition.normalized(x, 2), atol=1e-10)
