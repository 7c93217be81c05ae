import dataclasses

import keras
import numpy as np
import pytest

from keras_norms.layers import batch_norm, batch_norm_placement, trelu
from keras_norms.models import blocks

HE = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
BASELINE = blocks.Blocks(HE, momentum=0.8, keeps_bias=False)
NORMALIZED = ["batch_norm_before", "batch_norm_after"]


def model_of(network, shape=(6, 6, 4)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, network(inputs))


def names(model):
    return [layer.name for layer in model.layers[1:]]


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("none", ["conv", "conv_activation"]),
        ("batch_norm_before", ["conv", "conv_batch_norm"]),
        ("batch_norm_before_scalar", ["conv", "conv_batch_norm", "conv_scale", "conv_bias", "conv_activation"]),
        ("batch_norm_after", ["conv", "conv_batch_norm"]),
        ("weight_norm", ["conv_weight_norm", "conv_activation"]),
        ("weight_norm_mean_only_batch_norm", ["conv_weight_norm", "conv_mean_only_batch_norm", "conv_activation"]),
        ("weight_norm_trelu", ["conv_weight_norm", "conv_activation"]),
        ("normprop", ["conv_normprop"]),
    ],
)
def test_layers_are_named_after_the_linear_one(normalization, expected):
    variant = dataclasses.replace(BASELINE, normalization=normalization)
    assert names(model_of(lambda x: variant.convolution(x, 8, 3, name="conv"))) == expected
    assert names(model_of(lambda x: variant.dense(x, 8, name="conv"), (4,))) == expected


@pytest.mark.parametrize(
    ("normalization", "place"),
    [
        ("batch_norm_before", batch_norm_placement.BatchNormBefore),
        ("batch_norm_after", batch_norm_placement.BatchNormAfter),
    ],
)
def test_activation_is_normalized_at_its_place(normalization, place):
    variant = dataclasses.replace(BASELINE, normalization=normalization, activation="elu")
    layer = model_of(lambda x: variant.convolution(x, 8, 3, name="conv")).get_layer("conv_batch_norm")
    assert type(layer) is place
    assert layer.activation.activation is keras.activations.elu


@pytest.mark.parametrize("normalization", NORMALIZED)
@pytest.mark.parametrize("unactivated", ["by the network", "by the layer"])
def test_without_activation_only_the_normalization_follows(normalization, unactivated):
    variant = dataclasses.replace(BASELINE, normalization=normalization)
    if unactivated == "by the network":
        variant = dataclasses.replace(variant, activation=None)
    activate = unactivated == "by the network"
    model = model_of(lambda x: variant.convolution(x, 8, 3, name="conv", activate=activate))
    assert type(model.get_layer("conv_batch_norm")) is batch_norm.BatchNorm


def test_nothing_follows_without_normalization_and_activation():
    assert names(model_of(lambda x: BASELINE.convolution(x, 8, 3, name="conv", activate=False))) == ["conv"]
    linear = dataclasses.replace(BASELINE, activation=None)
    assert names(model_of(lambda x: linear.dense(x, 8, name="fc"), (4,))) == ["fc"]
    assert names(model_of(lambda x: linear.add([x, x], name="unit"), (4,))) == ["unit_add"]
    thresholds = dataclasses.replace(linear, normalization="weight_norm_trelu")
    assert names(model_of(lambda x: thresholds.dense(x, 8, name="fc"), (4,))) == ["fc_weight_norm"]


@pytest.mark.parametrize("normalization", NORMALIZED)
@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_settings_reach_the_normalization(normalization, use_scale, use_bias):
    variant = dataclasses.replace(
        BASELINE, normalization=normalization, use_scale=use_scale, use_bias=use_bias, synchronized=use_scale
    )
    for activate in (False, True):
        model = model_of(lambda x, on=activate: variant.convolution(x, 8, 3, name="conv", activate=on))
        layer = model.get_layer("conv_batch_norm")
        assert (layer.use_scale, layer.use_bias, layer.synchronized) == (use_scale, use_bias, use_scale)
        assert (layer.momentum, layer.epsilon, layer.axis) == (0.8, 1e-5, -1)


