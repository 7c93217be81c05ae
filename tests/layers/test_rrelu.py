import math
import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import BatchNormAfter, BatchNormBefore, DivisorRReLU, RReLU
from tests import autodiff
from tests.reference import leaky_relu as definition

TENSORFLOW = keras.backend.backend() == "tensorflow"
SLOPES, DIVISORS = (1 / 8, 1 / 3), (3.0, 8.0)
KINDS = [RReLU, DivisorRReLU]
MANY = 40_000


def drawn(layer, shape=(MANY, 1)):
    """Returns the slopes of one step in training."""
    return -numpy(layer(np.full(shape, -1, "float32"), training=True)).astype("float64")


def numpy(values):
    return ops.convert_to_numpy(values)


def assert_uniform(values, lower, upper):
    """The moments of a uniform distribution, within 5 standard errors, and its bounds, within float32."""
    n, width = values.size, upper - lower
    assert values.min() >= lower * (1 - 1e-6)
    assert values.max() <= upper * (1 + 1e-6)
    unit = (values - lower) / width - 0.5
    assert abs(unit.mean()) < 5 * math.sqrt(1 / 12 / n)
    assert abs((unit**2).mean() - 1 / 12) < 5 * math.sqrt((1 / 80 - 1 / 144) / n)
    # Neighbours have nothing to do with each other.
    assert abs(np.corrcoef(unit[:-1].ravel(), unit[1:].ravel())[0, 1]) < 5 / math.sqrt(n)


def test_slopes_are_uniform():
    assert_uniform(drawn(RReLU(seed=1)), *SLOPES)
    assert_uniform(drawn(RReLU(0.5, 0.9, seed=1)), 0.5, 0.9)


def test_divisors_are_uniform():
    assert_uniform(1 / drawn(DivisorRReLU(seed=1)), *DIVISORS)
    assert_uniform(1 / drawn(DivisorRReLU(10, 30, seed=1)), 10, 30)


def test_input_tells_the_conventions_apart():
    """Both have slopes from 1/8 to 1/3, but not the same distribution."""
    divided = drawn(DivisorRReLU(seed=1))
    standard_error = divided.std() / math.sqrt(MANY)
    assert abs(divided.mean() - math.log(8 / 3) / 5) < 5 * standard_error
    assert abs(divided.mean() - sum(SLOPES) / 2) > 50 * standard_error
    with pytest.raises(AssertionError):
        assert_uniform(divided, *SLOPES)
    with pytest.raises(AssertionError):
        assert_uniform(1 / drawn(RReLU(seed=1)), *DIVISORS)


# Published: torch 2.13 and TensorFlow Addons 0.23; Xu et al.; ducha-aiki/caffe with the bounds of the
# caffenet-benchmark, its defaults, and those of Xu et al.; BVLC/caffe#3534 with the bounds of the benchmark.
@pytest.mark.parametrize(
    ("layer", "slope"),
    [
        (RReLU, 11 / 48),
        (lambda: RReLU(0.2, 0.6), 0.4),
        (lambda: RReLU(inference_slope=0.3), 0.3),
        (DivisorRReLU, 1 / 5.5),
        (lambda: DivisorRReLU.with_mean_slope(10, 30), math.log(3) / 20),
        (lambda: DivisorRReLU.with_mean_slope(10, 30), 0.0549306),
        (lambda: DivisorRReLU.with_mean_slope(5, 10), 0.1386294),
        (lambda: DivisorRReLU.with_mean_slope(3, 8), 0.1961659),
        (lambda: DivisorRReLU(10, 30), 0.05),
        (lambda: DivisorRReLU(inference_slope=0.25), 0.25),
    ],
)
def test_slope_in_inference_is_the_published_one(layer, slope, hostile):
    x = hostile((50, 3)) - 10
    x[0] = 0
    layer = layer()
    # The published decimals have seven digits.
    np.testing.assert_allclose(layer.inference_slope, slope, atol=5e-8)
    for arguments in ({}, {"training": False}):
        y = numpy(layer(x, **arguments))
        np.testing.assert_allclose(y, definition.leaky_relu(x, np.full(x.shape, slope)), rtol=2e-6)


