import re

import keras
import numpy as np
import pytest

from keras_norms import initializers, models

NORMALIZED = ["batch_norm_before", "batch_norm_after"]


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


@pytest.mark.parametrize("name", models.ARCHITECTURES)
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
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 269_722


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
