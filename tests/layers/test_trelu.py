import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import TPReLU, TReLU, WeightNormalization
from tests.reference import trelu as definition

TENSORFLOW = keras.backend.backend() == "tensorflow"
THRESHOLD = np.array([-1e4, 10.5, 49], "float32")
SLOPE = np.array([0.4, 0.7, 0.1], "float32")
SHAPES = [((8, 3), -1), ((2, 3, 4, 5), 1), ((2, 4, 5, 3), 3), ((2, 4, 3), 2)]


def set_to(layer, shape):
    """Builds the layer with thresholds and slopes of their own for each channel."""
    layer.build(shape)
    layer.set_weights([THRESHOLD, SLOPE][: len(layer.weights)])
    return layer


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_one_threshold_per_channel(shape, axis, hostile):
    x = hostile(shape, axis)
    layer = set_to(TReLU(axis=axis), shape)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), definition.translated_relu(x, THRESHOLD, axis))
    leaky = set_to(TPReLU(axis=axis), shape)
    expected = definition.translated_prelu(x, THRESHOLD, SLOPE, axis)
    # Three roundings of numbers up to the threshold.
    np.testing.assert_allclose(ops.convert_to_numpy(leaky(x)), expected, rtol=1e-6, atol=1e-6 * 1e4)


def test_starts_as_a_relu(hostile):
    x = hostile((8, 3))
    x[0] = 0
    np.testing.assert_array_equal(ops.convert_to_numpy(TReLU()(x)), np.maximum(x, 0))


def test_leaky_form_starts_at_a_slope_of_a_quarter(hostile):
    x = hostile((8, 3))
    np.testing.assert_array_equal(ops.convert_to_numpy(TPReLU()(x)), np.where(x > 0, x, x / 4))


def test_initializers_reach_their_values():
    layer = TPReLU(threshold_initializer=keras.initializers.Constant(2), slope_initializer="ones")
    layer.build((None, 3))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.threshold), [2, 2, 2])
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.slope), [1, 1, 1])


def test_regularizers_and_constraints_reach_their_values():
    layer = TPReLU(
        threshold_regularizer=keras.regularizers.L1(0.5),
        slope_regularizer=keras.regularizers.L2(2.0),
        threshold_constraint=keras.constraints.MaxNorm(1),
        slope_constraint=keras.constraints.NonNeg(),
    )
    set_to(layer, (None, 3))
    losses = sorted(float(loss) for loss in layer.losses)
    np.testing.assert_allclose(losses, sorted([0.5 * abs(THRESHOLD).sum(), 2 * (SLOPE**2).sum()]), rtol=1e-6)
    assert type(layer.threshold.constraint) is keras.constraints.MaxNorm
    assert type(layer.slope.constraint) is keras.constraints.NonNeg


def test_a_slope_outside_its_range_stays_where_it_is():
    layer = TPReLU()
    model = keras.Sequential([keras.Input((3,)), layer])
    layer.set_weights([np.array([1, 2, 3], "float32"), np.array([-0.5, 0.5, 1.5], "float32")])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(np.full((4, 3), -2.0), np.ones((4, 3)), epochs=1, verbose=0)
    moved = ops.convert_to_numpy(layer.slope) != [-0.5, 0.5, 1.5]
    np.testing.assert_array_equal(moved, [False, True, False])


@pytest.mark.parametrize("layer", [TReLU, TPReLU])
def test_thresholds_stay_float32_in_mixed_precision(layer):
    # 1.0001 is no float16: inputs of 1 lie below it, and come out as the nearest float16.
    layer = layer(threshold_initializer=keras.initializers.Constant(1.0001), dtype="mixed_float16")
    y = layer(np.array([[1.0, 3.0]], "float16"))
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    np.testing.assert_array_equal(ops.convert_to_numpy(y), [[1, 3]])
    assert float(layer.threshold[0]) == np.float32(1.0001)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_mixed_precision_rounds_once(half):
    layer = set_to(TPReLU(dtype=f"mixed_{half}"), (None, 3))
    layer.threshold.assign([1.0001, -3.3, 0.7])
    x = ops.cast(np.random.default_rng(0).normal(0, 3, (500, 3)), half)
    single = ops.convert_to_numpy(ops.cast(x, "float32"))
    t, a = ops.convert_to_numpy(layer.threshold), SLOPE
    expected = ops.cast(np.where(single > t, single, a * (single - t) + t), half)
    y, expected = (ops.convert_to_numpy(ops.cast(values, "float32")) for values in (layer(x), expected))
    # But for where two roundings of float32 fall on either side of one of half precision.
    assert (y != expected).mean() < 0.01


@pytest.mark.parametrize("layer", [TReLU, TPReLU])
def test_integers_are_computed_with_as_numbers(layer):
    layer = set_to(layer(), (None, 3))
    x = np.array([[-9, 3, 60]], "int32")
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(y), ops.convert_to_numpy(layer(x.astype("float32"))))


@pytest.mark.parametrize("layer", [TReLU, TPReLU])
def test_passes_masks_on(layer):
    inputs = keras.Input((4, 3))
    assert layer()(keras.layers.Masking()(inputs))._keras_mask is not None


@pytest.mark.parametrize("layer", [TReLU, TPReLU])
def test_refuses_what_it_cannot_do(layer):
    with pytest.raises(ValueError, match="channel axis needs a known length"):
        layer()(keras.Input((3, None)))
    with pytest.raises(ValueError, match="`axis` must name an axis"):
        layer(axis=4)(keras.Input((3, 3, 8)))
    with pytest.raises(ValueError, match="batch axis"):
        layer(axis=0).build((2, 3))
    for axis in (None, "channels", 1.5, True, [1]):
        with pytest.raises(ValueError, match="`axis` must be an integer"):
            layer(axis=axis)
    built = layer()
    built.build((None, 5, 3))
    with pytest.raises(ValueError, match="incompatible"):
        built(np.zeros((2, 5, 4)))