def test_mean_slope_is_that_of_training_whatever_the_bounds():
    layer = DivisorRReLU.with_mean_slope(2, 7, seed=3)
    slopes = drawn(layer)
    assert abs(slopes.mean() - layer.inference_slope) < 5 * slopes.std() / math.sqrt(MANY)
    # Bounds that are close keep their digits.
    assert DivisorRReLU.with_mean_slope(3, 3 + 1e-12).inference_slope == pytest.approx(1 / 3, rel=1e-11)


def test_mean_slope_layer_is_an_ordinary_one():
    layer = DivisorRReLU.with_mean_slope(10, 30, seed=5, name="mine")
    config = layer.get_config()
    assert (config["lower"], config["upper"], config["seed"], config["name"]) == (10, 30, 5, "mine")
    again = DivisorRReLU.from_config(config)
    assert again.inference_slope == layer.inference_slope
    np.testing.assert_array_equal(drawn(again), drawn(layer))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_above_zero_stays_and_zero_counts_as_negative(kind, hostile):
    x = hostile((50, 3)) - 10
    y = numpy(kind()(x, training=True))
    np.testing.assert_array_equal(y[x > 0], x[x > 0])
    assert (y[x < 0] != x[x < 0]).all()
    zeros = np.zeros((50, 3), "float32")
    layer = kind(seed=2)
    (gradient,) = autodiff.gradient(lambda x: ops.sum(layer(x, training=True)), zeros)
    np.testing.assert_allclose(gradient, drawn(kind(seed=2), zeros.shape), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_backward_pass_has_the_slopes_of_the_forward_pass(kind, hostile):
    x, layer = hostile((50, 3)) - 10, kind()

    def function(x):
        y = layer(x, training=True)
        return ops.sum(ops.square(y)), y

    gradient, y = gradient_and_value(function, x)
    slope = y.astype("float64") / x
    # A few roundings of float32.
    np.testing.assert_allclose(gradient, 2 * y * slope, rtol=1e-5)
    assert len(np.unique(slope[x < 0])) > 0.9 * (x < 0).sum()


def gradient_and_value(function, x):
    """Returns the gradient of the first output with respect to x, and the second output, of one and the same call."""
    if TENSORFLOW:
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def compiled(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss, y = function(x)
            return tape.gradient(loss, x), y

        return [numpy(value) for value in compiled(tf.constant(x))]
    if keras.backend.backend() == "jax":
        import jax

        gradient, y = jax.grad(function, has_aux=True)(x)
        return np.asarray(gradient), np.asarray(y)
    import torch

    x = torch.tensor(x, requires_grad=True)
    loss, y = function(x)
    loss.backward()
    return x.grad.numpy(), y.detach().numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_each_element_and_each_step_draws_anew(kind):
    layer = kind()
    one, other = drawn(layer, (2, 5, 7, 3)), drawn(layer, (2, 5, 7, 3))
    # Of 2**23 floats, a few of 420 may coincide.
    assert len(np.unique([one, other])) > 410


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_repeats_the_draws_and_no_seed_does_not(kind):
    np.testing.assert_array_equal(drawn(kind(seed=7)), drawn(kind(seed=7)))
    assert (drawn(kind(seed=7)) != drawn(kind(seed=8))).mean() > 0.99
    assert (drawn(kind()) != drawn(kind())).mean() > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_inference_leaves_the_random_state_alone(kind, hostile):
    layer, other = kind(seed=7), kind(seed=7)
    layer(hostile((8, 3)))
    np.testing.assert_array_equal(drawn(layer), drawn(other))


@pytest.mark.parametrize("kind", KINDS)
def test_random_state_goes_in_and_out_of_a_stateless_call(kind):
    layer, x = kind(seed=7), np.full((4, 3), -1, "float32")
    layer.build(x.shape)
    state = [ops.convert_to_tensor(variable) for variable in layer.non_trainable_variables]
    one, after = layer.stateless_call([], state, x, training=True)
    again, _ = layer.stateless_call([], state, x, training=True)
    other, _ = layer.stateless_call([], after, x, training=True)
    np.testing.assert_array_equal(numpy(one), numpy(again))
    assert (numpy(one) != numpy(other)).any()
    # The layer's own state has not moved.
    np.testing.assert_array_equal(numpy(layer(x, training=True)), numpy(one))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_bounds_are_a_leaky_relu(kind, hostile):
    x = hostile((50, 3)) - 10
    y = numpy(kind(0.5, 0.5)(x, training=True))
    slope = 0.5 if kind is RReLU else 2
    np.testing.assert_allclose(y, np.where(x > 0, x, slope * x), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_draws_in_float32(kind, policy):
    # A draw in half precision would have other numbers, and fewer.
    layer = kind(seed=1, dtype=policy)
    y = layer(np.full((MANY, 1), -1, "float32"), training=True)
    half = policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(y.dtype) == half
    expected = -drawn(kind(seed=1)).astype("float32")
    np.testing.assert_array_equal(numpy(ops.cast(y, "float32")), numpy(ops.cast(ops.cast(expected, half), "float32")))


@pytest.mark.parametrize("placement", [BatchNormBefore, BatchNormAfter])
@pytest.mark.parametrize("kind", KINDS)
def test_is_random_inside_other_layers_in_training_alone(kind, placement, hostile):
    layer, x = placement(kind()), hostile((50, 3)) - 10
    for training in (False, True):
        one, other = (numpy(layer(x, training=training)) for _ in range(2))
        assert (one != other).any() == training


def test_fit_draws_and_predict_does_not(hostile):
    x = -abs(hostile((8, 3)))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "linear", False, "ones"), RReLU(0.1, 0.9)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = [model.fit(x, np.zeros(8), batch_size=8, verbose=0).history["loss"][0] for _ in range(2)]
    assert losses[0] != losses[1]
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_computed_with_as_numbers(kind, training):
    y = numpy(kind(0.5, 0.5, inference_slope=0.5)(np.array([[-3, 0, 2]], "int32"), training=training))
    np.testing.assert_array_equal(y, [[-6 if kind is DivisorRReLU and training else -1.5, 0, 2]])


@pytest.mark.parametrize("kind", KINDS)
def test_passes_masks_on(kind):
    assert kind()(keras.layers.Masking()(keras.Input((4, 3))))._keras_mask is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RReLU(0.5, 0.2), "`lower` must not be above `upper`. Received: lower=0.5, upper=0.2"),
        (lambda: RReLU(-0.1, 0.2), "`lower` must be a number from 0.0 to 1.0. Received: lower=-0.1"),
        (lambda: RReLU(3, 8), "`lower` must be a number from 0.0 to 1.0. Received: lower=3"),
        (lambda: RReLU(0.1, "0.2"), "`upper` must be a number from 0.0 to 1.0. Received: upper='0.2'"),
        (lambda: DivisorRReLU(8, 3), "`lower` must not be above `upper`. Received: lower=8, upper=3"),
        (lambda: DivisorRReLU(0, 3), "`lower` must be a number above 0. Received: lower=0"),
        (lambda: DivisorRReLU(1, None), "`upper` must be a number above 0. Received: upper=None"),
        (lambda: DivisorRReLU.with_mean_slope(0, 3), "`lower` must be a number above 0. Received: lower=0"),
        (lambda: DivisorRReLU.with_mean_slope(3, 3), "`lower` must be below `upper`. Received: lower=3, upper=3"),
        (lambda: RReLU(inference_slope=-1), "`inference_slope` must be a number, at least 0.0. Received: "),
        (lambda: DivisorRReLU(inference_slope="mean"), "`inference_slope` must be a number, at least 0.0. Received: "),
        (lambda: RReLU(seed="1"), "`seed` must be an integer, at least 0. Received: seed='1'"),
        (lambda: DivisorRReLU(seed=1.5), "`seed` must be an integer, at least 0. Received: seed=1.5"),
    ],
)
def test_refuses_what_is_no_slope_bound_or_seed(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
