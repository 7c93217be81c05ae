import re

import keras
import numpy as np
import pytest

from keras_norms import initializers, models

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


def test_names_do_not_depend_on_what_was_built_before():
    one, other = (models.build("googlenet128", classes=2, normalization="batch_norm_before") for _ in range(2))
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    assert [weight.path for weight in one.weights] == [weight.path for weight in other.weights]


@pytest.mark.parametrize(
    ("name", "shape", "normalization"),
    [
        *[
            (name, shape, normalization)
            for name, shape in [
                ("resnet20", (8, 8, 3)),
                ("resnet20", (1, 1, 1)),
                ("resnet20", (9, 14, 1)),
                ("caffenet128", (39, 39, 1)),
                ("caffenet128", (47, 62, 4)),
                ("googlenet128", (79, 79, 1)),
                ("googlenet128", (82, 95, 3)),
            ]
            for normalization in ("none", *NORMALIZED)
        ],
        ("caffenet128_maxout", (39, 40, 3), "batch_norm_after"),
        ("googlenet128_bn", (7, 8, 1), "batch_norm_before"),
        ("resnet50", (3, 4, 3), "batch_norm_before"),
        ("alexnet", (67, 70, 1), "batch_norm_before"),
    ],
)
def test_images_of_many_sizes_give_finite_logits(name, shape, normalization, moved, predicted):
    # With a ReLU the few numbers that remain of the smallest images may all be zeros.
    model = moved(models.build(name, shape, classes=3, normalization=normalization, activation="elu"))
    logits = predicted(model, np.random.default_rng(0).normal(5, 20, (2, *shape)).astype("float32"))
    assert logits.shape == (2, 9 if name.startswith("googlenet") else 3)
    assert np.isfinite(logits).all()
    assert not np.array_equal(logits[0], logits[1])  # one pixel tells less and less through 20 saturating layers


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_minimum_size_is_the_smallest(name):
    """One pixel less and Keras cannot build the network; one pixel less and we say so first."""
    architecture = models.ARCHITECTURES[name]
    side = architecture.minimum_size
    if side > 1:
        rates = dict.fromkeys(architecture.dropout, 0)
        with pytest.raises(ValueError, match=r"^(?!`input_shape`)"):
            architecture.network(architecture.blocks, keras.Input((side - 1, side - 1, 3)), 2, rates)
    for shape in ((side - 1, side, 3), (side, side - 1, 3)):
        with pytest.raises(ValueError, match=rf"`input_shape` must .* Received: input_shape={re.escape(str(shape))}"):
            models.build(name, shape)


@pytest.mark.parametrize(
    ("name", "shape", "normalization"),
    [
        *[("resnet20", (8, 8, 3), normalization) for normalization in models.NORMALIZATIONS],
        ("caffenet128", (39, 39, 3), "batch_norm_after"),
        ("caffenet128", (39, 39, 3), "normprop"),
        ("googlenet128", (79, 80, 3), "batch_norm_before"),
    ],
)
def test_saved_and_cloned_models_give_the_same_logits(name, shape, normalization, moved, predicted, hostile, tmp_path):
    model = moved(models.build(name, shape, classes=3, normalization=normalization))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = hostile((2, *shape))
    logits = predicted(model, x)
    np.testing.assert_array_equal(predicted(loaded, x), logits)
    np.testing.assert_array_equal(predicted(clone, x), logits)
    assert logits.std() > 0


@pytest.mark.parametrize("activation", [keras.layers.LeakyReLU(negative_slope=0.3), "softplus", keras.activations.silu])
@pytest.mark.parametrize("normalization", ["none", *NORMALIZED])
def test_activations_of_all_kinds_are_saved(activation, normalization, moved, predicted, hostile, tmp_path):
    model = moved(models.build("resnet20", (8, 8, 3), normalization=normalization, activation=activation))
    model.save(tmp_path / "model.keras")
    # Small numbers: far from zero these activations are all alike.
    x = hostile((2, 8, 8, 3)) / 300
    logits = predicted(model, x)
    np.testing.assert_array_equal(predicted(keras.models.load_model(tmp_path / "model.keras"), x), logits)
    relu = models.build("resnet20", (8, 8, 3), normalization=normalization)
    relu.set_weights(model.get_weights())
    assert abs(predicted(relu, x) - logits).max() > 0.1 * logits.std()


@pytest.mark.parametrize(
    ("name", "shape", "normalization"),
    [
        *[("resnet20", (8, 8, 3), normalization) for normalization in models.NORMALIZATIONS],
        ("caffenet128", (64, 64, 3), "batch_norm_after"),
        ("caffenet128", (64, 64, 3), "weight_norm_trelu"),
        ("googlenet128", (79, 79, 3), "none"),
    ],
)
def test_a_step_moves_every_trainable_weight(name, shape, normalization, moved, hostile):
    model = moved(models.build(name, shape, classes=3, normalization=normalization, dropout=0))
    loss, labels = keras.losses.SparseCategoricalCrossentropy(from_logits=True), np.array([0, 1, 2, 0])
    if isinstance(model.output, dict):
        loss, labels = (dict.fromkeys(model.output, one) for one in (loss, labels))
    model.compile(keras.optimizers.SGD(0.1), loss)
    before = model.get_weights()
    model.train_on_batch(hostile((4, *shape)) / 30, labels)
    unmoved = [
        weight.path for weight, old in zip(model.weights, before, strict=True) if np.array_equal(weight.numpy(), old)
    ]
    assert unmoved == []


