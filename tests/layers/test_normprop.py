import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from keras_norms.layers import NormProp, NormPropAdd, lending
from tests import autodiff
from tests.reference import normprop as definition
from tests.reference import weight_normalization

L = keras.layers

# Of the ReLU: mean, deviation, and the root of E f' ** 2 over the deviation (shared/facts/algorithms.md, 4.4).
MEAN, DEVIATION, JACOBIAN = 0.3989422804, 0.5838193701, 1.2111738962


def array(x):
    return np.asarray(ops.convert_to_numpy(x)).astype("float64")


def moved(layer, seed=3):
    """Moves every variable off its initial value, and filters off the length 1."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        variable.assign(rng.normal(0.3, 1.5, variable.shape))
    return layer


def built(layer, shape, activation="relu", **options):
    layer = NormProp(layer, activation, **options)
    layer.build((None, *shape))
    return layer


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# The equation.


@pytest.mark.parametrize(
    ("activation", "function", "mean", "deviation"),
    [
        ("relu", lambda u: max(u, 0.0), MEAN, DEVIATION),
        ("tanh", math.tanh, 0.0, 0.6279287303),
        (None, lambda u: u, 0.0, 1.0),
        (layers.VLReLU(), lambda u: max(u, u / 3), 0.2659615203, 0.6962901876),
        (lambda u: ops.maximum(u, -0.5), lambda u: max(u, -0.5), 0.1977965574, 0.7439359545),
    ],
)
def test_equals_the_definition(activation, function, mean, deviation, hostile):
    x = hostile((6, 5)) / 10
    layer = moved(built(L.Dense(3), (5,), activation, assumed_scale=1.0))
    weights = [layer.layer.kernel, layer.scale, layer.layer.bias]
    expected = definition.layer(x, *map(array, weights), function, mean, deviation)
    # The function is integrated in float32 on JAX.
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "shape", "kept"),
    [
        (lambda: L.Dense(3), (5,), [-1]),
        (lambda: L.Conv1D(3, 2, padding="causal"), (5, 4), [-1]),
        (lambda: L.Conv2D(6, 3, groups=2), (5, 4, 4), [-1]),
        (lambda: L.Conv2D(3, 3, strides=2, dilation_rate=1, padding="same"), (5, 7, 4), [-1]),
        (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), (5, 4, 3), [-2, -1]),
        (lambda: L.Conv2DTranspose(3, 3), (4, 3, 5), [-2]),
        (lambda: L.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="e"), (3, 4), [-2, -1]),
    ],
)
def test_every_layer_has_its_own_filters(make, shape, kept):
    layer = moved(built(make(), shape))
    plain = make()
    plain.build((None, *shape))
    plain.set_weights(layer.layer.get_weights())
    w = weight_normalization.normalized(array(layer.layer.kernel), array(layer.scale), kept)
    assert tuple(layer.scale.shape) == tuple(w.shape[axis] for axis in kept)
    plain.kernel.assign(w)
    x = normal((2, *shape))
    # The default constants are those at the initial scale, which are in proportion to it.
    expected = (np.maximum(array(plain(x)), 0) - MEAN / JACOBIAN) / (DEVIATION / JACOBIAN)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"initial_scale": 1.0}, {"use_scale": False}, {"initial_scale": 3.0}])
def test_values_of_a_relu(options):
    layer = built(L.Dense(1), (2,), **options)
    layer.layer.kernel.assign([[3.0], [4.0]])
    x = np.outer([0, 1, 2, -5], [0.6, 0.8])
    expected = [-0.6833316961, 1.0295268544, 2.7423854048, -0.6833316961]
    np.testing.assert_allclose(array(layer(x))[:, 0], expected, rtol=1e-6)


def test_start():
    layer = built(L.Dense(3), (4,))
    np.testing.assert_allclose(array(layer.scale), 1 / JACOBIAN, rtol=1e-6)
    np.testing.assert_allclose(array(built(L.Dense(3), (4,), "tanh").scale), 1 / 1.0852682767, rtol=1e-6)
    np.testing.assert_allclose(array(built(L.Dense(3), (4,), None).scale), 1)
    lengths = np.linalg.norm(array(layer.effective_weights()["kernel"]), axis=0)
    np.testing.assert_allclose(lengths, 1 / JACOBIAN, rtol=1e-6)
    strict = built(L.Dense(3), (4,), use_scale=False)
    assert strict.scale is None
    np.testing.assert_allclose(np.linalg.norm(array(strict.effective_weights()["kernel"]), axis=0), 1, rtol=1e-6)


def test_constants_of_the_paper():
    moments = NormProp(L.Dense(3), assumed_scale=1.0).moments
    np.testing.assert_allclose([moments.mean, moments.deviation], [MEAN, DEVIATION], rtol=1e-9)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 3, 5)])
@pytest.mark.parametrize("use_scale", [True, False])
def test_strided_transposed_convolutions_are_multiplied_with_the_root_of_their_strides(shape, use_scale):
    layer = moved(built(L.Conv2DTranspose(3, 3, strides=(2, 3)), shape, None, use_scale=use_scale))
    scale = array(layer.scale) if use_scale else None
    expected = math.sqrt(6) * weight_normalization.normalized(array(layer.layer.kernel), scale, [-2])
    np.testing.assert_allclose(array(layer.effective_weights()["kernel"]), expected, rtol=1e-5)
    one = built(L.Conv1DTranspose(3, 3, strides=2), (4, 5), None, use_scale=False)
    lengths = np.linalg.norm(array(one.effective_weights()["kernel"]), axis=(0, 2))
    np.testing.assert_allclose(lengths, math.sqrt(2), rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no float64 unless told")
def test_float64_keeps_its_digits():
    layer = moved(built(L.Conv1DTranspose(3, 3, strides=2, dtype="float64"), (4, 5), use_scale=False))
    expected = math.sqrt(2) * weight_normalization.normalized(array(layer.layer.kernel), None, [-2])
    # The epsilon in the norm is 1e-12.
    np.testing.assert_allclose(array(layer.effective_weights()["kernel"]), expected, rtol=1e-11)
    assert keras.backend.standardize_dtype(layer(normal((2, 4, 5))).dtype) == "float64"


# Statistics: standard normal in, mean 0 and variance 1 out.


def assert_standard(y, mean=0.0, variance=1.0):
    """Checks the mean and the mean square of each channel, to 5 standard errors. The rows are independent."""
    y = y.astype("float64").reshape(len(y), -1, y.shape[-1])
    for part, expected in ((y.mean(1), mean), ((y**2).mean(1), variance + mean**2)):
        error = part.std(0) / math.sqrt(len(part))
        assert (np.abs(part.mean(0) - expected) < 5 * error).all(), (part.mean(0), expected, error)


def with_filters(layer, values):
    """Gives a wrapped layer filters of other lengths than 1. Returns the layer."""
    kernel = layer.layer.kernel
    rng = np.random.default_rng(5)
    kernel.assign({"normal": rng.normal(0, 3, kernel.shape), "signs": 3 * rng.choice([-1, 1], kernel.shape)}[values])
    return layer


@pytest.mark.parametrize(
    ("make", "shape", "filters", "border"),
    [
        (lambda: L.Dense(8), (30,), "normal", 0),
        (lambda: L.Conv1D(5, 3), (9, 4), "normal", 0),
        (lambda: L.Conv2D(6, 3), (6, 5, 4), "normal", 0),
        (lambda: L.Conv2D(6, 3, groups=2), (6, 5, 4), "normal", 0),
        (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), (6, 5, 3), "normal", 0),
        (lambda: L.EinsumDense("abc,cd->abd", (None, 5)), (3, 16), "normal", 0),
        # All outputs away from the border see the same number of taps, and taps of one size make them alike.
        (lambda: L.Conv1DTranspose(5, 6, strides=3), (6, 8), "signs", 3),
        (lambda: L.Conv2DTranspose(4, 4, strides=2), (5, 6, 4), "signs", 2),
    ],
)
def test_layers_keep_the_standard_distribution(make, shape, filters, border):
    layer = with_filters(built(make(), shape), filters)
    y = array(layer(normal((3000, *shape))))
    inside = (slice(None), *[slice(border, n - border) for n in y.shape[1:-1]])
    assert_standard(y[inside])


@pytest.mark.parametrize(
    "activation",
    [
        *["linear", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "hard_silu", "mish", "tanh", "sigmoid"],
        *["softplus", "softsign", "glu", keras.ops.abs, lambda x: 1.7159 * ops.tanh(2 / 3 * x)],
        *[L.ReLU(negative_slope=0.1), L.PReLU("ones"), layers.PReLU(), layers.VLReLU(), layers.Maxout(pieces=4)],
        *[layers.RReLU(seed=1), layers.DivisorRReLU(seed=1), layers.TReLU(threshold_initializer="ones")],
    ],
    ids=lambda a: str(getattr(a, "name", getattr(a, "__name__", a))),
)
@pytest.mark.parametrize("initial_scale", [None, 2.0])
def test_activations_keep_the_standard_distribution(activation, initial_scale):
    if isinstance(activation, keras.Layer):
        activation = type(activation).from_config(activation.get_config())
    # Orthogonal filters: the units that a Maxout or a GLU combines are independent.
    layer = built(L.Dense(8, kernel_initializer="orthogonal"), (16,), activation, initial_scale=initial_scale)
    assert_standard(array(layer(normal((4000, 16)), training=True)))


def test_layer_of_the_paper_lets_the_signal_fade():
    layer = with_filters(built(L.Dense(8), (30,), assumed_scale=1.0), "normal")
    assert_standard(array(layer(normal((4000, 30)))), MEAN / DEVIATION * (1 / JACOBIAN - 1), 1 - 1 / math.pi)
    with pytest.raises(AssertionError):
        assert_standard(array(layer(normal((4000, 30)))))


@pytest.mark.parametrize(("options", "size"), [({}, JACOBIAN), ({"assumed_scale": 1.0}, 1.0)])
def test_size_of_the_jacobian(options, size):
    """The mean squared singular value, from products with random vectors."""
    layer = with_filters(built(L.Dense(40), (40,), **options), "normal")
    x, u = normal((2000, 40)), normal((2000, 40), seed=1)
    (products,) = autodiff.gradient(lambda x: ops.sum(ops.convert_to_tensor(u) * layer(x)), x)
    squares = np.square(products.astype("float64")).mean(1)
    assert abs(squares.mean() - size**2) < 5 * squares.std() / math.sqrt(len(squares))


@pytest.mark.parametrize(
    ("options", "spread", "deviation"),
    # Deviation of pre-activations in all, and over inputs alone (shared/facts/algorithms.md, 4.6).
    [
        ({}, 1.01 / JACOBIAN, 1.01 / JACOBIAN),
        ({"initial_scale": 1.0}, 1.01, 1.01),
        ({"assumed_scale": 1.0}, 0.51, 0.23),
    ],
)
def test_ten_layers(options, spread, deviation):
    width = 400
    y = normal((300, width))
    for _ in range(10):
        layer = built(L.Dense(width), (width,), **options)
        pre_activations = array(y) @ array(layer.effective_weights()["kernel"])
        y = layer(y)
    # One draw of weights of a width of 400: a few per cent.
    np.testing.assert_allclose(pre_activations.std(), spread, rtol=0.07)
    np.testing.assert_allclose(math.sqrt(pre_activations.var(0).mean()), deviation, rtol=0.07)
    if "assumed_scale" not in options:
        assert abs(array(y).mean()) < 0.05
        assert abs(array(y).var() - 1) < 0.15


def test_last_layer_is_linear_with_scale_and_bias(hostile):
    layer = moved(built(L.Dense(3), (4,), activation=None))
    x = hostile((5, 4))
    w = weight_normalization.normalized(array(layer.layer.kernel), array(layer.scale))
    np.testing.assert_allclose(array(layer(x)), x @ w + array(layer.layer.bias), rtol=1e-5, atol=1e-3)


# Gradients.


def gradients(layer, x, upstream):
    variables = [layer.layer.kernel, layer.layer.bias, layer.scale]

    def loss(*values):
        outputs, _ = lending.call_with(layer, list(zip(variables, values, strict=True)), x)
        return ops.sum(ops.convert_to_tensor(upstream) * outputs)

    return autodiff.gradient(loss, *(ops.convert_to_numpy(v) for v in variables))


def difference_quotients(function, values, step=1e-6):
    """Returns the central differences of a function of arrays in float64, with respect to each."""
    values = [value.copy() for value in values]
    found = [np.empty_like(value) for value in values]
    for value, gradient in zip(values, found, strict=True):
        for index in np.ndindex(value.shape):
            at = value[index]
            value[index] = at + step
            above = function(*values)
            value[index] = at - step
            gradient[index] = (above - function(*values)) / (2 * step)
            value[index] = at
    return found


def test_gradients_equal_the_difference_quotients():
    layer, x, upstream = moved(built(L.Dense(3), (5,), "tanh")), normal((6, 5)), normal((6, 3), seed=4)
    moments = layer.moments

    def loss(v, bias, scale):
        y = definition.layer(x, v, scale, bias, math.tanh, moments.mean, moments.deviation)
        return (upstream * y).sum()

    expected = difference_quotients(loss, [array(v) for v in (layer.layer.kernel, layer.layer.bias, layer.scale)])
    for found, quotient in zip(gradients(layer, x, upstream), expected, strict=True):
        np.testing.assert_allclose(found, quotient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "shape", "reduced"),
    [
        (lambda: L.Dense(3), (5,), 0),
        (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), (5, 4, 3), (0, 1)),
        (lambda: L.Conv2DTranspose(3, 3, strides=2), (4, 3, 5), (0, 1, 3)),
    ],
)
def test_gradient_is_orthogonal_to_the_filter(make, shape, reduced):
    layer, x = moved(built(make(), shape, "tanh")), normal((4, *shape))
    dv, _, _ = gradients(layer, x, normal(array(layer(x)).shape, seed=4))
    v = array(layer.layer.kernel)
    cosines = (dv * v).sum(reduced) / np.sqrt((dv**2).sum(reduced) * (v**2).sum(reduced))
    assert np.abs(cosines).max() < 1e-5


def test_filter_of_zeros_is_harmless():
    layer, x = moved(built(L.Dense(3), (5,))), normal((6, 5))
    layer.layer.kernel.assign(array(layer.layer.kernel) * [1, 0, 1])
    layer.layer.bias.assign([0.1, 0.2, 0.3])
    expected = (0.2 - MEAN / JACOBIAN) / (DEVIATION / JACOBIAN)
    np.testing.assert_allclose(array(layer(x))[:, 1], expected, rtol=1e-5)
    for gradient in gradients(layer, x, normal((6, 3), seed=4)):
        assert np.isfinite(gradient).all()


# The layer.


def test_constants_stay_while_everything_learns():
    layer = NormProp(L.Dense(4), layers.TReLU())
    model = keras.Sequential([keras.Input((5,)), layer])
    before, moments = [array(v) for v in model.trainable_weights], layer.moments
    assert len(before) == 4
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.fit(normal((16, 5)), normal((16, 4), seed=1), epochs=2, verbose=0)
    for variable, value in zip(model.trainable_weights, before, strict=True):
        assert (array(variable) != value).all(), variable.path
    copy = NormProp.from_config(layer.get_config())
    assert copy.moments == layer.moments == moments


def test_random_slopes_know_training():
    layer = built(L.Dense(4), (5,), layers.RReLU(seed=1))
    x = normal((8, 5))
    assert (array(layer(x, training=True)) != array(layer(x, training=True))).any()
    np.testing.assert_array_equal(array(layer(x)), array(layer(x)))


@pytest.mark.parametrize(("activation", "units"), [("glu", 3), (layers.Maxout(pieces=2), 3), (layers.PReLU(), 6)])
def test_activations_decide_the_number_of_channels(activation, units):
    layer = NormProp(L.Dense(6), activation)
    model = keras.Sequential([keras.Input((5,)), layer])
    assert layer.compute_output_shape((None, 5)) == model.output_shape == (None, units)
    assert array(layer(normal((2, 5)))).shape == (2, units)


@keras.saving.register_keras_serializable(package="test")
def cubed(x):
    return x**3


@pytest.mark.parametrize("activation", [cubed, "glu", layers.TPReLU(threshold_initializer="ones"), None])
def test_activation_and_constants_are_in_the_file(activation, tmp_path):
    model = keras.Sequential([keras.Input((5,)), NormProp(L.Dense(6), activation, initial_scale=0.7)])
    moved(model.layers[0])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].moments == model.layers[0].moments
    x = normal((3, 5))
    np.testing.assert_array_equal(array(loaded(x)), array(model(x)))


def test_half_precision_standardizes_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    layer = moved(built(L.Dense(3), (4,)))
    x = normal((5, 4))
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} == {"float32"}
    weights = [layer.layer.kernel, layer.scale, layer.layer.bias]
    mean, deviation = MEAN / JACOBIAN, DEVIATION / JACOBIAN
    expected = definition.layer(x, *map(array, weights), lambda u: max(u, 0.0), mean, deviation)
    np.testing.assert_allclose(array(y), expected, atol=0.02, rtol=5e-3)


def test_scale_is_float32_where_the_kernel_is_not():
    keras.config.set_dtype_policy("float16")
    layer = built(L.Dense(3), (4,))
    dtypes = [keras.backend.standardize_dtype(v.dtype) for v in (layer.layer.kernel, layer.scale)]
    assert dtypes == ["float16", "float32"]


def test_output_has_the_dtype_of_the_activation():
    keras.config.set_dtype_policy("mixed_float16")
    layer = NormProp(L.Dense(3), layers.TReLU(dtype="float32"))
    assert layer(keras.Input((4,))).dtype == "float32"
    assert keras.backend.standardize_dtype(layer(normal((2, 4))).dtype) == "float32"


def test_regularizer_and_constraint_are_those_of_the_scale():
    layer = NormProp(L.Dense(3), scale_regularizer=keras.regularizers.L2(0.5), scale_constraint="non_neg")
    model = keras.Sequential([keras.Input((4,)), layer])
    np.testing.assert_allclose(float(sum(layer.losses)), 0.5 * 3 / JACOBIAN**2, rtol=1e-6)
    layer.scale.assign([1e-6, 1e-6, 1e-6])
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=False)
    model.fit(normal((8, 4)), 9 * normal((8, 3), seed=1), epochs=2, verbose=0)
    assert (array(layer.scale) >= 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": L.Dense(3, activation="relu")}, "Give the `activation` to NormProp"),
        ({"layer": L.SeparableConv2D(3, 3)}, "has .*depthwise_kernel"),
        ({"weight": ["kernel"]}, "one weight"),
        ({"activation": "no_such_activation"}, "no_such_activation"),
        ({"activation": L.ReLU}, "not a class"),
        ({"activation": "softmax"}, "each element"),
        ({"activation": keras.ops.sign}, "give an `initial_scale`"),
        ({"activation": layers.PReLU(slope_initializer="random_normal")}, "alike"),
        ({"initial_scale": 0}, "initial_scale=0"),
        ({"assumed_scale": "paper"}, "assumed_scale='paper'"),
        ({"use_scale": 1}, "use_scale=1"),
        ({"use_scale": False, "initial_scale": 1.0}, "needs `use_scale=True`"),
        ({"use_scale": False, "scale_regularizer": "l2"}, "need `use_scale=True`"),
        ({"dtype": "float16"}, "wrapped layer"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    arguments = {"layer": L.Dense(3), **arguments}
    with pytest.raises(ValueError, match=message):
        NormProp(**arguments).build((None, 5, 5, 4))


def test_activation_with_jumps_works_with_a_scale():
    layer = NormProp(L.Dense(8), keras.ops.sign, initial_scale=1.0)
    np.testing.assert_allclose(np.abs(array(layer(normal((10, 5))))), 1, rtol=1e-6)


# Sums.


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.3])
@pytest.mark.parametrize("count", [2, 3])
def test_sum_keeps_the_variance(correlation, count):
    covariance = np.full((count, count), correlation) + (1 - correlation) * np.eye(count)
    streams = np.linalg.cholesky(covariance) @ np.random.default_rng(0).normal(size=(4000, 5, count, 1))
    streams = np.moveaxis(streams[..., 0], -1, 0).astype("float32")
    y = array(NormPropAdd(correlation=correlation)(list(streams)))
    assert_standard(y)
    np.testing.assert_allclose(y, definition.added(streams, correlation), rtol=1e-5, atol=1e-6)


def test_two_streams_are_divided_by_the_root_of_two():
    np.testing.assert_allclose(
        array(NormPropAdd()([np.array([[1.0]]), np.array([[2.0]])])), 3 / math.sqrt(2), rtol=1e-6
    )


def test_sum_passes_masks_on():
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    embedded = [L.Embedding(5, 3, mask_zero=True)(x) for x in inputs]
    model = keras.Model(inputs, L.LSTM(2)(NormPropAdd()(embedded)))
    tokens = np.array([[1, 2, 0, 0]])
    np.testing.assert_allclose(array(model([tokens] * 2)), array(model([tokens[:, :2]] * 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("correlation", "shapes", "message"),
    [
        (1.5, [(2, 3)] * 2, "correlation=1.5"),
        ("much", [(2, 3)] * 2, "correlation='much'"),
        (-1.0, [(2, 3)] * 2, "below -1 / 1.*correlation=-1.0"),
        (-0.5, [(2, 3)] * 3, "below -1 / 2.*correlation=-0.5"),
        (0.0, [(2, 3), (2, 4, 3)], "same rank"),
        (0.0, [(2, 3), (2, 4)], "incompatible shapes"),
        (0.0, (2, 3), "list of inputs"),
    ],
)
def test_impossible_sums_are_refused(correlation, shapes, message):
    with pytest.raises(ValueError, match=message):
        NormPropAdd(correlation=correlation).build(shapes)
