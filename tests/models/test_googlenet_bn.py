import keras
import numpy as np
import pytest

from keras_norms import models

# Height and width, channels; weights of the kernels, scales and biases. From the prototxt of caffenet-benchmark.
BLOCKS = {
    "conv1": (64, 64, 9_408, 128),
    "conv2": (32, 192, 114_688, 512),
    "inception_3a": (16, 256, 218_112, 960),
    "inception_3b": (16, 320, 259_072, 1_088),
    "inception_3c": (8, 576, 384_000, 1_088),
    "inception_4a": (8, 576, 608_256, 1_728),
    "inception_4b": (8, 576, 663_552, 1_792),
    "inception_4c": (8, 576, 893_952, 1_984),
    "inception_4d": (8, 576, 1_105_920, 2_112),
    "inception_4e": (4, 1024, 1_437_696, 2_048),
    "inception_5a": (4, 1024, 2_179_072, 3_200),
    "inception_5b": (4, 1024, 2_276_352, 3_264),
}
# Channels of 1x1; 3x3 reduce, 3x3; double reduce, 3x3a, 3x3b; pool projection.
BRANCHES = ("1x1", "3x3_reduce", "3x3", "double_reduce", "double_3x3a", "double_3x3b", "pool_projection")
CHANNELS = {
    "3a": (64, 64, 64, 64, 96, 96, 32),
    "3b": (64, 64, 96, 64, 96, 96, 64),
    "3c": (None, 128, 160, 64, 96, 96, None),
    "4a": (224, 64, 96, 96, 128, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128, 128),
    "4c": (160, 128, 160, 128, 160, 160, 96),
    "4d": (96, 128, 192, 160, 192, 192, 96),
    "4e": (None, 128, 192, 192, 256, 256, None),
    "5a": (352, 192, 320, 160, 224, 224, 128),
    "5b": (352, 192, 320, 192, 224, 224, 128),
}
# Side of the pooled, weights of kernels and classifier, scales and biases.
AUXILIARIES = {"aux1": (2, 1_623_016, 2_304), "aux2": (1, 1_287_144, 2_304)}


@pytest.fixture(scope="module")
def published():
    return models.build("googlenet128_bn", normalization="batch_norm_before")


def parameters(model, prefix):
    """Returns the numbers of weights in the linear layers and in the norms of a block."""
    layers = [layer for layer in model.layers if layer.name == prefix or layer.name.startswith(f"{prefix}_")]
    norms = [layer for layer in layers if layer.name.endswith("_batch_norm")]
    counts = [
        sum(int(np.prod(weight.shape)) for layer in part for weight in layer.trainable_weights)
        for part in (layers, norms)
    ]
    return counts[0] - counts[1], counts[1]


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_have_the_published_size(name, published):
    size, channels, kernels, affine = BLOCKS[name]
    assert published.get_layer(name).output.shape == (None, size, size, channels)
    assert parameters(published, name) == (kernels, affine)


@pytest.mark.parametrize("name", CHANNELS)
def test_branches_have_the_published_channels(name, published):
    present = {layer.name for layer in published.layers}
    names = [f"inception_{name}_{branch}" for branch in BRANCHES]
    assert tuple(published.get_layer(n).output.shape[-1] if n in present else None for n in names) == CHANNELS[name]


@pytest.mark.parametrize("name", AUXILIARIES)
def test_auxiliary_classifiers_have_the_published_size(name, published):
    side, kernels, affine = AUXILIARIES[name]
    assert published.get_layer(f"{name}_pool").output.shape[1:3] == (side, side)
    assert parameters(published, name) == (kernels, affine)


def test_the_network_has_the_published_parameters(published):
    trunk = keras.Model(published.input, published.output["main"])
    for model, expected in ((trunk, 11_194_984), (published, 14_109_752)):
        assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == expected
    convolutions = [layer for layer in published.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in published.layers if layer.name.endswith("_batch_norm")]
    assert (len(convolutions), len(norms)) == (71, 73)
    assert sum(norm.moving_mean.shape[0] for norm in norms) == 12_256
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.999, 1e-5)}


def test_only_the_classifiers_have_a_bias_of_their_own(published):
    linear = [layer for layer in published.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    assert {layer.name for layer in linear if layer.use_bias} == {
        f"{name}_classifier" for name in ("main", "aux1", "aux2")
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pool1", ["conv1_batch_norm"]),
        ("pool2", ["conv2_batch_norm"]),
        ("inception_3a_1x1", ["pool2"]),
        ("inception_3a_double_3x3a", ["inception_3a_double_reduce_batch_norm"]),
        ("inception_3a_double_3x3b", ["inception_3a_double_3x3a_batch_norm"]),
        ("inception_3a", [f"inception_3a_{branch}_batch_norm" for branch in BRANCHES if branch in
                          ("1x1", "3x3", "double_3x3b", "pool_projection")]),
        ("inception_3c", ["inception_3c_3x3_batch_norm", "inception_3c_double_3x3b_batch_norm", "inception_3c_pool"]),
        ("inception_4a_1x1", ["inception_3c"]),
        ("inception_5a_1x1", ["inception_4e"]),
        ("aux1_pool", ["inception_3c"]),
        ("aux2_pool", ["inception_4e"]),
        ("aux1_dense", ["aux1_flatten"]),
        ("aux1_classifier", ["aux1_dense_batch_norm"]),
        ("main_classifier", ["pool5"]),
    ],
)  # fmt: skip
def test_layers_follow_the_published_order(name, expected, published, sources):
    assert sources(published, name) == expected


