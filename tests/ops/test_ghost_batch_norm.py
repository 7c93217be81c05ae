import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import batch_norm, ghost_batch_norm
from tests import autodiff, differences
from tests.reference import batch_norm as whole
from tests.reference import ghost_batch_norm as definition

SHAPES = [((9, 3), -1), ((5, 4, 3), -1), ((7, 3, 5), 1), ((4, 5, 3, 3), -1), ((6, 3, 2, 5), 1)]
SCALE, BIAS = np.array([0.5, -2, 3], "float32"), np.array([5, 0.1, -1], "float32")


def parts(examples, size):
    number, part = ghost_batch_norm.parts(examples, size)
    part = ops.convert_to_numpy(part)
    return [list(np.flatnonzero(part == p)) for p in range(int(number))]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 100])
def test_parts_are_few_and_as_equal_as_they_can_be(size):
    for examples in range(30):
        assert parts(examples, size) == definition.parts(examples, size), examples


def test_parts_of_a_large_batch_do_not_overflow():
    number, part = ghost_batch_norm.parts(1_000_000, 16)
    part = ops.convert_to_numpy(part)
    assert number == 62_500
    np.testing.assert_array_equal(part, np.repeat(np.arange(62_500), 16))


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_definition(shape, axis, size, masked, hostile):
    x = hostile(shape, axis)
    positions = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    mask = np.random.default_rng(1).random(positions) < 0.6 if masked else None
    if masked:  # every part has something
        mask.reshape(len(mask), -1)[:, 0] = True
    y, moments = ghost_batch_norm.batch_normalized(x, size, SCALE, BIAS, axis, 1e-3, mask)
    expected = definition.batch_normalized(x, size, SCALE, BIAS, axis, 1e-3, mask)
    # 1e-6 of 50, the digits of the input, against a spread of 0.05.
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-3, rtol=1e-4)
    count, mean, variance = whole.moments(x, axis, mask)
    assert moments.count == count
    np.testing.assert_allclose(ops.convert_to_numpy(moments.mean + moments.residual), mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(moments.variance), variance, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: whole.batch_normalized(x),  # the whole batch
        lambda x: definition.batch_normalized(x, 2),  # another size
        lambda x: np.concatenate([whole.batch_normalized(x[:4]), whole.batch_normalized(x[4:])]),  # a lone last one
        lambda x: definition.batch_normalized(x[[0, 2, 4, 1, 3]], 4)[[0, 3, 1, 4, 2]],  # not neighbours
    ],
)
def test_input_tells_wrong_formulas_apart(wrong, hostile):
    x = hostile((5, 4, 3)).astype("float64")
    assert not np.allclose(wrong(x), definition.batch_normalized(x, 4), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_equal_finite_differences(masked, hostile):
    x, dy = hostile((5, 2, 3)) / 10, hostile((5, 2, 3), seed=5)
    mask = np.array([[1, 1], [0, 1], [1, 1], [1, 0], [1, 1]], bool) if masked else None

    def loss(x, scale, bias):
        y, _ = ghost_batch_norm.batch_normalized(x, 3, scale, bias, -1, 1e-3, mask)
        return ops.sum(ops.convert_to_tensor(dy) * y)

    def exact(x, scale, bias):
        return np.sum(dy * definition.batch_normalized(x, 3, scale, bias, -1, 1e-3, mask))

    found = autodiff.gradient(loss, x, SCALE, BIAS)
    for value, expected in zip(found, differences.gradient(exact, x, SCALE, BIAS), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_one_part_is_batch_norm(shape, axis, hostile):
    x = hostile(shape, axis)
    y, moments = ghost_batch_norm.batch_normalized(x, 20, SCALE, BIAS, axis)
    expected, expected_moments = batch_norm.batch_normalized(x, SCALE, BIAS, axis)
    # The fused kernel keeps the mean in one float32: 1e-6 of 50 against a spread of 0.05.
    np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(expected), atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(moments.variance), ops.convert_to_numpy(expected_moments.variance), rtol=1e-4
    )


def test_large_means_keep_their_digits():
    x = np.random.default_rng(0).normal(1e4, 1, (32, 1024, 4)).astype("float32")
    y, _ = ghost_batch_norm.batch_normalized(x, 8)
    wide = x.astype("float64").reshape(4, 8, 1024, 4)
    expected = (wide - wide.mean((1, 2), keepdims=True)) / np.sqrt(wide.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected.reshape(x.shape), atol=2e-4)


def test_masked_part_and_empty_batch_are_finite():
    mask = np.array([[True, True], [False, False], [True, False], [True, True]])
    x = np.full((4, 2, 3), 5, "float32")
    x[1] = 7.0
    y, moments = ghost_batch_norm.batch_normalized(x, 1, mask=mask)
    assert np.isfinite(ops.convert_to_numpy(y)).all()
    np.testing.assert_allclose(ops.convert_to_numpy(moments.mean), [5, 5, 5])
    y, moments = ghost_batch_norm.batch_normalized(np.zeros((0, 2, 3), "float32"), 4)
    assert tuple(y.shape) == (0, 2, 3)
    for part in moments:
        np.testing.assert_array_equal(ops.convert_to_numpy(part), np.zeros(part.shape))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_batch_of_unknown_size_is_divided_as_it_comes(jit_compile, hostile):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow traces batches of unknown size")
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 3))], jit_compile=jit_compile)
    def normalized(x):
        return ghost_batch_norm.batch_normalized(x, 4)[0]

    for examples in (1, 4, 5, 8, 9):
        x = hostile((examples, 4, 3))
        np.testing.assert_allclose(normalized(x), definition.batch_normalized(x, 4), atol=1e-3, rtol=1e-4)
    assert normalized(tf.zeros((0, 4, 3))).shape == (0, 4, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    # Squares of these overflow float16.
    x = ops.cast(np.random.default_rng(0).normal(3e4, 5e3, (64, 3)), dtype)
    y, _ = ghost_batch_norm.batch_normalized(x, 32)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = definition.batch_normalized(ops.convert_to_numpy(ops.cast(x, "float32")), 32)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}[dtype]  # half a unit in the last place of 3
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), expected, atol=tolerance)
