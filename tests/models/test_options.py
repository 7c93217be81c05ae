import dataclasses
import re

import keras
import pytest

from keras_norms import models

OPTIONS = {"width": (4, 8), "deep": (False, True)}


def network(blocks, images, classes, rates, **options):
    x = keras.layers.GlobalAveragePooling2D(name="pool")(images)
    x = blocks.dense(x, options.pop("width"), name="fc1")
    x = blocks.dense(x, 3, name="fc2") if options.pop("deep") else x
    assert not options
    return blocks.classifier(x, classes, name="classifier")


@pytest.fixture(autouse=True)
def optional(monkeypatch):
    """Adds an architecture "optional" whose authors chose a TanH and to keep all biases."""
    resnet = models.ARCHITECTURES["resnet20"]
    blocks = dataclasses.replace(resnet.blocks, activation="tanh", keeps_bias=True)
    architecture = dataclasses.replace(resnet, network=network, blocks=blocks, options=OPTIONS)
    monkeypatch.setitem(models.ARCHITECTURES, "optional", architecture)


@pytest.mark.parametrize(
    ("options", "units"),
    [
        (None, [4, 10]),
        ({}, [4, 10]),
        ({"width": 8}, [8, 10]),
        ({"deep": True}, [4, 3, 10]),
        ({"deep": True, "width": 8}, [8, 3, 10]),
    ],
)
def test_options_reach_the_network_and_the_first_value_is_published(options, units):
    model = models.build("optional", options=options)
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == units


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("optional", {"wdth": 8}, "optional has no option `wdth`; the nearest of ['width', 'deep'] is `width`. "
         "Received: options={'wdth': 8}."),
        ("optional", {"width": 5}, "The option `width` of optional must be one of (4, 8). "
         "Received: options={'width': 5}."),
        ("optional", {"deep": 1}, "The option `deep` of optional must be one of (False, True). "
         "Received: options={'deep': 1}."),
        ("optional", {"width": [4]}, "The option `width` of optional must be one of (4, 8). "
         "Received: options={'width': [4]}."),
        ("optional", ["width"], "`options` must be a mapping from names to values. Received: options=['width']."),
        ("googlenet128", {"deep": True}, "googlenet128 has no options. Received: options={'deep': True}."),
    ],
)  # fmt: skip
def test_bad_options_are_refused_before_anything_is_built(name, options, message, monkeypatch):
    monkeypatch.setattr(keras, "Input", None)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        models.build(name, options=options)
    assert str(error.value) == message


def test_activation_is_the_published_one_unless_another_is_given():
    for activation, expected in ((None, "tanh"), ("relu", "relu"), ("elu", "elu")):
        layer = models.build("optional", activation=activation).get_layer("fc1_activation")
        assert layer.activation is keras.activations.get(expected)
    linear = models.build("optional", activation="linear")
    assert not [layer.name for layer in linear.layers if "activation" in layer.name]


@pytest.mark.parametrize(("keeps_bias", "biased"), [(None, True), (True, True), (False, False)])
def test_biases_are_kept_as_published_unless_told_otherwise(keeps_bias, biased):
    model = models.build("optional", normalization="batch_norm_before", keeps_bias=keeps_bias)
    assert model.get_layer("fc1").use_bias is biased
    resnet = models.build("resnet20", normalization="batch_norm_before", keeps_bias=keeps_bias)
    assert resnet.get_layer("stem").use_bias is bool(keeps_bias)
    # Keeping them is published with 270,410 parameters.
    assert resnet.count_params() - 2 * 688 - 19 == (270_410 if keeps_bias else 269_722)
