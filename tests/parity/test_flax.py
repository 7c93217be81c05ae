"""Ours against flax (0.12). Skipped where it is not installed; any backend of Keras will do."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests import autodiff

flax = pytest.importorskip("flax")

import jax  # noqa: E402
from flax import linen, nnx  # noqa: E402

LINEAR = {
    "dense": (linen.Dense(4), lambda: keras.layers.Dense(4), (5, 3)),
    "conv": (
        linen.Conv(4, (3, 2), strides=2, padding="VALID"),
        lambda: keras.layers.Conv2D(4, (3, 2), strides=2),
        (2, 7, 6, 2),
    ),
    "grouped": (
        linen.Conv(4, (3, 3), padding="SAME", feature_group_count=2),
        lambda: layers.GroupedConv2D(4, 3, padding="same", groups=2),
        (2, 4, 4, 6),
    ),
}


def moved(parameters):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda value: rng.normal(0.5, 1, value.shape).astype("float32"), parameters)


@pytest.mark.parametrize("kind", LINEAR)
def test_weight_normalization_and_its_gradients(kind, hostile):
    theirs, make, shape = LINEAR[kind]
    x = hostile(shape) / 10
    theirs = linen.WeightNorm(theirs, variable_filter={"kernel"})
    parameters = moved(theirs.init(jax.random.key(0), x)["params"])
    inner = parameters["layer_instance"]
    ours = layers.WeightNormalization(make())
    ours.build(shape)
    values = {
        id(ours.scales["kernel"]): parameters["layer_instance/kernel/scale"],
        id(ours.layer.kernel): inner["kernel"],
        id(ours.layer.bias): inner["bias"],
    }
    for variable in ours.trainable_variables:
        variable.assign(values[id(variable)])
    expected = theirs.apply({"params": parameters}, x)
    np.testing.assert_allclose(ops.convert_to_numpy(ours(x)), expected, rtol=1e-4, atol=1e-4)

    dy = np.random.default_rng(2).normal(size=expected.shape).astype("float32")
    gradients = jax.grad(lambda p: (theirs.apply({"params": p}, x) * dy).sum())(parameters)
    by_value = {
        id(ours.scales["kernel"]): gradients["layer_instance/kernel/scale"],
        id(ours.layer.kernel): gradients["layer_instance"]["kernel"],
        id(ours.layer.bias): gradients["layer_instance"]["bias"],
    }
    found = autodiff.weight_gradients(ours, x, dy)
    for variable, gradient in zip(ours.trainable_variables, found, strict=True):
        theirs_gradient = by_value[id(variable)]
        scale = np.abs(theirs_gradient).max()
        np.testing.assert_allclose(gradient, theirs_gradient, rtol=1e-3, atol=1e-4 * scale, err_msg=variable.path)


def test_weight_normalization_of_nnx(hostile):
    # Its scale starts at 1, which is the affine form of ours, and each call rescales its kernel to that.
    x, random = hostile((5, 3)) / 10, nnx.Rngs(0)
    linear = nnx.Linear(3, 4, rngs=random)
    kernel = np.array(linear.kernel.get_value())
    theirs = nnx.WeightNorm(linear, rngs=random)
    dense = keras.layers.Dense(4, kernel_initializer=keras.initializers.Constant(kernel))
    ours = layers.WeightNormalization(dense, scale_initializer="ones")
    np.testing.assert_allclose(ops.convert_to_numpy(ours(x)), theirs(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(ours.layer.kernel), kernel)


@pytest.mark.parametrize("shape", [(8, 3), (4, 5, 5, 3)])
def test_batch_norm_and_its_moving_statistics(shape, hostile):
    momentum, steps, n = 0.8, 3, int(np.prod(shape[:-1]))
    options = {"momentum": momentum, "epsilon": 1e-3, "use_fast_variance": False}
    theirs = linen.BatchNorm(**options)
    state = theirs.init(jax.random.key(0), np.zeros(shape, "float32"), use_running_average=True)
    parameters = moved(state["params"])
    ours = layers.BatchNorm(momentum=momentum, epsilon=1e-3)
    ours.build(shape)
    ours.scale.assign(parameters["scale"])
    ours.bias.assign(parameters["bias"])
    statistics = state["batch_stats"]
    for seed in range(steps):
        x = hostile(shape, seed=seed)
        expected, changed = theirs.apply(
            {"params": parameters, "batch_stats": statistics}, x, use_running_average=False, mutable=["batch_stats"]
        )
        statistics = changed["batch_stats"]
        np.testing.assert_allclose(ops.convert_to_numpy(ours(x, training=True)), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(ours.moving_mean), statistics["mean"], rtol=1e-4)
    # Theirs average biased variances and start at 1, which has a weight of its own to the end.
    biased = ops.convert_to_numpy(ours.moving_variance) * (n - 1) / n
    np.testing.assert_allclose(biased + momentum**steps, statistics["var"], rtol=1e-4)