@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_one_scale_and_one_bias_for_all_channels(use_scale, use_bias, hostile):
    settings = {"use_scale": use_scale, "use_bias": use_bias}
    variant = dataclasses.replace(BASELINE, normalization="batch_norm_before_scalar", **settings)
    model = model_of(lambda x: variant.convolution(x, 8, 3, name="conv"))
    norm = model.get_layer("conv_batch_norm")
    assert (norm.use_scale, norm.use_bias, norm.momentum) == (False, False, 0.8)
    factor, summand = 0.7 if use_scale else None, -0.2 if use_bias else None
    values = {name: x for name, x in (("conv_scale", factor), ("conv_bias", summand)) if x is not None}
    assert names(model) == ["conv", "conv_batch_norm", *values, "conv_activation"]
    for name, value in values.items():
        (weight,) = model.get_layer(name).weights
        assert weight.shape == ()
        weight.assign(value)
    x = hostile((4, 6, 6, 4)) / 50
    read = keras.ops.convert_to_numpy(keras.Model(model.input, norm.output)(x, training=True))
    expected = np.maximum(values.get("conv_scale", 1) * read.astype("float64") + values.get("conv_bias", 0), 0)
    outputs = keras.ops.convert_to_numpy(model(x, training=True))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("synchronized", [False, True])
def test_synchronization_reaches_the_normalization_before_one_scale(synchronized):
    variant = dataclasses.replace(BASELINE, normalization="batch_norm_before_scalar", synchronized=synchronized)
    model = model_of(lambda x: variant.convolution(x, 8, 3, name="conv"))
    assert model.get_layer("conv_batch_norm").synchronized is synchronized


@pytest.mark.parametrize("normalization", ["none", *NORMALIZED, "batch_norm_before_scalar"])
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_a_bias_is_left_out_where_it_changes_nothing(normalization, activation, hostile):
    """With all biases kept, the one of a convolution must change the output in training exactly where it would be
    there without that."""
    keeping = dataclasses.replace(BASELINE, keeps_bias=True, normalization=normalization, activation=activation)
    model = model_of(lambda x: keeping.convolution(x, 8, 3, name="conv"))
    x = hostile((4, 6, 6, 4)) / 50
    without = keras.ops.convert_to_numpy(model(x, training=True))
    model.get_layer("conv").bias.assign(np.linspace(0.2, 0.9, 8))
    changed = not np.allclose(keras.ops.convert_to_numpy(model(x, training=True)), without, atol=1e-3)

    sparing = dataclasses.replace(keeping, keeps_bias=False)
    for apply in (lambda x: sparing.convolution(x, 8, 3, name="linear"), lambda x: sparing.dense(x, 8, name="linear")):
        assert model_of(apply).get_layer("linear").use_bias is changed


@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_settings_reach_the_layers_of_weight_norm(use_scale, use_bias):
    settings = {"use_scale": use_scale, "use_bias": use_bias, "synchronized": use_scale, "keeps_bias": True}

    def built(normalization):
        variant = dataclasses.replace(BASELINE, normalization=normalization, **settings)
        return model_of(lambda x: variant.convolution(x, 8, 3, name="conv"))

    plain = built("weight_norm").get_layer("conv_weight_norm")
    assert (plain.use_scale, plain.layer.use_bias) == (use_scale, use_bias)
    centred = built("weight_norm_mean_only_batch_norm")
    wrapped, centre = centred.get_layer("conv_weight_norm"), centred.get_layer("conv_mean_only_batch_norm")
    assert (wrapped.use_scale, wrapped.layer.use_bias) == (use_scale, False)
    assert (centre.use_bias, centre.momentum, centre.synchronized) == (use_bias, 0.8, use_scale)
    propagated = built("normprop").get_layer("conv_normprop")
    assert (propagated.use_scale, propagated.layer.use_bias) == (use_scale, use_bias)
    assert propagated.activation is keras.activations.relu


def test_strict_weights_have_thresholds_in_place_of_scale_and_bias():
    variant = dataclasses.replace(BASELINE, normalization="weight_norm_trelu", keeps_bias=True)
    model = model_of(lambda x: variant.add([variant.convolution(x, 4, 3, name="conv"), x], name="unit"))
    assert [weight.name for weight in model.weights] == ["kernel", "threshold", "threshold"]
    assert {type(model.get_layer(name)) for name in ("conv_activation", "unit_activation")} == {trelu.TReLU}
    leveled = dataclasses.replace(variant, activation=trelu.TReLU(threshold_initializer="ones"))
    model = model_of(lambda x: leveled.convolution(x, 8, 3, name="conv"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.get_layer("conv_activation").threshold), 1)
    unactivated = model_of(lambda x: variant.convolution(x, 8, 3, name="conv", activate=False))
    assert names(unactivated) == ["conv_weight_norm"]
    with pytest.raises(ValueError, match=r"must be 'relu', 'trelu' or 'linear'\. Received: activation='tanh'"):
        model_of(lambda x: dataclasses.replace(variant, activation="tanh").convolution(x, 8, 3, name="conv"))