def test_auxiliary_losses_weigh_as_published(moved, hostile, predicted):
    model = moved(models.build("googlenet128", (79, 79, 3), classes=3, dropout=0))
    # Keras wants a loss for each output before it weighs them.
    losses = dict.fromkeys(model.output, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.compile("sgd", losses, loss_weights=models.ARCHITECTURES["googlenet128"].loss_weights)
    x, labels = hostile((4, 79, 79, 3)) / 300, np.array([0, 1, 2, 0])
    loss = model.evaluate(x, dict.fromkeys(model.output, labels), verbose=0, return_dict=True)["loss"]
    logits = predicted(model, x).astype("float64").reshape(4, 3, 3)  # image, output by name (aux1, aux2, main), class
    logits -= logits.max(-1, keepdims=True)
    entropies = np.log(np.exp(logits).sum(-1)) - logits[np.arange(4), :, labels]
    assert loss == pytest.approx(np.dot([0.3, 0.3, 1.0], entropies.mean(0)), rel=1e-4)


@pytest.mark.parametrize(("name", "places"), [("caffenet128", 2), ("googlenet128", 3), ("resnet20", 1)])
def test_a_given_dropout_replaces_every_rate(name, places):
    for rate, expected in ((0.25, places), (0, 0), (0.0, 0)):
        model = models.build(name, classes=2, dropout=rate)
        rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert rates == [rate] * expected


def test_linear_networks_have_no_activations():
    model = models.build("resnet20", activation="linear", normalization="batch_norm_after")
    assert not [layer.name for layer in model.layers if "activation" in layer.name]
    # Its norms stand right behind the convolutions.
    assert trainable(model) == 269_722


# JAX takes a minute and a half to compile GoogLeNet128 twice.
@pytest.mark.parametrize("name", ["resnet20", *(["googlenet128"] if keras.backend.backend() != "jax" else [])])
def test_mixed_precision_keeps_weights_in_float32(name, moved, predicted, hostile):
    shape = (8, 8, 3) if name == "resnet20" else (79, 79, 3)
    arguments = {"input_shape": shape, "classes": 3, "normalization": "batch_norm_after"}
    model = moved(models.build(name, **arguments))
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = models.build(name, **arguments)
    mixed.set_weights(model.get_weights())
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in mixed.weights} == {"float32"}
    x = hostile((2, *shape)) / 30
    expected = predicted(model, x)
    # 8 bits a number, through all layers.
    np.testing.assert_allclose(predicted(mixed, x), expected, atol=0.1 * abs(expected).max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "foo"}, "`name` must be one of ['caffenet128', 'caffenet128_maxout', 'googlenet128', "
         "'googlenet128_bn', 'resnet20', 'resnet32', 'resnet44', 'resnet56', 'resnet110', 'resnet50', 'alexnet']. "
         "Received: name='foo'."),
        ({"normalization": "foo"}, "`normalization` must be one of ['none', 'batch_norm_before', "
         "'batch_norm_before_scalar', 'batch_norm_after', 'weight_norm', 'weight_norm_mean_only_batch_norm', "
         "'weight_norm_trelu', 'normprop']. Received: normalization='foo'."),
        ({"activation": "foo"}, "`activation` must be the name of a Keras activation such as 'relu' ('linear' for "
         "none), one of ['prelu', 'prelu_0.3', 'rrelu', 'rrelu_10_30', 'divisor_rrelu', 'vlrelu', 'trelu', 'tprelu'], "
         "a callable or a Keras layer. "
         "Received: activation='foo'."),
        ({"name": "caffenet128", "input_shape": (38, 128, 3)}, "`input_shape` must have a height and width of at least "
         "39 for caffenet128. Received: input_shape=(38, 128, 3)."),
        ({"name": "googlenet128", "input_shape": [128, 78, 3]}, "`input_shape` must have a height and width of at "
         "least 79 for googlenet128. Received: input_shape=[128, 78, 3]."),
        *[({"input_shape": shape}, "`input_shape` must be (height, width, channels), three integers above 0. "
           f"Received: input_shape={shape!r}.")
          for shape in [(32, 32), (None, 32, 3), (32, 32, 0), (0, 32, 3), (32.0, 32, 3), 32, "abc", (1, 32, 32, 3)]],
        *[({"classes": classes}, f"`classes` must be an integer, at least 2. Received: classes={classes!r}.")
          for classes in [1, 0, -3, 10.0, "10"]],
        *[({"dropout": rate}, "`dropout` must be a rate in [0, 1), or None for the published rates. "
           f"Received: dropout={rate!r}.")
          for rate in [1, -0.1, 1.5, float("nan"), "0.5"]],
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_built(arguments, message, monkeypatch):
    monkeypatch.setattr(keras, "Input", None)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        models.build(**{"name": "resnet20", **arguments})
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["resnet20", "resnet44"])
def test_normprop_keeps_the_variance_through_the_depth(name, output_of):
    model = models.build(name, (16, 16, 3), normalization="normprop")
    x = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    # Zero padding takes some away along the borders, and new channels are zeros.
    for unit in ("stage1_unit3", f"stage2_unit{2 if name == 'resnet20' else 6}", "stage3_unit3"):
        assert 0.4 < output_of(model, f"{unit}_add", x).std() < 1.5, unit


def test_residual_weight_norm_tames_the_deepest_network(predicted):
    model = models.build("resnet110", (8, 8, 3), normalization="weight_norm")
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
    assert predicted(model, x).std() > 1e4
    initializers.residual_weight_norm(model, {".*conv2": 1 / 18})
    assert 0.01 < predicted(model, x).std() < 1
