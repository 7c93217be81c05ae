import itertools

import keras
import numpy as np
import pytest

from keras_norms import models
from keras_norms.layers import batch_norm

NORMALIZATIONS = ["none", "batch_norm_before", "batch_norm_after"]


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.parametrize(("name", "units"), [("resnet20", 3), ("resnet32", 5), ("resnet44", 7), ("resnet56", 9)])
def test_depth_and_stages(name, units):
    model = models.build(name)
    assert len(convolutions(model)) + 1 == int(name.removeprefix("resnet"))
    assert model.get_layer("stem").output.shape == (None, 32, 32, 16)
    for stage, (size, channels) in enumerate([(32, 16), (16, 32), (8, 64)], start=1):
        for unit in range(1, units + 1):
            layer = model.get_layer(f"stage{stage}_unit{unit}_add")
            assert layer.output.shape == (None, size, size, channels)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_order_inside_a_unit(normalization, sources):
    model = models.build("resnet20", normalization=normalization)
    follows = "activation" if normalization == "none" else "batch_norm"
    unit, before = "stage2_unit2", "stage2_unit1_activation"
    last = f"{unit}_conv2" if normalization == "none" else f"{unit}_conv2_batch_norm"
    assert sources(model, f"{unit}_conv1") == [before]
    assert sources(model, f"{unit}_conv1_{follows}") == [f"{unit}_conv1"]
    assert sources(model, f"{unit}_conv2") == [f"{unit}_conv1_{follows}"]
    assert sources(model, f"{unit}_add") == [before, last]
    assert sources(model, f"{unit}_activation") == [f"{unit}_add"]


@pytest.mark.parametrize("normalization", ["batch_norm_before", "batch_norm_after"])
def test_the_branch_ends_in_a_norm_without_activation(normalization, moved, output_of, hostile):
    model = moved(models.build("resnet20", (8, 8, 3), normalization=normalization))
    x = hostile((4, 8, 8, 3))
    last = output_of(model, "stage1_unit1_conv2_batch_norm", x)
    layer = model.get_layer("stage1_unit1_conv2_batch_norm")
    mean, variance = (keras.ops.convert_to_numpy(statistic) for statistic in layer.statistics())
    scale, bias = (keras.ops.convert_to_numpy(weight) for weight in (layer.scale, layer.bias))
    read = output_of(model, "stage1_unit1_conv2", x)
    expected = (read - mean) / np.sqrt(variance + 1e-5) * scale + bias
    np.testing.assert_allclose(last, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
    assert (last < 0).any()


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 7, 3), (5, 8, 1)])
def test_a_unit_adds_its_shortcut_and_activates(shape, moved, output_of, hostile):
    model = moved(models.build("resnet20", shape, normalization="batch_norm_before"))
    x = hostile((2, *shape))
    read, branch, result = (
        output_of(model, name, x)
        for name in ("stage1_unit3_activation", "stage2_unit1_conv2_batch_norm", "stage2_unit1_activation")
    )
    # Option A: every second pixel from the first, zeros behind the channels.
    shortcut = np.zeros(branch.shape, "float32")
    shortcut[..., :16] = read[:, ::2, ::2]
    np.testing.assert_array_equal(result, np.maximum(shortcut + branch, 0))
    assert shortcut.any()
    assert branch.any()


def test_shortcuts_have_no_parameters():
    model = models.build("resnet20")
    with_parameters = [layer for layer in model.layers if layer.count_params()]
    assert with_parameters == [*convolutions(model), model.get_layer("classifier")]


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 7, 3)])
@pytest.mark.parametrize("stage", [2, 3])
def test_strided_convolutions_stand_on_the_pixels_of_the_shortcut(shape, stage, moved, output_of, hostile):
    model = moved(models.build("resnet20", shape))
    channels = 8 * 2 ** (stage - 1)
    kernel = np.zeros((3, 3, channels, 2 * channels), "float32")
    kernel[1, 1] = np.eye(channels, 2 * channels)
    model.get_layer(f"stage{stage}_unit1_conv1").set_weights([kernel, np.zeros(2 * channels)])
    x = hostile((2, *shape))
    branch, shortcut = (output_of(model, f"stage{stage}_unit1_{name}", x) for name in ("conv1", "channels"))
    np.testing.assert_array_equal(branch, shortcut)


