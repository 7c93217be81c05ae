import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests import autodiff
from tests.reference import weight_standardization as definition

L = keras.layers
both = pytest.mark.parametrize("kind", [layers.WeightStandardization, layers.ScaledWeightStandardization])
# A layer, the shape of its input, the name of a weight, and its axes of output units.
CASES = [
    (lambda: L.Dense(3), (4, 5), "kernel", (-1,)),
    (lambda: L.Conv1D(4, 3), (2, 6, 2), "kernel", (-1,)),
    (lambda: L.Conv2D(4, 3, groups=2), (2, 5, 5, 4), "kernel", (-1,)),
    (lambda: L.Conv2DTranspose(4, 3), (2, 5, 5, 2), "kernel", (-2,)),
    (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), (2, 5, 5, 2), "kernel", (-2, -1)),
    (lambda: L.EinsumDense("abc,cd->abd", (3, 4)), (2, 3, 5), "kernel", (1,)),
]


def exact(kind, v, kept, scale=None):
    if kind is layers.WeightStandardization:
        return definition.standardized(v, kept)
    return definition.scaled_standardized(v, scale, kept)


@both
@pytest.mark.parametrize(("make", "shape", "name", "kept"), CASES)
def test_computes_with_standardized_weights_and_writes_none(kind, make, shape, name, kept, hostile):
    wrapped, plain, x = kind(make()), make(), hostile(shape) / 30
    wrapped.build(shape)
    plain.build(shape)
    v = np.random.default_rng(1).normal(0.3, 0.7, wrapped.layer.kernel.shape).astype("float32")
    wrapped.layer.kernel.assign(v)
    scale = None
    if kind is layers.ScaledWeightStandardization:
        scale = np.random.default_rng(2).normal(1, 0.5, wrapped.scales[name].shape)
        wrapped.scales[name].assign(scale)
    expected = exact(kind, v, kept, scale)
    np.testing.assert_allclose(ops.convert_to_numpy(wrapped.effective_weights()[name]), expected, rtol=1e-4, atol=1e-5)
    plain.kernel.assign(expected)
    y = ops.convert_to_numpy(wrapped(x, training=True))
    np.testing.assert_allclose(y, ops.convert_to_numpy(plain(x)), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(ops.convert_to_numpy(wrapped.layer.kernel), v)


@both
def test_gradient_reaches_the_stored_weight(kind, hostile):
    layer, x = kind(L.Dense(3)), hostile((4, 5))
    layer.build(x.shape)
    values = [ops.convert_to_numpy(v) for v in layer.trainable_variables]
    target = ops.convert_to_tensor(hostile((4, 3), seed=1))

    def loss(*variables):
        return ops.sum(ops.square(layer.stateless_call(list(variables), [], x)[0] - target))

    kernel = next(i for i, v in enumerate(layer.trainable_variables) if v is layer.layer.kernel)
    gradient = autodiff.gradient(loss, *values)[kernel]
    # Only what changes the direction of a unit's weights counts, and adding a constant to them does not.
    np.testing.assert_allclose(gradient.sum(0), 0, atol=1e-4 * np.abs(gradient).max())
    np.testing.assert_allclose((gradient * values[kernel]).sum(0), 0, atol=1e-3 * np.abs(gradient).max())
    assert np.abs(gradient).max() > 1e-3


def test_scaled_form_keeps_the_variance_of_independent_inputs():
    x = np.random.default_rng(0).normal(size=(20_000, 64)).astype("float32")
    layer = layers.ScaledWeightStandardization(L.Dense(4, use_bias=False))
    variance = ops.convert_to_numpy(layer(x)).astype("float64").var(0)
    # The variance of a sample variance of n normals is 2 / n.
    np.testing.assert_allclose(variance, 1, atol=5 * np.sqrt(2 / len(x)))


def test_scales_are_learned_unless_they_are_not_used():
    learned, fixed = (
        layers.ScaledWeightStandardization(L.Dense(3)),
        layers.ScaledWeightStandardization(L.Dense(3), use_scale=False),
    )
    for layer in (learned, fixed):
        layer.build((None, 5))
    assert [tuple(v.shape) for v in learned.scales.values()] == [(3,)]
    np.testing.assert_array_equal(ops.convert_to_numpy(learned.scales["kernel"]), np.ones(3))
    assert len(learned.trainable_weights) == len(fixed.trainable_weights) + 1
    with pytest.raises(ValueError, match="use_scale=True"):
        layers.ScaledWeightStandardization(L.Dense(3), use_scale=False, scale_initializer="ones")


@both
def test_axes_can_be_given_and_several_weights_named(kind):
    layer = kind(L.SeparableConv2D(4, 3), weight=["depthwise_kernel", "pointwise_kernel"], axis=-1)
    layer.build((None, 5, 5, 2))
    for name, w in layer.effective_weights().items():
        expected = exact(kind, ops.convert_to_numpy(getattr(layer.layer, name)), (-1,))
        np.testing.assert_allclose(ops.convert_to_numpy(w), expected, rtol=1e-4, atol=1e-5)


@both
@pytest.mark.parametrize("dtype", ["mixed_float16", "float16"])
def test_half_precision_standardizes_in_float32(kind, dtype):
    layer = kind(L.Dense(3, dtype=dtype, use_bias=False))
    layer.build((None, 400))
    v = np.random.default_rng(1).normal(0, 300, (400, 3)).astype("float16")  # sums of squares overflow float16
    layer.layer.kernel.assign(v)
    w = ops.convert_to_numpy(ops.cast(layer.effective_weights()["kernel"], "float32"))
    np.testing.assert_allclose(w, exact(kind, v, (-1,)), rtol=2**-10, atol=1e-4)
    assert np.isfinite(ops.convert_to_numpy(layer(np.ones((2, 400), "float16")))).all()


@both
def test_contradictions_are_refused(kind):
    with pytest.raises(ValueError, match="`epsilon`"):
        kind(L.Dense(3), epsilon=0)
    with pytest.raises(ValueError, match="name variables"):
        kind(L.Dense(3), weight="kernels").build((None, 2))
