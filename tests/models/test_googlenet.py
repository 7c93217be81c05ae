import keras
import numpy as np
import pytest

from keras_norms import models
from keras_norms.models import googlenet

# Height and width, channels, weights and biases. From the prototxt of caffenet-benchmark.
BLOCKS = {
    "conv1": (64, 64, 9_472),
    "pool1": (32, 64, 0),
    "lrn1": (32, 64, 0),
    "conv2_reduce": (32, 64, 4_160),
    "conv2": (32, 192, 110_784),
    "lrn2": (32, 192, 0),
    "pool2": (16, 192, 0),
    "inception_3a": (16, 256, 163_696),
    "inception_3b": (16, 480, 388_736),
    "pool3": (8, 480, 0),
    "inception_4a": (8, 512, 376_176),
    "inception_4b": (8, 512, 449_160),
    "inception_4c": (8, 512, 510_104),
    "inception_4d": (8, 528, 605_376),
    "inception_4e": (8, 832, 868_352),
    "pool4": (4, 832, 0),
    "inception_5a": (4, 832, 1_043_456),
    "inception_5b": (4, 1024, 1_444_080),
}
BRANCHES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_projection")
# Weights of the branches; their biases are the channels.
KERNELS = {
    "3a": (12_288, 18_432, 110_592, 3_072, 12_800, 6_144),
    "3b": (32_768, 32_768, 221_184, 8_192, 76_800, 16_384),
    "4a": (92_160, 46_080, 179_712, 7_680, 19_200, 30_720),
    "4b": (81_920, 57_344, 225_792, 12_288, 38_400, 32_768),
    "4c": (65_536, 65_536, 294_912, 12_288, 38_400, 32_768),
    "4d": (57_344, 73_728, 373_248, 16_384, 51_200, 32_768),
    "4e": (135_168, 84_480, 460_800, 16_896, 102_400, 67_584),
    "5a": (212_992, 133_120, 460_800, 26_624, 102_400, 106_496),
    "5b": (319_488, 159_744, 663_552, 39_936, 153_600, 106_496),
}
AUXILIARIES = {"aux1": (65_664, 525_312, 1_025_000), "aux2": (67_712, 525_312, 1_025_000)}


@pytest.fixture(scope="module")
def published():
    return models.build("googlenet128")


@pytest.fixture(scope="module")
def after():
    return models.build("googlenet128", normalization="batch_norm_after")


def parameters(model, prefix):
    layers = [layer for layer in model.layers if layer.name == prefix or layer.name.startswith(f"{prefix}_")]
    return sum(layer.count_params() for layer in layers if layer.name != "conv2_reduce" or prefix == "conv2_reduce")


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_have_the_published_size(name, published):
    size, channels, weights = BLOCKS[name]
    assert published.get_layer(name).output.shape == (None, size, size, channels)
    assert parameters(published, name) == weights


@pytest.mark.parametrize("name", KERNELS)
def test_branches_have_the_published_kernels(name, published):
    layers = [published.get_layer(f"inception_{name}_{branch}") for branch in BRANCHES]
    assert tuple(int(np.prod(layer.kernel.shape)) for layer in layers) == KERNELS[name]
    assert tuple(layer.bias.shape[0] for layer in layers) == googlenet.INCEPTIONS[name]


@pytest.mark.parametrize("name", AUXILIARIES)
def test_auxiliary_classifiers_have_the_published_weights(name, published):
    assert published.get_layer(f"{name}_pool").output.shape[1:3] == (2, 2)
    layers = (f"{name}_{part}" for part in ("convolution", "dense", "classifier"))
    assert tuple(published.get_layer(layer).count_params() for layer in layers) == AUXILIARIES[name]


def test_trunk_has_the_published_parameters(published):
    trunk = keras.Model(published.input, published.output["main"])
    assert trunk.count_params() == 6_998_552