def test_biases_stand_where_no_norm_cancels_them():
    biased = {}
    for normalization in NORMALIZATIONS:
        model = models.build("resnet20", normalization=normalization)
        biased[normalization] = {layer.name for layer in convolutions(model) if layer.use_bias}
    assert biased["none"] == {layer.name for layer in convolutions(model)}
    assert biased["batch_norm_before"] == set()
    assert biased["batch_norm_after"] == {name for name in biased["none"] if not name.endswith("conv2")}


def test_momentum_of_the_reference():
    model = models.build("resnet20", normalization="batch_norm_before")
    assert {layer.momentum for layer in model.layers if layer.name.endswith("batch_norm")} == {0.9}


def test_kernels_start_as_he_proposed():
    for layer in convolutions(models.build("resnet20")):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        deviation = np.sqrt(2 / np.prod(kernel.shape[:-1]))
        # The standard error of a standard deviation is itself over the root of twice the number of samples.
        assert abs(kernel.std() / deviation - 1) < 5 / np.sqrt(2 * kernel.size)
        assert not keras.ops.convert_to_numpy(layer.bias).any()
    assert abs(kernel).max() > 3 * deviation  # the last and largest one: not truncated at two deviations


def test_classifier_starts_uniform_as_in_torch():
    kernel, bias = models.build("resnet20", classes=100).get_layer("classifier").get_weights()
    for values, variance in ((kernel, 1 / 192), (bias, 1 / 192)):
        assert abs(values).max() <= 1 / 8
        assert abs(values.var() / variance - 1) < 5 * np.sqrt(0.8 / values.size)


def test_dropout_stands_before_the_classifier(sources):
    model = models.build("resnet20", dropout=0.3)
    assert sources(model, "dropout") == ["pool"]
    assert sources(model, "classifier") == ["dropout"]


def test_dropout_is_none_by_default(sources):
    assert sources(models.build("resnet20"), "classifier") == ["pool"]


@pytest.mark.parametrize(("layers", "places"), [("none", 19), ("batch_norm_after", 19)])
def test_an_activation_with_weights_has_them_at_every_place(layers, places):
    activation = keras.layers.PReLU(shared_axes=[1, 2])
    model = models.build("resnet20", normalization=layers, activation=activation)
    slopes = [weight for weight in model.trainable_weights if weight.path.endswith("alpha")]
    assert len({id(weight) for weight in slopes}) == places
    # The stem, and twice each unit.
    assert sum(weight.shape[-1] for weight in slopes) == 16 + 2 * 3 * (16 + 32 + 64)
    assert not activation.built


ALTERNATES = {
    "published": {},
    "normalized sum": {"normalized_sum": True},
    "no activation": {"activated_sum": False},
    "both": {"normalized_sum": True, "activated_sum": False},
}
# What stands between the second convolution of a unit and the next unit, in this order.
ENDS = {
    ("batch_norm_before", "published"): ["conv2_batch_norm", "add", "activation"],
    ("batch_norm_before", "normalized sum"): ["add", "batch_norm"],
    ("batch_norm_before", "no activation"): ["conv2_batch_norm", "add"],
    ("batch_norm_before", "both"): ["add", "batch_norm"],
    ("batch_norm_before_scalar", "normalized sum"): ["add", "batch_norm", "scale", "bias", "activation"],
    ("none", "no activation"): ["add"],
    ("normprop", "no activation"): ["add"],
    ("weight_norm_trelu", "published"): ["add", "activation"],
    ("weight_norm_trelu", "no activation"): ["add"],
}


@pytest.mark.parametrize(("normalization", "alternate"), ENDS)
def test_ends_of_units(normalization, alternate, sources):
    model = models.build("resnet20", normalization=normalization, options=ALTERNATES[alternate])
    linear = {"weight_norm_trelu": "conv2_weight_norm", "normprop": "conv2_normprop"}.get(normalization, "conv2")
    chain = [f"stage2_unit2_{part}" for part in (linear, *ENDS[normalization, alternate])]
    for before, after in itertools.pairwise(chain):
        assert sources(model, after)[-1] == before
    assert sources(model, "stage2_unit3_add")[0] == chain[-1]
    parts = {layer.name for layer in model.layers if layer.name.startswith("stage2_unit2_")}
    assert {name for name in parts if "conv1" not in name} == set(chain)


