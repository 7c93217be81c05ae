import keras
import numpy as np
import pytest

from keras_norms import models

# Height and width, channels; weights and biases. From the prototxt of caffenet-benchmark.
OUTPUTS = {
    "conv1": (30, 96),
    "pool1": (15, 96),
    "conv2": (15, 256),
    "pool2": (7, 256),
    "conv3": (7, 384),
    "conv4": (7, 384),
    "conv5": (7, 256),
    "pool5": (3, 256),
}
WEIGHTS = {
    "conv1": (34_848, 96),
    "conv2": (307_200, 256),
    "conv3": (884_736, 384),
    "conv4": (663_552, 384),
    "conv5": (442_368, 256),
    "fc6": (4_718_592, 2_048),
    "fc7": (4_194_304, 2_048),
    "fc8": (2_048_000, 1_000),
}


@pytest.fixture(scope="module")
def published():
    return models.build("caffenet128")


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_have_the_published_size(name, published):
    size, channels = OUTPUTS[name]
    assert published.get_layer(name).output.shape == (None, size, size, channels)


@pytest.mark.parametrize("name", WEIGHTS)
def test_layers_have_the_published_weights(name, published):
    layer = published.get_layer(name)
    assert (np.prod(layer.kernel.shape), layer.bias.shape[0]) == WEIGHTS[name]


@pytest.mark.parametrize(("name", "deviation"), [("conv3", 0.01), ("fc6", 0.005), ("fc7", 0.005), ("fc8", 0.01)])
def test_kernels_start_gaussian(name, deviation, published):
    kernel = keras.ops.convert_to_numpy(published.get_layer(name).kernel)
    # The standard error of a standard deviation is itself over the root of twice the number of samples.
    assert abs(kernel.std() / deviation - 1) < 5 / np.sqrt(2 * kernel.size)
    assert abs(kernel).max() > 4 * deviation  # not truncated
    assert not keras.ops.convert_to_numpy(published.get_layer(name).bias).any()


@pytest.mark.parametrize("normalization", ["batch_norm_before", "batch_norm_after"])
def test_normalization_comes_before_pooling_and_dropout(normalization, sources):
    model = models.build("caffenet128", normalization=normalization)
    for pool, convolution in [("pool1", "conv1"), ("pool2", "conv2"), ("pool5", "conv5")]:
        assert sources(model, pool) == [f"{convolution}_batch_norm"]
        assert sources(model, f"{convolution}_batch_norm") == [convolution]
    for name in ("fc6", "fc7"):
        assert sources(model, f"{name}_dropout") == [f"{name}_batch_norm"]
        assert sources(model, f"{name}_batch_norm") == [name]
    assert sources(model, "fc8") == ["fc7_dropout"]


def test_dropout_follows_both_hidden_layers(published, sources):
    rates = {layer.name: layer.rate for layer in published.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"fc6_dropout": 0.5, "fc7_dropout": 0.5}
    assert sources(published, "fc6_dropout") == ["fc6_activation"]
    assert sources(published, "fc7_dropout") == ["fc7_activation"]


@pytest.mark.parametrize("normalization", ["none", "batch_norm_before", "batch_norm_after"])
def test_every_linear_layer_keeps_its_bias(normalization):
    model = models.build("caffenet128", classes=2, normalization=normalization)
    assert all(model.get_layer(name).use_bias for name in WEIGHTS)


def test_conv1_begins_at_the_corner(output_of, hostile):
    model = models.build("caffenet128", input_shape=(39, 43, 3), classes=2)
    kernel = np.zeros((11, 11, 3, 96), "float32")
    kernel[0, 0, 1, :] = 1
    model.get_layer("conv1").set_weights([kernel, np.zeros(96)])
    x = hostile((2, 39, 43, 3))
    np.testing.assert_array_equal(output_of(model, "conv1", x)[..., 5], x[:, :32:4, :36:4, 1])