@pytest.mark.parametrize("name", ["3c", "4e"])
def test_the_last_convolutions_of_two_inceptions_have_strides(name, published):
    strides = {
        layer.name.removeprefix(f"inception_{name}_"): layer.strides[0]
        for layer in published.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.name.startswith(f"inception_{name}_")
    }
    expected = {"3x3": 2, "double_3x3b": 2, "3x3_reduce": 1, "double_reduce": 1, "double_3x3a": 1}
    assert strides == expected
    elsewhere = [layer for layer in published.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sum(layer.strides[0] == 2 for layer in elsewhere) == 1 + 2 * 2


def test_pools_of_the_inceptions(published):
    kinds = {}
    for name in CHANNELS:
        layer = published.get_layer(f"inception_{name}_pool")
        kinds[name] = (type(layer).__name__.removesuffix("Pooling2D"), layer.strides[0])
    strided = dict.fromkeys(("3c", "4e"), ("Max", 2))
    assert kinds == {**dict.fromkeys(CHANNELS, ("Average", 1)), **strided, "5b": ("Max", 1)}


@pytest.fixture(scope="module")
def small():
    return models.build("googlenet128_bn", (36, 40, 3), classes=2)


def test_average_pools_divide_by_nine_at_the_borders_too(small, output_of, hostile):
    x = hostile((1, 36, 40, 3))
    read, pooled = (output_of(small, name, x).astype("float64") for name in ("pool2_width", "inception_3a_pool"))
    padded = np.pad(read, [(0, 0), (1, 1), (1, 1), (0, 0)])
    expected = np.empty_like(read)
    for i, j in np.ndindex(read.shape[1:3]):
        expected[:, i, j] = padded[:, i : i + 3, j : j + 3].sum((1, 2)) / 9
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6 * abs(expected).max())


def test_max_pools_of_strides_are_those_of_caffe(small, output_of, hostile):
    x = hostile((1, 36, 40, 3))
    read, pooled = (output_of(small, name, x) for name in ("inception_3b", "inception_3c_pool"))
    assert read.shape[1:3] == (4, 5)  # on the odd side Caffe has no such network: centred as the convolutions
    rows = [slice(0, 3), slice(2, 5)]
    columns = [slice(0, 2), slice(1, 4), slice(3, 6)]
    expected = np.stack([np.stack([read[:, r, c].max((1, 2)) for c in columns], 1) for r in rows], 1)
    np.testing.assert_array_equal(pooled, expected)


def test_the_second_auxiliary_reads_the_mean_of_all_pixels(output_of, hostile):
    x = hostile((1, 96, 64, 3)) / 30
    model = models.build("googlenet128_bn", x.shape[1:], classes=2)
    read, pooled = (output_of(model, name, x) for name in ("inception_4e", "aux2_pool"))
    assert (read.shape[1:3], pooled.shape[1:3]) == ((3, 2), (1, 1))
    np.testing.assert_allclose(pooled[:, 0, 0], read.mean((1, 2)), rtol=1e-5)


def test_loss_weights_and_dropout(published):
    architecture = models.ARCHITECTURES["googlenet128_bn"]
    assert architecture.loss_weights == {"main": 1.0, "aux1": 0.3, "aux2": 0.3}
    assert not [layer for layer in published.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize("name", ["conv1", "inception_4e_double_3x3b", "aux2_dense", "main_classifier"])
def test_kernels_start_uniform_within_xavier(name, published):
    kernel = keras.ops.convert_to_numpy(published.get_layer(name).kernel)
    limit = np.sqrt(3 / np.prod(kernel.shape[:-1]))
    assert 0.99 * limit < abs(kernel).max() <= limit * 1.000001
    assert abs(kernel.var() / (limit**2 / 3) - 1) < 5 * np.sqrt(0.8 / kernel.size)


def test_a_saved_model_gives_the_same_logits(moved, predicted, hostile, tmp_path):
    model = moved(
        models.build("googlenet128_bn", (32, 32, 3), classes=3, normalization="batch_norm_before", activation="elu")
    )
    model.save(tmp_path / "model.keras")
    x = hostile((2, 32, 32, 3))
    logits = predicted(model, x)
    np.testing.assert_array_equal(predicted(keras.models.load_model(tmp_path / "model.keras"), x), logits)
    assert logits.std(0).min() > 0  # the images differ