@pytest.mark.parametrize("alternate", ["normalized sum", "both"])
@pytest.mark.parametrize("normalization", ["batch_norm_before", "batch_norm_after"])
def test_a_normalized_sum_is_that_of_both_branches(normalization, alternate, moved, output_of, hostile):
    model = models.build("resnet20", (8, 8, 3), normalization=normalization, options=ALTERNATES[alternate])
    model, x, unit = moved(model), hostile((4, 8, 8, 3)), "stage1_unit1"
    read, branch, result = (
        output_of(model, name, x) for name in ("stem_batch_norm", f"{unit}_conv2", f"{unit}_batch_norm")
    )
    layer = model.get_layer(f"{unit}_batch_norm")
    mean, variance = (keras.ops.convert_to_numpy(statistic) for statistic in layer.statistics())
    scale, bias = (keras.ops.convert_to_numpy(weight) for weight in (layer.scale, layer.bias))

    def normalized(x):
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias

    activated = alternate == "normalized sum"
    expected = read.astype("float64") + branch
    if activated and normalization == "batch_norm_before":
        expected = np.maximum(normalized(expected), 0)
    else:
        expected = normalized(np.maximum(expected, 0) if activated else expected)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("alternate", ALTERNATES)
def test_alternates_have_the_parameters_of_the_reference(alternate):
    arguments = {"normalization": "batch_norm_before", "options": ALTERNATES[alternate]}
    model = models.build("resnet20", **arguments)
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 269_722
    keeping = models.build("resnet20", **arguments, keeps_bias=True)
    assert sum(np.prod(weight.shape) for weight in keeping.trainable_weights) == 270_410


@pytest.mark.parametrize(("activated", "biased"), [(True, True), (False, False)])
def test_the_bias_before_a_normalized_sum_stays_where_it_matters(activated, biased):
    options = {"normalized_sum": True, "activated_sum": activated}
    model = models.build("resnet20", normalization="batch_norm_after", options=options)
    assert model.get_layer("stage1_unit1_conv2").use_bias is biased
    assert model.get_layer("stage1_unit1_conv1").use_bias


@pytest.mark.parametrize(
    "normalization", ["none", "weight_norm", "weight_norm_mean_only_batch_norm", "weight_norm_trelu", "normprop"]
)
def test_only_batch_norm_can_stand_behind_the_addition(normalization):
    with pytest.raises(ValueError, match=r"^`normalized_sum` moves batch norm behind the addition: .* must") as error:
        models.build("resnet20", normalization=normalization, options={"normalized_sum": True})
    assert str(error.value).endswith(f"Received: normalization={normalization!r}.")


@pytest.mark.parametrize("normalization", ["none", "batch_norm_before", "normprop"])
def test_projections_stand_where_the_shape_changes(normalization, sources):
    options = {"shortcut": "projection"}
    model = models.build("resnet20", normalization=normalization, options=options)
    parts = [layer.name for layer in model.layers if "projection" in layer.name]
    follows = {"none": [""], "batch_norm_before": ["", "_batch_norm"], "normprop": ["_normprop"]}[normalization]
    assert parts == [f"stage{stage}_unit1_projection{part}" for stage in (2, 3) for part in follows]
    assert sources(model, "stage3_unit1_add")[0] == parts[-1]
    assert not [layer.name for layer in model.layers if "subsample" in layer.name or "channels" in layer.name]


def test_projections_have_their_own_norm_and_parameters():
    model = models.build("resnet20", normalization="batch_norm_before", options={"shortcut": "projection"})
    assert type(model.get_layer("stage2_unit1_projection_batch_norm")) is batch_norm.BatchNorm
    # Kernels of 16 x 32 and 32 x 64, a scale and a bias for each channel.
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 269_722 + 512 + 2_048 + 2 * (32 + 64)


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 7, 3)])
def test_projections_read_every_second_pixel(shape, moved, output_of, hostile):
    model = moved(models.build("resnet20", shape, options={"shortcut": "projection"}))
    kernel, bias = model.get_layer("stage2_unit1_projection").get_weights()
    x = hostile((2, *shape))
    read, projected = (output_of(model, f"stage{name}", x) for name in ("1_unit3_activation", "2_unit1_projection"))
    expected = read[:, ::2, ::2].astype("float64") @ kernel[0, 0] + bias
    np.testing.assert_allclose(projected, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("options", [ALTERNATES["both"], {"shortcut": "projection"}])
def test_saved_alternates_give_the_same_logits(options, moved, predicted, hostile, tmp_path):
    model = moved(
        models.build("resnet20", (8, 8, 3), normalization="batch_norm_before", activation="elu", options=options)
    )
    model.save(tmp_path / "model.keras")
    x = hostile((2, 8, 8, 3))
    logits = predicted(model, x)
    np.testing.assert_array_equal(predicted(keras.models.load_model(tmp_path / "model.keras"), x), logits)
    assert logits.std(0).min() > 0  # the images differ
