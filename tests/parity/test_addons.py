"""Ours against numbers of TensorFlow Addons 0.23, from tests/golden/addons.py."""

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import initializers, layers
from tests import autodiff

FILE = pathlib.Path(__file__).parents[1] / "golden" / "addons.json"
CASES = {
    case: {name: np.array(value, "float32") for name, value in values.items()}
    for case, values in json.loads(FILE.read_text()).items()
    if case != "origin"
}
# Theirs and ours are float32 in another order of operations.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def assert_gradient_of_input(layer, golden):
    (gradient,) = autodiff.gradient(lambda x: ops.sum(ops.multiply(layer(x), golden["dy"])), golden["x"])
    np.testing.assert_allclose(gradient, golden["gradient_x"], **CLOSE)


WRAPPED = {
    "weight_normalization_dense": lambda **options: keras.layers.Dense(4, **options),
    "weight_normalization_conv2d": lambda **options: keras.layers.Conv2D(3, (3, 2), strides=2, **options),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_weight_normalization(case):
    golden = CASES[case]
    layer = layers.WeightNormalization(WRAPPED[case]())
    layer.build(golden["x"].shape)
    names = {id(layer.layer.kernel): "v", id(layer.layer.bias): "bias", id(layer.scales["kernel"]): "scale"}
    order = [names[id(variable)] for variable in layer.trainable_variables]
    for variable, name in zip(layer.trainable_variables, order, strict=True):
        variable.assign(golden[name])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(golden["x"])), golden["y"], **CLOSE)
    assert_gradient_of_input(layer, golden)
    gradients = autodiff.weight_gradients(layer, golden["x"], golden["dy"])
    for gradient, name in zip(gradients, order, strict=True):
        np.testing.assert_allclose(gradient, golden[f"gradient_{name}"], err_msg=name, **CLOSE)


@pytest.mark.parametrize("case", WRAPPED)
def test_weight_normalization_starts_with_the_norm_of_v(case):
    golden = CASES[case]
    start = golden["initial_v"]
    layer = layers.WeightNormalization(WRAPPED[case](kernel_initializer=lambda shape, dtype: ops.cast(start, dtype)))
    layer.build(golden["x"].shape)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.scales["kernel"]), golden["initial_scale"], **CLOSE)


def test_weight_normalization_from_data_is_wrong_there_by_the_norm_of_v():
    golden = CASES["weight_normalization_from_data"]
    norm = np.linalg.norm(golden["v"], axis=0)
    np.testing.assert_allclose(golden["y"].std(0), 1 / norm, rtol=1e-5)
    layer = layers.WeightNormalization(
        keras.layers.Dense(4, kernel_initializer=lambda shape, dtype: ops.cast(golden["v"], dtype))
    )
    model = keras.Sequential([keras.Input((16,)), layer])
    initializers.weight_norm(model, golden["x"])
    np.testing.assert_allclose(ops.convert_to_numpy(layer.scales["kernel"]), golden["scale"] * norm, **CLOSE)
    # In the bias the norm cancels. It is right for the scale it should have had.
    np.testing.assert_allclose(ops.convert_to_numpy(layer.layer.bias), golden["bias"], **CLOSE)


LAYERS = {
    "maxout": lambda: layers.Maxout(pieces=3),
    "group_normalization": lambda: layers.GroupNorm(groups=3, epsilon=1e-3),
    "instance_normalization": lambda: layers.InstanceNorm(epsilon=1e-3),
    "filter_response_normalization": lambda: layers.FilterResponseNorm(epsilon=1e-3),
    "filter_response_normalization_learned_epsilon": lambda: layers.FilterResponseNorm(
        epsilon=1e-3, use_learned_epsilon=True
    ),
    "tlu": layers.TReLU,
}
# What Addons calls our variables. Its TLU has a threshold for each element; those of a channel are equal here.
THEIRS = {"scale": "gamma", "bias": "beta", "threshold": "tau", "learned_epsilon": "eps_learned"}


@pytest.mark.parametrize("case", LAYERS)
def test_layer(case):
    golden, layer = CASES[case], LAYERS[case]()
    layer.build(golden["x"].shape)
    for variable in layer.trainable_variables:
        theirs = golden[THEIRS[variable.name]]
        variable.assign(np.reshape(theirs.reshape(-1, *variable.shape)[0], variable.shape))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(golden["x"])), golden["y"], **CLOSE)
    assert_gradient_of_input(layer, golden)


def test_rrelu_in_inference():
    golden = CASES["rrelu"]
    np.testing.assert_allclose(ops.convert_to_numpy(layers.RReLU()(golden["x"])), golden["y"], **CLOSE)


def test_every_case_is_compared():
    assert CASES.keys() == {*WRAPPED, *LAYERS, "weight_normalization_from_data", "rrelu"}
