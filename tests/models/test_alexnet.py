import keras
import numpy as np
import pytest

from keras_norms import models

# Height and width, channels. From "Dive into Deep Learning".
OUTPUTS = {
    "conv1": (54, 96),
    "pool1": (26, 96),
    "conv2": (26, 256),
    "pool2": (12, 256),
    "conv3": (12, 384),
    "conv4": (12, 384),
    "conv5": (12, 256),
    "pool5": (5, 256),
}
# Weights and biases, in the network with a narrow fc2.
PARAMETERS = {
    "conv1": 11_712,
    "conv2": 614_656,
    "conv3": 885_120,
    "conv4": 1_327_488,
    "conv5": 884_992,
    "fc1": 26_218_496,
    "fc2": 8_390_656,
    "fc3": 20_490,
}


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def narrow():
    return models.build("alexnet", options={"fc2": 2048})


@pytest.fixture(scope="module")
def normalized():
    return models.build("alexnet", normalization="batch_norm_before", options={"fc2": 2048})


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_have_the_published_size(name, narrow):
    size, channels = OUTPUTS[name]
    assert narrow.get_layer(name).output.shape == (None, size, size, channels)


def test_layers_have_the_published_parameters(narrow):
    assert {name: narrow.get_layer(name).count_params() for name in PARAMETERS} == PARAMETERS


def test_networks_have_the_published_parameters(narrow, normalized):
    assert trainable(narrow) == 38_353_610
    assert trainable(normalized) == 38_368_650
    # Two statistics a channel, and the weight that each of the seven norms has gathered.
    assert normalized.count_params() == 38_383_690 + 7


def test_the_published_norms_stand_between_linear_layer_and_relu(normalized, sources):
    for name, before, after in (("conv1", "conv1", "pool1"), ("fc1", "fc1", "fc1_dropout")):
        norm = normalized.get_layer(f"{name}_batch_norm")
        assert sources(normalized, norm.name) == [before]
        assert sources(normalized, after) == [norm.name]
        assert norm.activation.activation is keras.activations.relu
        assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)
        assert normalized.get_layer(name).use_bias
    assert sources(normalized, "fc3") == ["fc2_dropout"]


def test_dropout_follows_both_hidden_layers(narrow, sources):
    rates = {layer.name: layer.rate for layer in narrow.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"fc1_dropout": 0.2, "fc2_dropout": 0.5}
    assert sources(narrow, "fc2_dropout") == ["fc2_activation"]


@pytest.mark.parametrize("name", ["conv1", "conv4", "fc2", "fc3"])
def test_kernels_start_uniform_within_glorot(name, narrow):
    kernel = keras.ops.convert_to_numpy(narrow.get_layer(name).kernel)
    area = np.prod(kernel.shape[:-2])
    limit = np.sqrt(6 / (area * sum(kernel.shape[-2:])))
    assert 0.99 * limit < abs(kernel).max() <= limit * 1.000001
    assert abs(kernel.var() / (limit**2 / 3) - 1) < 5 * np.sqrt(0.8 / kernel.size)
    assert not keras.ops.convert_to_numpy(narrow.get_layer(name).bias).any()


def test_a_window_that_hangs_over_the_edge_is_left_out(output_of, hostile):
    x = hostile((1, 72, 68, 1))
    model = models.build("alexnet", (72, 68, 1), classes=2, options={"fc2": 2048})
    read, pooled = (output_of(model, name, x) for name in ("conv1_activation", "pool1"))
    assert read.shape[1:3] == (16, 15)
    expected = np.empty((1, 7, 7, 96))
    for i, j in np.ndindex(7, 7):
        expected[:, i, j] = read[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2))
    np.testing.assert_array_equal(pooled, expected)
