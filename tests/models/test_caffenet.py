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


# Channels; weights and biases of a piece. From the prototxt of caffenet-benchmark.
PIECES = {
    "conv1": (68, 24_684),
    "conv2": (182, 154_700),
    "conv3": (272, 445_536),
    "conv4": (272, 332_928),
    "conv5": (172, 210_528),
    "fc6": (1448, 2_241_504),
    "fc7": (1448, 2_096_704),
}


@pytest.fixture(scope="module")
def maxout():
    return models.build("caffenet128_maxout", normalization="batch_norm_after", use_scale=False, use_bias=False)


@pytest.mark.parametrize("name", PIECES)
def test_pieces_have_the_published_weights(name, maxout):
    for piece in ("piece1", "piece2"):
        layer = maxout.get_layer(f"{name}_{piece}")
        assert (layer.bias.shape[0], np.prod(layer.kernel.shape)) == PIECES[name]
    assert maxout.get_layer(f"{name}_batch_norm").moving_mean.shape == (PIECES[name][0],)


def test_maxout_has_the_published_parameters(maxout):
    assert sum(int(np.prod(weight.shape)) for weight in maxout.trainable_weights) == 12_469_892
    assert maxout.count_params() - 12_469_892 == 2 * 3_862 + 7
    assert maxout.get_layer("fc8").count_params() == 1_448_000 + 1_000
    assert [maxout.get_layer(name).output.shape[1:] for name in ("pool1", "pool2", "pool5")] == [
        (15, 15, 68),
        (7, 7, 182),
        (3, 3, 172),
    ]


def test_the_maximum_is_the_only_activation(maxout):
    assert not [layer.name for layer in maxout._flatten_layers() if "activation" in layer.name]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("conv1", ("images", "images")),
        ("conv2", ("pool1", "pool1")),
        ("conv3", ("pool2", "pool2")),
        # As published: the second pieces read what is not normalized.
        ("conv4", ("conv3_batch_norm", "conv3_maximum")),
        ("conv5", ("conv4_batch_norm", "conv4_maximum")),
        ("fc6", ("flatten", "flatten")),
        ("fc7", ("fc6_dropout", "fc6_dropout")),
    ],
)
def test_pieces_read_what_was_published(name, read, maxout, sources):
    for piece, expected in zip(("piece1", "piece2"), read, strict=True):
        assert sources(maxout, f"{name}_{piece}") == [expected]
    assert sources(maxout, f"{name}_maximum") == [f"{name}_piece1", f"{name}_piece2"]
    assert sources(maxout, f"{name}_batch_norm") == [f"{name}_maximum"]


def test_the_normalized_maximum_goes_on(maxout, sources):
    for after, before in (("pool1", "conv1"), ("pool5", "conv5"), ("fc6_dropout", "fc6"), ("fc7_dropout", "fc7")):
        assert sources(maxout, after) == [f"{before}_batch_norm"]


def test_a_norm_before_the_maximum_normalizes_the_pieces(sources):
    arguments = {"normalization": "batch_norm_before", "use_scale": False, "use_bias": False}
    model = models.build("caffenet128_maxout", **arguments)
    assert sources(model, "conv4_maximum") == ["conv4_piece1_batch_norm", "conv4_piece2_batch_norm"]
    for piece in ("piece1", "piece2"):
        assert sources(model, f"conv4_{piece}") == ["conv3_maximum"]
    assert model.count_params() == 12_469_892 + 2 * (2 * 3_862) + 14


@pytest.mark.parametrize("keeps_bias", [False, True])
@pytest.mark.parametrize(("normalization", "matters"), [("batch_norm_before", False), ("batch_norm_after", True)])
def test_biases_of_pieces_stand_where_they_matter(normalization, matters, keeps_bias):
    arguments = {"input_shape": (39, 39, 3), "classes": 2, "keeps_bias": keeps_bias}
    model = models.build("caffenet128_maxout", **arguments, normalization=normalization)
    assert {model.get_layer(f"{name}_piece2").use_bias for name in PIECES} == {matters or keeps_bias}


@pytest.mark.parametrize("normalization", ["none", "batch_norm_before", "batch_norm_after", "weight_norm"])
def test_a_given_activation_follows_the_maximum(normalization, moved, output_of, hostile):
    arguments = {"input_shape": (39, 39, 3), "classes": 2, "normalization": normalization, "activation": "relu"}
    model = moved(models.build("caffenet128_maxout", **arguments))
    x = hostile((2, 39, 39, 3))
    maximum = output_of(model, "conv3_maximum", x)
    assert (maximum < 0).any()
    if normalization == "batch_norm_after":
        norm = model.get_layer("conv3_batch_norm")
        assert norm.activation.activation is keras.activations.relu
    else:
        np.testing.assert_array_equal(output_of(model, "conv3_activation", x), np.maximum(maximum, 0))


def test_a_saved_maxout_network_gives_the_same_logits(moved, predicted, hostile, tmp_path):
    model = models.build("caffenet128_maxout", (39, 39, 3), classes=3, normalization="batch_norm_after")
    moved(model).save(tmp_path / "model.keras")
    x = hostile((2, 39, 39, 3))
    logits = predicted(model, x)
    np.testing.assert_array_equal(predicted(keras.models.load_model(tmp_path / "model.keras"), x), logits)
    assert logits.std(0).min() > 0  # the images differ
