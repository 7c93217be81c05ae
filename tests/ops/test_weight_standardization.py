import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.ops import weight_standardization
from tests import autodiff, differences
from tests.reference import weight_standardization as definition

# Dense, convolution, transposed and depthwise ones, an embedding, and one unit.
CASES = [
    ((5, 3), (-1,)),
    ((3, 3, 2, 4), (3,)),
    ((3, 2, 4, 5), (-2,)),
    ((3, 3, 2, 2), (2, 3)),
    ((6, 4), (0,)),
    ((4, 3), ()),
]


def kernel(shape, seed=0):
    return np.random.default_rng(seed).normal(0.3, 0.7, shape).astype("float32")


def scale_of(shape, kept):
    return kernel([shape[axis] for axis in sorted(axis % len(shape) for axis in kept)], seed=2)


@pytest.mark.parametrize(("shape", "kept"), CASES)
def test_standardized_equals_the_definition(shape, kept):
    w = ops.convert_to_numpy(weight_standardization.standardized(kernel(shape), kept, 1e-2))
    np.testing.assert_allclose(w, definition.standardized(kernel(shape), kept, 1e-2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "kept"), CASES)
@pytest.mark.parametrize("use_scale", [False, True])
def test_scaled_equals_the_definition(shape, kept, use_scale):
    v, scale = kernel(shape), scale_of(shape, kept) if use_scale else None
    w = ops.convert_to_numpy(weight_standardization.scaled_standardized(v, scale, kept, 1e-2))
    expected = definition.scaled_standardized(v, scale, kept, 1e-2)
    np.testing.assert_allclose(w, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v: v / np.sqrt(v.var(0) + 1e-2),  # not centred
        lambda v: (v - v.mean()) / np.sqrt(v.var() + 1e-2),  # one unit
        lambda v: (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-2),  # of the inputs
        lambda v: (v - v.mean(0)) / (v.std(0) + 1e-2),  # epsilon outside the root
        lambda v: (v - v.mean(0)) / np.sqrt(v.var(0, ddof=1) + 1e-2),  # unbiased
    ],
)
def test_input_tells_wrong_formulas_apart(wrong):
    v = kernel((5, 3)).astype("float64")
    assert not np.allclose(wrong(v), definition.standardized(v, epsilon=1e-2), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v, g: g * (v - v.mean(0)) / np.sqrt(np.maximum(v.var(0), 0.5)),  # without the fan-in
        lambda v, g: g * (v - v.mean(0)) / np.sqrt(5 * v.var(0) + 0.5),  # added, not the least
        lambda v, g: g * v / np.sqrt(np.maximum(5 * v.var(0), 0.5)),  # not centred
        lambda v, g: (v - v.mean(0)) / np.sqrt(np.maximum(5 * v.var(0), 0.5)),  # without the scale
    ],
)
def test_input_tells_wrong_scaled_formulas_apart(wrong):
    v, scale = kernel((5, 3)).astype("float64"), np.array([2, 0.5, -1])
    v[:, 0] *= 0.1  # a unit whose variance counts as epsilon
    assert not np.allclose(wrong(v, scale), definition.scaled_standardized(v, scale, epsilon=0.5), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("shape", "kept"), CASES)
def test_gradients_equal_finite_differences(shape, kept):
    v, dw, scale = kernel(shape), kernel(shape, seed=5), scale_of(shape, kept)
    upstream = ops.convert_to_tensor(dw)
    for found, expected in (
        (
            autodiff.gradient(lambda v: ops.sum(upstream * weight_standardization.standardized(v, kept)), v),
            differences.gradient(lambda v: np.sum(dw * definition.standardized(v, kept)), v),
        ),
        (
            autodiff.gradient(
                lambda v, s: ops.sum(upstream * weight_standardization.scaled_standardized(v, s, kept)), v, scale
            ),
            differences.gradient(lambda v, s: np.sum(dw * definition.scaled_standardized(v, s, kept)), v, scale),
        ),
    ):
        for value, exact in zip(found, expected, strict=True):
            np.testing.assert_allclose(value, exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max())


def test_gradient_is_orthogonal_to_constants_and_to_the_weights():
    v, dw = kernel((5, 3)), kernel((5, 3), seed=5)
    (gradient,) = autodiff.gradient(
        lambda v: ops.sum(ops.convert_to_tensor(dw) * weight_standardization.standardized(v, epsilon=1e-12)), v
    )
    np.testing.assert_allclose(gradient.sum(0), 0, atol=1e-5)
    np.testing.assert_allclose((gradient * v).sum(0), 0, atol=1e-5)


def test_units_have_mean_0_and_variance_1_or_norm_1():
    v = kernel((3, 3, 4, 5)) + 100
    plain = ops.convert_to_numpy(weight_standardization.standardized(v)).reshape(-1, 5)
    scaled = ops.convert_to_numpy(weight_standardization.scaled_standardized(v)).reshape(-1, 5)
    np.testing.assert_allclose(plain.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(plain.var(0), 1, rtol=1e-4)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=0), 1, rtol=1e-4)


def test_equal_weights_give_zeros_and_finite_gradients():
    v = np.full((4, 2), 0.3, "float32")
    for function in (weight_standardization.standardized, weight_standardization.scaled_standardized):
        np.testing.assert_allclose(ops.convert_to_numpy(function(v)), 0, atol=1e-4)
        (gradient,) = autodiff.gradient(lambda v, f=function: ops.sum(ops.square(f(v) - 1)), v)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype):
    v = ops.cast(kernel((400, 3)) * 1000, dtype)  # sums of squares overflow float16
    rounded = ops.convert_to_numpy(ops.cast(v, "float32"))
    for function, exact in (
        (weight_standardization.standardized, definition.standardized),
        (weight_standardization.scaled_standardized, definition.scaled_standardized),
    ):
        w = function(v)
        assert keras.backend.standardize_dtype(w.dtype) == dtype
        digits = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
        np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(w, "float32")), exact(rounded), rtol=digits, atol=1e-5)
