import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from keras_norms.layers import activation_moments
from tests.reference import normprop as definition

CONSTANT = keras.initializers.Constant

# Mean, variance and E f' ** 2 (shared/facts/algorithms.md, 4.4).
GOLDEN = [
    (None, 0, 1, 1),
    ("relu", 0.3989422804, 0.3408450569, 0.5),
    (keras.layers.Activation("tanh"), 0, 0.3942944904, 0.4644029024),
    (keras.layers.LeakyReLU(negative_slope=0.3), 0.2792595963, 0.4670140779, 0.545),
    (keras.layers.ELU(alpha=0.5), 0.2797314263, 0.4579866835, 0.5420255003),
    (keras.layers.PReLU("zeros", shared_axes=[1, 2]), 0.3989422804, 0.3408450569, 0.5),
    (keras.layers.ReLU(max_value=6.0), 0.3989422802, 0.3408450551, 0.4999999990),
    (layers.VLReLU(), 0.2659615203, 0.4848200253, 0.5555555556),
    (layers.PReLU(), 0.2992067103, 0.4417253445, 0.53125),
    (layers.RReLU(), 0.3075180078, 0.4334998045, 0.5280671296),
    (layers.DivisorRReLU(), 0.3206834286, 0.4179954719, 0.5208333333),
    (layers.DivisorRReLU.with_mean_slope(10, 30), 0.3770281358, 0.3595164515, 0.5016666667),
    (layers.TReLU(), 0.3989422804, 0.3408450569, 0.5),
    (layers.TReLU(threshold_initializer=CONSTANT(-0.5)), 0.1977965574, 0.5534407045, 0.6914624613),
    (layers.TPReLU(), 0.2992067103, 0.4417253445, 0.53125),
    (layers.Maxout(pieces=4), 1.0293753730, 0.7012240989**2, 1),
]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: getattr(row[0], "name", row[0]))
def test_equals_the_table(row):
    # The table has ten decimals. A layer whose function is not known computes in float32 on JAX.
    exact = keras.backend.backend() != "jax" or not isinstance(row[0], keras.layers.ReLU)
    np.testing.assert_allclose(activation_moments.of(row[0]), row[1:], rtol=0, atol=2e-10 if exact else 1e-4)


def in_numpy(layer):
    """Returns the function of a built layer, for one channel."""
    return lambda x: ops.convert_to_numpy(layer(x[:, None].astype("float32")))[:, 0].astype("float64")


@pytest.mark.parametrize("scale", [0.6, 1.8])
@pytest.mark.parametrize(
    "layer",
    [
        layers.TPReLU(threshold_initializer=CONSTANT(0.75), slope_initializer=CONSTANT(0.5)),
        layers.TPReLU(threshold_initializer=CONSTANT(-0.75), slope_initializer=CONSTANT(2.0)),  # acts as 1
        layers.TReLU(threshold_initializer=CONSTANT(0.5)),
        layers.PReLU(slope_initializer=CONSTANT(-0.5)),
        keras.layers.PReLU(CONSTANT(0.125)),
        keras.layers.ReLU(max_value=2.0, negative_slope=0.25),
    ],
    ids=lambda layer: layer.name,
)
def test_equals_the_sum_over_the_layer_itself(layer, scale):
    expected = definition.moments(in_numpy(layer), scale, cells=120_000)
    found = activation_moments.of(layer, scale)
    # Sums over numbers in float32, and a derivative as a difference of them.
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[2], expected[2], rtol=3e-3)


def test_close_bounds_of_divisors_keep_their_digits():
    found = activation_moments.of(layers.DivisorRReLU(4.0, 4.0 + 1e-9))
    np.testing.assert_allclose(found, activation_moments.of(layers.VLReLU(0.25)), rtol=1e-9)
    np.testing.assert_allclose(activation_moments.of(layers.DivisorRReLU(4.0, 4.0)), found, rtol=1e-9)


def test_random_slopes_are_those_of_training():
    layer = layers.RReLU(seed=1)
    x = np.random.default_rng(0).normal(size=200_000).astype("float32")
    y = ops.convert_to_numpy(layer(x[None], training=True))[0].astype("float64")
    found, error = activation_moments.of(layer), 5 / np.sqrt(len(x))
    assert abs(y.mean() - found.mean) < error * y.std()
    assert abs(y.var() - found.variance) < error * np.square(y - y.mean()).std()
    # It does not matter what inference does.
    assert activation_moments.of(layers.RReLU(inference_slope=1.0)) == found


class Swish(keras.layers.Layer):
    """An activation that learns, and that nobody has told about."""

    def __init__(self, initializer="ones", **kwargs):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape):
        self.slope = self.add_weight(shape=input_shape[-1:], initializer=self.initializer)

    def call(self, inputs):
        return inputs * ops.sigmoid(self.slope * inputs)

    def get_config(self):
        return {**super().get_config(), "initializer": keras.initializers.serialize(self.initializer)}


def test_any_layer_has_the_moments_it_starts_with():
    layer = Swish()
    found = activation_moments.of(layer)
    np.testing.assert_allclose(found[:2], activation_moments.of("silu")[:2], rtol=1e-6)
    assert not layer.built
    layer(np.ones((1, 3)))
    layer.slope.assign([5.0, 6.0, 7.0])
    assert activation_moments.of(layer) == found


@pytest.mark.parametrize(
    "layer",
    [
        Swish("random_normal"),
        layers.PReLU(slope_initializer="random_uniform"),
        layers.TReLU(threshold_initializer="random_normal"),
        keras.layers.PReLU("random_normal"),
    ],
    ids=lambda layer: layer.name,
)
def test_channels_that_start_differently_are_refused(layer):
    with pytest.raises(ValueError, match="alike"):
        activation_moments.of(layer)
