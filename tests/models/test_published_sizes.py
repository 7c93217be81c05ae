"""Parameters, multiply-adds and shapes of the networks beside those published. No backend changes one of them."""

import keras
import numpy as np
import pytest

from keras_norms import models

NORMALIZED = ["batch_norm_before", "batch_norm_after"]
OTHERS = ["weight_norm", "weight_norm_mean_only_batch_norm", "weight_norm_trelu", "normprop"]
# Trainable parameters, with the published classes: without normalization; with batch norm without scale and bias,
# before and after the activation; channels normalized, layers normalized; millions of multiply-adds of the trunk.
PUBLISHED = {
    "caffenet128": (13_300_072, 13_300_072, 13_300_072, 5_472, 7, 208.99),
    "caffenet128_maxout": (12_469_892, 12_469_892, 12_469_892, 3_862, 7, 221.09),
    "googlenet128": (10_232_552, 10_232_552, 10_232_552, 9_584, 61, 517.5),
    "googlenet128_bn": (14_085_240 + 12_256, 14_085_240, 14_085_240 + 12_256, 12_256, 73, 659.9),
    "resnet20": (269_034, 268_346, 268_698, 688, 19, 40.6),
    "resnet32": (465_290 - 2_272, 464_154 - 2_272, 464_154 - 2_272 + 16 + 5 * 112, 1_136, 31, 68.9),
    "resnet44": (660_170 - 3_168, 658_586 - 3_168, 658_586 - 3_168 + 16 + 7 * 112, 1_584, 43, 97.2),
    "resnet56": (855_050 - 4_064, 853_018 - 4_064, 853_018 - 4_064 + 16 + 9 * 112, 2_032, 55, 125.5),
    "resnet110": (1_732_010 - 8_096, 1_727_962 - 8_096, 1_727_962 - 8_096 + 16 + 18 * 112, 4_048, 109, 252.9),
    "resnet50": (25_503_912 + 26_560, 25_503_912, 25_503_912 + 7_616, 26_560, 53, 3_857.97),
    "alexnet": (46_764_746, 46_764_746, 46_764_746, 9_568, 7, 938.15),
}
# The totals as published, where all normalizations have scale and bias.
PUBLISHED_TOTALS = {
    "caffenet128": 13_311_016,
    "googlenet128": 10_251_720,
    "googlenet128_bn": 14_109_752,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet50": 25_557_032,
    "alexnet": 46_783_882,
}
INPUTS = {
    "caffenet128": (128, 128, 3),
    "caffenet128_maxout": (128, 128, 3),
    "googlenet128": (128, 128, 3),
    "googlenet128_bn": (128, 128, 3),
    "resnet50": (224, 224, 3),
    "alexnet": (224, 224, 1),
}
IMAGENET = [name for name, (_, _, channels) in INPUTS.items() if channels == 3]
# They take seconds to build.
SLOW = ["googlenet128_bn", "resnet50"]


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def plain():
    """Returns each network as published, without normalization."""
    return {name: models.build(name) for name in models.ARCHITECTURES}


def test_every_network_has_its_published_numbers_here():
    assert list(PUBLISHED) == list(models.ARCHITECTURES)
    # The maxout network was never published with scale and bias.
    assert set(PUBLISHED) - set(PUBLISHED_TOTALS) == {"caffenet128_maxout"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_without_normalization(name, plain):
    assert trainable(plain[name]) == plain[name].count_params() == PUBLISHED[name][0]


@pytest.mark.parametrize("normalization", NORMALIZED)
@pytest.mark.parametrize(
    ("name", "use_scale", "use_bias"),
    [
        *[(name, flag, flag) for name in PUBLISHED_TOTALS for flag in (False, True) if name not in SLOW],
        *[(name, True, True) for name in SLOW],
        # The deeper ones consist of the same units as resnet20.
        *[(name, flag, not flag) for name in ("caffenet128", "googlenet128", "resnet20") for flag in (False, True)],
    ],
)
def test_parameters_with_batch_norm(name, normalization, use_scale, use_bias):
    _, before, after, channels, layers, _ = PUBLISHED[name]
    model = models.build(name, normalization=normalization, use_scale=use_scale, use_bias=use_bias)
    base = before if normalization == "batch_norm_before" else after
    assert trainable(model) == base + channels * (use_scale + use_bias)
    # Two statistics a channel, and the weight they have gathered.
    assert model.count_params() - trainable(model) == 2 * channels + layers


@pytest.mark.parametrize("name", ["caffenet128", "googlenet128", "resnet20"])
def test_parameters_with_weight_norm_and_normprop(name):
    _, before, _, channels, _, _ = PUBLISHED[name]
    bare = before if name == "resnet20" else before - channels  # with no bias but those of the classifiers
    added = {
        "weight_norm": 2 * channels,  # scales and biases
        "weight_norm_mean_only_batch_norm": 2 * channels,
        "weight_norm_trelu": channels,  # thresholds: in a residual unit two, one of them behind the addition
        "normprop": 2 * channels,
    }
    assert list(added) == OTHERS
    for normalization, parameters in added.items():
        assert trainable(models.build(name, normalization=normalization)) == bare + parameters, normalization


@pytest.mark.parametrize("name", PUBLISHED_TOTALS)
def test_the_numbers_above_add_up_to_the_published_totals(name):
    _, before, _, channels, _, _ = PUBLISHED[name]
    assert before + 2 * channels == PUBLISHED_TOTALS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_of_the_trunk(name, plain):
    model = plain[name]
    outputs = model.output["main"] if isinstance(model.output, dict) else model.output
    # Published with the digits given.
    assert models.multiply_adds(keras.Model(model.input, outputs)) / 1e6 == pytest.approx(PUBLISHED[name][-1], abs=0.05)


def test_multiply_adds_with_the_auxiliary_classifiers(plain):
    assert models.multiply_adds(plain["googlenet128"]) / 1e6 == pytest.approx(521.1, abs=0.05)
    assert models.multiply_adds(plain["googlenet128_bn"]) / 1e6 == pytest.approx(663.0, abs=0.05)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_input_and_classes(name, plain):
    assert plain[name].input_shape == (None, *INPUTS.get(name, (32, 32, 3)))
    assert {output.shape for output in plain[name].outputs} == {(None, 1000 if name in IMAGENET else 10)}
    assert plain[name].name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_loss_weights_belong_to_the_outputs(name, plain):
    weights = models.ARCHITECTURES[name].loss_weights
    if isinstance(plain[name].output, dict):
        assert weights == {"main": 1.0, "aux1": 0.3, "aux2": 0.3}
        assert set(weights) == set(plain[name].output)
    else:
        assert weights is None
