import keras
import numpy as np
import pytest

from keras_norms import models

# Of each stage, conv2_x to conv5_x of the paper: height and width, channels, units, weights of the kernels, scales
# and biases.
STAGES = {
    "stage1": (56, 256, 3, 212_992, 2_816),
    "stage2": (28, 512, 4, 1_212_416, 7_168),
    "stage3": (14, 1024, 6, 7_077_888, 20_480),
    "stage4": (7, 2048, 3, 14_942_208, 22_528),
}


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def published():
    return models.build("resnet50", normalization="batch_norm_before")


@pytest.mark.parametrize("stage", STAGES)
def test_stages_have_the_published_sizes(stage, published):
    size, channels, units, kernels, affine = STAGES[stage]
    layers = [layer for layer in published.layers if layer.name.startswith(f"{stage}_")]
    sums = [layer for layer in layers if layer.name.endswith("_add")]
    assert [layer.output.shape for layer in sums] == [(None, size, size, channels)] * units
    trained = [weight for layer in layers for weight in layer.trainable_weights]
    assert sum(int(np.prod(weight.shape)) for weight in trained if weight.name == "kernel") == kernels
    assert sum(int(np.prod(weight.shape)) for weight in trained if weight.name in ("scale", "bias")) == affine


def test_stem_has_the_published_size(published):
    assert published.get_layer("stem").output.shape == (None, 112, 112, 64)
    assert published.get_layer("stem_pool").output.shape == (None, 56, 56, 64)
    assert published.get_layer("stem").count_params() == 9_408


def test_the_network_has_the_published_parameters(published):
    assert trainable(published) == 25_557_032
    norms = [layer for layer in published.layers if layer.name.endswith("_batch_norm")]
    # Two statistics a channel, and the weight that each norm has gathered.
    assert (len(norms), published.count_params()) == (53, 25_610_152 + 53)
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


@pytest.mark.parametrize(
    ("normalization", "parameters"),
    [
        ("weight_norm", 25_557_032),
        ("weight_norm_mean_only_batch_norm", 25_557_032),
        ("normprop", 25_557_032),
        # A threshold for each channel of the 49 activations; no scale, and no bias but the classifier's.
        ("weight_norm_trelu", 23_454_912 + 2_049_000 + 22_720),
    ],
)
def test_parameters_with_other_normalizations(normalization, parameters):
    assert trainable(models.build("resnet50", (32, 32, 3), normalization=normalization)) == parameters


@pytest.mark.parametrize(("version", "strided"), [("v1", "conv1"), ("v1.5", "conv2")])
def test_versions_differ_in_the_strided_convolution(version, strided):
    model = models.build("resnet50", (64, 64, 3), classes=2, options={"version": version})
    strides = {layer.name: layer.strides[0] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    halving = {f"stage{stage}_unit1_{part}" for stage in (2, 3, 4) for part in (strided, "projection")}
    assert {name for name, stride in strides.items() if stride == 2} == {"stem", *halving}
    assert len(strides) + 1 == 50 + 4  # weighted layers, and projections


def test_order_inside_a_unit(published, sources):
    unit, read = "stage2_unit1", "stage1_unit3_activation"
    for before, after in [
        (read, f"{unit}_projection"),
        (f"{unit}_conv1", f"{unit}_conv1_batch_norm"),
        (f"{unit}_conv2", f"{unit}_conv2_batch_norm"),
        (f"{unit}_conv2_batch_norm", f"{unit}_conv3"),
        (f"{unit}_add", f"{unit}_activation"),
    ]:
        assert sources(published, after) == [before]
    assert sources(published, f"{unit}_add") == [f"{unit}_projection_batch_norm", f"{unit}_conv3_batch_norm"]
    assert sources(published, "stage2_unit2_add")[0] == f"{unit}_activation"
    projections = [layer.name for layer in published.layers if layer.name.endswith("_projection")]
    assert projections == [f"stage{stage}_unit1_projection" for stage in (1, 2, 3, 4)]


@pytest.mark.parametrize("version", ["v1", "v1.5"])
def test_both_branches_stand_on_the_same_pixels(version, output_of, hostile):
    x = hostile((1, 31, 36, 3)) / 30
    model = models.build("resnet50", x.shape[1:], classes=2, options={"version": version}, activation="linear")
    # A branch of identities: each convolution passes the first channel at the centre of its window.
    for name in ("conv1", "conv2", "conv3"):
        layer = model.get_layer(f"stage2_unit1_{name}")
        kernel = np.zeros(layer.kernel.shape, "float32")
        kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0, 0] = 1
        layer.set_weights([kernel, np.zeros(kernel.shape[-1])])
    read, branch = (output_of(model, f"stage{name}", x)[..., 0] for name in ("1_unit3_add", "2_unit1_conv3"))
    assert read.shape[1:] == (8, 9)
    np.testing.assert_allclose(branch, read[:, ::2, ::2], rtol=1e-6)


def test_kernels_start_as_he_proposed(published):
    for name in ("stem", "stage1_unit1_conv2", "stage4_unit3_conv3", "classifier"):
        kernel = keras.ops.convert_to_numpy(published.get_layer(name).kernel)
        deviation = np.sqrt(2 / np.prod(kernel.shape[:-1]))
        assert abs(kernel.std() / deviation - 1) < 5 / np.sqrt(2 * kernel.size)


def test_a_saved_model_gives_the_same_logits(moved, predicted, hostile, tmp_path):
    model = moved(models.build("resnet50", (32, 32, 3), classes=3, normalization="batch_norm_before", activation="elu"))
    model.save(tmp_path / "model.keras")
    x = hostile((2, 32, 32, 3))
    logits = predicted(model, x)
    np.testing.assert_array_equal(predicted(keras.models.load_model(tmp_path / "model.keras"), x), logits)
    assert logits.std(0).min() > 0  # the images differ