def test_sums_of_branches_are_activated_but_for_propagated_ones():
    """An activation on the way of the shortcut would stretch what is positive in each unit."""

    def summed(normalization):
        variant = dataclasses.replace(BASELINE, normalization=normalization)
        return model_of(lambda x: variant.add([x, 2 * x], name="unit"), (8,))

    x = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    propagated, plain = summed("normprop"), summed("none")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(propagated(x)), 3 * x / np.sqrt(2), rtol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(plain(x)), np.maximum(3 * x, 0), rtol=1e-5)
    assert type(plain.get_layer("unit_add")) is keras.layers.Add


def test_an_unactivated_convolution_keeps_no_bias_before_a_norm():
    variant = dataclasses.replace(BASELINE, normalization="batch_norm_after")
    model = model_of(lambda x: variant.convolution(x, 8, 3, name="conv", activate=False))
    assert not model.get_layer("conv").use_bias


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_padded_kernels_are_centred_on_every_stride_from_the_first_pixel(kernel_size, strides, hostile):
    x = hostile((2, 9, 8, 4))
    linear = dataclasses.replace(BASELINE, activation=None)
    model = model_of(lambda x: linear.convolution(x, 4, kernel_size, strides=strides, name="conv"), x.shape[1:])
    kernel = np.zeros((kernel_size, kernel_size, 4, 4), "float32")
    kernel[kernel_size // 2, kernel_size // 2] = np.diag([1, 2, 4, 8])
    model.get_layer("conv").set_weights([kernel, np.zeros(4)])
    # Powers of two and zeros: exact.
    np.testing.assert_array_equal(model.predict(x, verbose=0), x[:, ::strides, ::strides] * [1, 2, 4, 8])


def test_unpadded_kernels_begin_at_the_first_pixel(hostile):
    x = hostile((2, 9, 8, 4))
    linear = dataclasses.replace(BASELINE, activation=None)
    model = model_of(lambda x: linear.convolution(x, 4, 3, strides=2, padded=False, name="conv"), x.shape[1:])
    kernel = np.zeros((3, 3, 4, 4), "float32")
    kernel[0, 0] = np.eye(4)
    model.get_layer("conv").set_weights([kernel, np.zeros(4)])
    np.testing.assert_array_equal(model.predict(x, verbose=0), x[:, :-2:2, :-2:2])


def test_channels_are_last_whatever_keras_is_set_to():
    keras.config.set_image_data_format("channels_first")
    try:
        model = model_of(lambda x: BASELINE.convolution(x, 8, 3, strides=2, groups=2, name="conv"), (6, 4, 4))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert model.output_shape == (None, 3, 2, 8)


def test_each_layer_draws_its_own_kernel():
    def network(x):
        x = BASELINE.convolution(x, 4, 3, name="conv1")
        return BASELINE.convolution(x, 4, 3, name="conv2")

    model = model_of(network)
    one, other = (keras.ops.convert_to_numpy(model.get_layer(name).kernel) for name in ("conv1", "conv2"))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)


def test_classifier_is_plain():
    variant = dataclasses.replace(BASELINE, normalization="batch_norm_before")
    model = model_of(lambda x: variant.classifier(x, 7, name="classifier"), (4,))
    layer = model.get_layer("classifier")
    assert names(model) == ["classifier"]
    assert (layer.units, layer.use_bias, layer.activation) == (7, True, keras.activations.linear)


def test_dropout_of_rate_0_is_nothing():
    x = keras.Input((4,))
    assert blocks.dropout(x, 0.0, name="dropout") is x
    assert model_of(lambda x: blocks.dropout(x, 0.3, name="dropout"), (4,)).get_layer("dropout").rate == 0.3


def test_a_new_normalization_is_one_row(monkeypatch):
    """Say, one that puts its own layer in place of the linear ones and another activation behind."""

    class Halved(keras.layers.Wrapper):
        def call(self, inputs):
            return self.layer(inputs) / 2

    row = blocks.Normalization(
        linear=lambda blocks, layer, activation: Halved(layer, name=f"{layer.name}_halved"),
        has_bias=lambda blocks, activation: True,
        after=lambda blocks, activation, name: [keras.layers.ReLU(threshold=0.5, name=f"{name}_threshold")],
    )
    monkeypatch.setitem(blocks.NORMALIZATIONS, "halved", row)
    variant = dataclasses.replace(BASELINE, normalization="halved")

    def network(x):
        x = variant.convolution(x, 8, 3, name="conv")
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return variant.classifier(variant.dense(x, 8, name="fc"), 3, name="classifier")

    expected = ["conv_halved", "conv_threshold", "pool", "fc_halved", "fc_threshold", "classifier"]
    assert names(model_of(network)) == expected


def test_refuses_an_unknown_normalization():
    with pytest.raises(ValueError, match=r"`normalization` must be one of \['none', 'batch_norm_before',") as error:
        dataclasses.replace(BASELINE, normalization="foo")
    assert str(error.value).endswith("Received: normalization='foo'.")