class Rectified:
    """A network of convolutions without padding, dense layers and ReLUs, and what computes the same: strict weight
    normalization and TReLUs, and one affine weight normalization at the end.

    It keeps, per feature, the scale and the shift with which the plain network's activation is the other one's:
    `plain = scale * strict + shift`.
    """

    def __init__(self, rng, channels):
        self.rng, self.plain, self.strict = rng, [], []
        self.scale, self.shift = np.ones(channels), np.zeros(channels)

    def _drawn(self, shape):
        """Returns a kernel and biases, and what these are as seen from the strict network's input: directions, their
        lengths and constants. Units have lengths from 1/30 to 30, so that none of it can be left out."""
        stretch = np.geomspace(1 / 30, 30, shape[-1])[self.rng.permutation(shape[-1])]
        kernel = self.rng.normal(0.3, 1, shape) * stretch
        bias = self.rng.normal(0, 2, shape[-1]) * stretch
        direction = kernel * self.scale[:, None]
        taps = tuple(range(len(shape) - 2))
        length = np.sqrt((direction**2).sum((*taps, -2)))
        return kernel, bias, direction, length, bias + (self.shift @ kernel).sum(taps)

    def hidden(self, layer, shape, **arguments):
        kernel, bias, direction, length, constant = self._drawn(shape)
        self._add(self.plain, layer(shape[-1], **arguments, activation="relu"), [kernel, bias])
        # The length of a direction is lost: take another one.
        wrapped = WeightNormalization(layer(shape[-1], **arguments, use_bias=False), use_scale=False)
        self._add(self.strict, wrapped, [direction * self.rng.uniform(0.1, 10, shape[-1])])
        self._add(self.strict, TReLU(), [-constant / length])
        self.scale, self.shift = length, constant

    def pooled(self):
        for layers in (self.plain, self.strict):
            layers.append((keras.layers.MaxPooling2D(2), []))

    def flattened(self, positions):
        for layers in (self.plain, self.strict):
            layers.append((keras.layers.Flatten(), []))
        self.scale, self.shift = np.tile(self.scale, positions), np.tile(self.shift, positions)

    def last(self, shape):
        kernel, bias, direction, length, constant = self._drawn(shape)
        self._add(self.plain, keras.layers.Dense(shape[-1]), [kernel, bias])
        affine = WeightNormalization(keras.layers.Dense(shape[-1]), scale_initializer="ones")
        self._add(self.strict, affine, {"kernel": direction, "bias": constant, "kernel_scale": length})

    def models(self, input_shape):
        for layers in (self.plain, self.strict):
            model = keras.Sequential([keras.Input(input_shape), *(layer for layer, _ in layers)])
            for layer, values in layers:
                named = (
                    values
                    if isinstance(values, dict)
                    else dict(zip((w.name for w in layer.weights), values, strict=True))
                )
                assert named.keys() == {weight.name for weight in layer.weights}
                for weight in layer.weights:
                    weight.assign(named[weight.name])
            yield model

    def _add(self, layers, layer, values):
        layers.append((layer, values))


def differences(build, input_shape):
    """Returns the largest output of the plain network, and how far from it the strict one is at most."""
    # JAX has float32 alone, and Keras (3.15) multiplies matrices of float64 in float32 on PyTorch.
    keras.config.set_dtype_policy("float64" if TENSORFLOW else "float32")
    network = Rectified(np.random.default_rng(0), input_shape[-1])
    build(network)
    x = np.random.default_rng(1).normal(0.5, 2, (50, *input_shape))
    plain, strict = (ops.convert_to_numpy(model(x)) for model in network.models(input_shape))
    # The network at hand is no linear one.
    hidden = ops.convert_to_numpy(network.plain[0][0](x))
    assert 0.1 < (hidden > 0).mean() < 0.9
    return abs(plain).max(), abs(plain - strict).max()


def dense(network):
    for shape in [(5, 9), (9, 7), (7, 8)]:
        network.hidden(keras.layers.Dense, shape)
    network.last((8, 4))


def convolutional(network):
    network.hidden(keras.layers.Conv2D, (3, 3, 3, 6), kernel_size=3)
    network.hidden(keras.layers.Conv2D, (2, 2, 6, 5), kernel_size=2, strides=2)
    network.pooled()
    network.hidden(keras.layers.Conv2D, (2, 1, 5, 7), kernel_size=(2, 1), dilation_rate=1)
    network.flattened(positions=2)
    network.hidden(keras.layers.Dense, (14, 6))
    network.last((6, 4))


@pytest.mark.parametrize(("build", "input_shape"), [(dense, (5,)), (convolutional, (11, 10, 3))])
def test_any_relu_network_is_a_strict_one_with_an_affine_last_layer(build, input_shape):
    largest, difference = differences(build, input_shape)
    # A few thousand roundings of float64 or float32, and an epsilon of 1e-12 in the norm's square.
    assert difference < (1e-11 if TENSORFLOW else 1e-4) * largest


@pytest.mark.parametrize("wrong", [lambda t: 0 * t, lambda t: -t, lambda t: t.mean()])
def test_other_thresholds_make_another_network(wrong, monkeypatch):
    add = Rectified._add
    monkeypatch.setattr(
        Rectified,
        "_add",
        lambda self, layers, layer, values: add(
            self, layers, layer, [wrong(values[0]) + 0 * values[0]] if isinstance(layer, TReLU) else values
        ),
    )
    largest, difference = differences(convolutional, (11, 10, 3))
    assert difference > 1e-2 * largest