def test_outputs_are_a_dict(published):
    assert {name: output.shape for name, output in published.output.items()} == dict.fromkeys(
        ["main", "aux1", "aux2"], (None, 1000)
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", ["conv1_padding"]),
        ("pool1", ["conv1_activation"]),
        ("lrn1", ["pool1"]),
        ("conv2_reduce", ["lrn1"]),
        ("conv2", ["conv2_reduce_activation"]),
        ("lrn2", ["conv2_activation"]),
        ("pool2", ["lrn2"]),
        ("inception_3a_pool", ["pool2"]),
        ("inception_3a_pool_projection", ["inception_3a_pool"]),
        ("inception_3a", [f"inception_3a_{name}_activation" for name in ("1x1", "3x3", "5x5", "pool_projection")]),
        ("aux1_pool", ["inception_4a"]),
        ("aux1_convolution", ["aux1_pool"]),
        ("aux1_dropout", ["aux1_dense_activation"]),
        ("aux1_classifier", ["aux1_dropout"]),
        ("aux2_pool", ["inception_4d"]),
        ("inception_4e_1x1", ["inception_4d"]),
        ("inception_5a_pool", ["pool4"]),
        ("main_classifier", ["main_dropout"]),
    ],
)
def test_layers_follow_the_published_order(name, expected, published, sources):
    assert sources(published, name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1_batch_norm", "conv1"),
        ("pool1", "conv1_batch_norm"),
        ("lrn1", "pool1"),
        ("lrn2", "conv2_batch_norm"),
        ("pool2", "lrn2"),
        ("aux1_dropout", "aux1_dense_batch_norm"),
    ],
)
def test_normalization_stands_where_it_was_published(name, expected, after, sources):
    assert sources(after, name) == [expected]


def test_every_convolution_and_hidden_layer_is_normalized(after):
    normalized = [layer.name for layer in after.layers if layer.name.endswith("_batch_norm")]
    channels = [after.get_layer(name).moving_mean.shape[0] for name in normalized]
    assert (len(normalized), sum(channels)) == (61, 9_584)
    assert sum(c for n, c in zip(normalized, channels, strict=True) if not n.startswith("aux")) == 7_280
    assert {after.get_layer(name).momentum for name in normalized} == {0.95}
    assert {after.get_layer(name).epsilon for name in normalized} == {1e-5}


def test_one_scale_and_bias_a_layer_are_published_too():
    model = models.build("googlenet128", normalization="batch_norm_before_scalar")
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 10_232_674


def test_dropout_rates(published):
    rates = {layer.name: layer.rate for layer in published.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"main_dropout": 0.4, "aux1_dropout": 0.7, "aux2_dropout": 0.7}


@pytest.mark.parametrize("name", ["lrn1", "lrn2"])
def test_response_norm_is_that_of_caffe(name, published):
    layer = published.get_layer(name)
    assert (layer.size, layer.alpha, layer.beta, layer.k) == (5, 1e-4, 0.75, 1.0)


@pytest.mark.parametrize("name", ["conv1", "inception_4e_3x3", "inception_5b_5x5", "aux2_dense", "main_classifier"])
def test_kernels_start_uniform_within_xavier(name, published):
    kernel = keras.ops.convert_to_numpy(published.get_layer(name).kernel)
    limit = np.sqrt(3 / np.prod(kernel.shape[:-1]))
    assert 0.99 * limit < abs(kernel).max() <= limit * 1.000001
    # The standard deviation of the variance of a uniform sample: sqrt(4 / 5) of it, over the root of the number.
    assert abs(kernel.var() / (limit**2 / 3) - 1) < 5 * np.sqrt(0.8 / kernel.size)
    assert not keras.ops.convert_to_numpy(published.get_layer(name).bias).any()


def test_pool_branch_keeps_the_size_and_the_centre(output_of, hostile):
    x = hostile((1, 79, 80, 3))
    model = models.build("googlenet128", input_shape=x.shape[1:], classes=2)
    read, pooled = (output_of(model, name, x) for name in ("pool3", "inception_4a_pool"))
    padded = np.pad(read, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    expected = np.empty_like(read)
    for i, j in np.ndindex(read.shape[1:3]):
        expected[:, i, j] = padded[:, i : i + 3, j : j + 3].max((1, 2))
    np.testing.assert_array_equal(pooled, expected)
