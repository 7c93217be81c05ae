import numpy as np
import pytest
from keras import ops

from keras_norms.ops import weight_normalization
from tests import autodiff
from tests.reference import weight_normalization as definition

SHAPES = [
    ((4, 3), (-1,)),
    ((3, 2, 4, 5), (-1,)),
    ((3, 2, 5, 4), (-2,)),
    ((3, 3, 4, 2), (2, 3)),
    ((7, 3), (0,)),
    ((4, 3), ()),
]


def drawn(shape, kept, seed=0):
    """Returns v with vectors of very different lengths, scales of both signs, and a gradient of w."""
    rng = np.random.default_rng(seed)
    stretch = np.geomspace(1e-3, 1e3, max(shape))
    v = rng.normal(size=shape) * stretch[: shape[-1]]
    scale = rng.normal(size=[shape[axis] for axis in sorted(a % len(shape) for a in kept)]) * 3
    return v.astype("float32"), scale.astype("float32"), rng.normal(size=shape).astype("float32")


@pytest.mark.parametrize(("shape", "kept"), SHAPES)
def test_equals_the_definition(shape, kept):
    v, scale, _ = drawn(shape, kept)
    # A few roundings of float32.
    np.testing.assert_allclose(
        ops.convert_to_numpy(weight_normalization.norm(v, kept)), definition.norm(v, kept), rtol=1e-6
    )
    for factor in (scale, None):
        w = ops.convert_to_numpy(weight_normalization.normalized(v, factor, kept))
        np.testing.assert_allclose(w, definition.normalized(v, factor, kept), rtol=2e-6)


def test_golden_numbers():
    v, scale, dw = np.array([[3.0], [4.0]]), np.array([2.0]), np.array([[1.0], [0.0]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(weight_normalization.normalized(v, scale)), [[1.2], [1.6]], rtol=1e-6
    )
    dv, dscale = definition.gradients(v, scale, dw)
    np.testing.assert_allclose(dv, [[0.256], [-0.192]], rtol=1e-12)
    np.testing.assert_allclose(dscale, [0.6], rtol=1e-12)


@pytest.mark.parametrize(("shape", "kept"), SHAPES)
def test_gradients_equal_those_of_the_paper(shape, kept):
    v, scale, dw = drawn(shape, kept)

    def loss(v, scale):
        return ops.sum(ops.convert_to_tensor(dw) * weight_normalization.normalized(v, scale, kept))

    dv, dscale = autodiff.gradient(loss, v, scale)
    expected_dv, expected_dscale = definition.gradients(v, scale, dw, kept)
    # The two terms of dv cancel in part: relative to the larger.
    largest = np.abs(scale).max() / definition.norm(v, kept).min() * np.abs(dw).max()
    np.testing.assert_allclose(dv, expected_dv, rtol=1e-4, atol=1e-5 * largest)
    np.testing.assert_allclose(dscale, expected_dscale, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "kept"), SHAPES)
def test_definition_of_the_gradients_agrees_with_finite_differences(shape, kept):
    v, scale, dw = (np.asarray(array, "float64") for array in drawn(shape, kept))
    v = np.sign(v) * np.maximum(np.abs(v), 0.1)
    dv, _ = definition.gradients(v, scale, dw, kept)
    for index in list(np.ndindex(shape))[::5]:
        step = np.zeros(shape)
        step[index] = 1e-6 * max(1, abs(v[index]))
        difference = (definition.normalized(v + step, scale, kept) - definition.normalized(v - step, scale, kept)) * dw
        np.testing.assert_allclose(dv[index], difference.sum() / (2 * step[index]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("shape", "kept"), SHAPES)
def test_gradient_is_orthogonal_to_the_direction(shape, kept):
    v, scale, dw = (np.asarray(array, "float64") for array in drawn(shape, kept))
    (dv,) = autodiff.gradient(
        lambda v: ops.sum(ops.convert_to_tensor(dw) * weight_normalization.normalized(v, scale, kept)), v
    )
    for _, where in definition._units(v, kept):
        product = dv[where] * v[where]
        # JAX computes in float32; the shortest vectors feel epsilon, 1e-6 of their squared length.
        assert abs(product.sum()) < 5e-5 * np.abs(product).sum()


def test_lengths_of_v_change_nothing_and_lengths_of_w_are_the_scales():
    v, scale, _ = drawn((3, 3, 4, 5), (-1,))
    w = ops.convert_to_numpy(weight_normalization.normalized(v, scale))
    stretched = v * np.array([30, 1, 7, 100, 1e4], "float32")
    np.testing.assert_allclose(ops.convert_to_numpy(weight_normalization.normalized(stretched, scale)), w, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt((w.astype("float64") ** 2).sum((0, 1, 2))), np.abs(scale), rtol=1e-6)


def test_row_of_zeros_gives_zeros_and_finite_gradients():
    v, scale, dw = drawn((4, 3), (-1,))
    v[:, 1] = 0
    w = ops.convert_to_numpy(weight_normalization.normalized(v, scale))
    np.testing.assert_array_equal(w[:, 1], 0)
    gradients = autodiff.gradient(
        lambda v, scale: ops.sum(ops.convert_to_tensor(dw) * weight_normalization.normalized(v, scale)), v, scale
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    # The sum of the squares, 4 * 300 ** 2, is beyond float16.
    v = ops.cast(np.full((4, 1), 300.0), dtype)
    w = weight_normalization.normalized(v, np.array([2.0], "float32"))
    assert w.dtype == v.dtype
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(w, "float32")), 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v, scale: v * scale,  # not normalized
        lambda v, scale: v / np.sum(v**2, 0) * scale,  # by the squared norm
        lambda v, scale: v / np.sqrt(np.sum(v**2)) * scale,  # one norm for all units
        lambda v, scale: v / np.sqrt(np.sum(v**2, 1, keepdims=True)) * scale,  # per input
        lambda v, scale: v / np.sqrt(np.sum(v**2, 0)) * np.abs(scale),  # sign of the scale lost
        lambda v, scale: v / np.sqrt(np.mean(v**2, 0)) * scale,  # mean for sum
    ],
)
def test_input_tells_wrong_formulas_apart(wrong):
    v, scale, _ = drawn((4, 3), (-1,))
    assert not np.allclose(wrong(v, scale), definition.normalized(v, scale), rtol=1e-2)
