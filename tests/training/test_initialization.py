import keras
import numpy as np
import pytest

from keras_norms import models, training
from keras_norms.data import pipeline
from keras_norms.initializers import linear_layers
from keras_norms.models import resnet50, resnet_cifar
from keras_norms.recipes import Recipe
from keras_norms.recipes.recipe import INITIALIZATIONS
from keras_norms.training import initialization


def network(recipe, size=16):
    return models.build(
        recipe.arch,
        input_shape=(size, size, 3),
        classes=6,
        normalization=recipe.normalization,
        activation=recipe.activation,
        options=dict(recipe.options),
    )


def initialized(recipe, images, seed=0):
    model = network(recipe, images.shape[1])
    return model, initialization.initialize(model, recipe, images, seed)


def outputs(model, name, images):
    return np.array(keras.Model(model.input, model.get_layer(name).output)(images), "float64")


def kernels(model):
    """Returns the kernels of the convolutions and dense layers by name, an output a column."""
    linear = [linear_layers.base(layer) for layer in model.layers if linear_layers.is_linear(layer)]
    return {layer.name: np.reshape(layer.kernel, (-1, layer.kernel.shape[-1])) for layer in linear}


def scales(model):
    """Returns the scales of layers with weight norm by the name of what is wrapped, one number where all are equal."""
    found = {}
    for layer in model.layers:
        if linear_layers.normalized(layer):
            values = linear_layers.read(linear_layers.scale(layer))
            np.testing.assert_array_equal(values, values.flat[0])
            found[linear_layers.base(layer).name] = float(values.flat[0])
    return found


def test_every_initialization_of_recipes_is_here():
    assert tuple(initialization._INITIALIZATIONS) == INITIALIZATIONS


@pytest.mark.parametrize("normalization", ["none", "batch_norm_before"])
def test_orthonormal_kernels_are_not_rescaled(hostile, normalization):
    recipe = Recipe("tiny", normalization=normalization, initialization="orthonormal")
    model, told = initialized(recipe, hostile((20, 16, 16, 3)))
    assert set(kernels(model)) == {"conv1", "conv2", "main", "aux"}
    for name, kernel in kernels(model).items():
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(kernel.shape[1]), atol=1e-5)
        assert name in str(told)


@pytest.mark.parametrize("name", ["orthonormal", "lsuv"])
def test_seed_draws_the_kernels(hostile, name):
    recipe, images = Recipe("tiny", normalization="none", initialization=name), hostile((20, 16, 16, 3))
    one, same, other = (kernels(initialized(recipe, images, seed)[0])["conv1"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other, atol=1e-2 * abs(one).max())


@pytest.mark.parametrize(("normalization", "suffix"), [("none", ""), ("weight_norm", "_weight_norm")])
def test_variance_is_one_in_front_of_activations(hostile, normalization, suffix):
    recipe, images = Recipe("tiny", normalization=normalization, initialization="lsuv"), hostile((20, 16, 16, 3))
    model, told = initialized(recipe, images)
    for name in (f"conv1{suffix}", f"conv2{suffix}", "main", "aux"):
        assert outputs(model, name, images).var() == pytest.approx(1, abs=1e-3)
    assert "variance" in str(told)


@pytest.mark.parametrize("activation", [None, "elu", "prelu_0.3", "rrelu_10_30", "trelu", "tprelu"])
def test_variance_is_one_behind_activations_and_at_classifiers(hostile, activation):
    recipe = Recipe("tiny", normalization="none", activation=activation, initialization="lsuv_after_activation")
    images = hostile((20, 16, 16, 3))
    model, _ = initialized(recipe, images)
    # The tolerance of `initializers.lsuv`.
    for name in ("conv1_activation", "conv2_activation", "main", "aux"):
        assert outputs(model, name, images).var() == pytest.approx(1, abs=0.02)
    for name in ("conv1", "conv2"):
        assert abs(outputs(model, name, images).var() - 1) > 0.05


def test_variance_is_one_behind_nothing_where_no_activation_is(hostile):
    recipe = Recipe("tiny", normalization="none", activation="linear", initialization="lsuv_after_activation")
    images = hostile((20, 16, 16, 3))
    model, _ = initialized(recipe, images)
    assert outputs(model, "conv1", images).var() == pytest.approx(1, abs=1e-3)


def test_each_unit_of_weight_norm_has_mean_zero_and_deviation_one(hostile):
    recipe, images = Recipe("tiny", normalization="weight_norm", initialization="weight_norm"), hostile((20, 16, 16, 3))
    model, _ = initialized(recipe, images)
    for name in ("conv1_weight_norm", "conv2_weight_norm"):
        seen = outputs(model, name, images)
        # The first layer's inputs have means of up to 50.
        np.testing.assert_allclose(seen.mean((0, 1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(seen.std((0, 1, 2)), 1, rtol=1e-3)


@pytest.fixture
def narrow(monkeypatch):
    """Residual networks with fewer channels, and units in another number a stage."""
    monkeypatch.setattr(resnet_cifar, "STAGES", (4, 8, 8))
    monkeypatch.setattr(resnet50, "STAGES", ((4, 3), (8, 2)))


@pytest.mark.parametrize("normalization", ["weight_norm", "weight_norm_mean_only_batch_norm"])
@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_scales_of_residual_units_have_the_gains_of_their_roles(narrow, normalization, shortcut):
    recipe = Recipe(
        "resnet20",
        normalization=normalization,
        options=[("shortcut", shortcut)],
        initialization="residual_weight_norm",
    )
    model, _ = initialized(recipe, np.zeros((2, 8, 8, 3), "float32"))
    # sqrt(gain * input channels / output channels), by hand.
    expected = {"stem": (2 * 3 / 4) ** 0.5}
    for stage, (entering, filters) in enumerate([(4, 4), (4, 8), (8, 8)], start=1):
        for unit in (1, 2, 3):
            expected[f"stage{stage}_unit{unit}_conv1"] = (2 * (entering if unit == 1 else filters) / filters) ** 0.5
            expected[f"stage{stage}_unit{unit}_conv2"] = (1 / 3) ** 0.5
    if shortcut == "projection":  # where channels or pixels change their number
        expected |= {"stage2_unit1_projection": (4 / 8) ** 0.5}
        expected |= {"stage3_unit1_projection": 1.0}
    assert scales(model) == pytest.approx(expected)


def test_scales_of_bottlenecks_have_the_gains_of_their_roles(narrow):
    recipe = Recipe("resnet50", normalization="weight_norm", initialization="residual_weight_norm")
    model, _ = initialized(recipe, np.zeros((2, 32, 32, 3), "float32"))
    expected = {"stem": (2 * 3 / 64) ** 0.5}
    channels = 64
    for stage, (width, units) in enumerate([(4, 3), (8, 2)], start=1):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            expected[f"{name}_conv1"] = (2 * channels / width) ** 0.5
            expected[f"{name}_conv2"] = 2**0.5
            expected[f"{name}_conv3"] = (1 / units * width / (4 * width)) ** 0.5
            if unit == 1:
                expected[f"{name}_projection"] = (channels / (4 * width)) ** 0.5
            channels = 4 * width
    assert scales(model) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["weight_norm", "residual_weight_norm"])
@pytest.mark.parametrize("arch", ["tiny", "resnet20"])
def test_network_without_weight_norm_is_refused(narrow, arch, name):
    recipe = Recipe(arch, normalization="batch_norm_before", initialization=name)
    with pytest.raises(ValueError, match=r"must have a `WeightNormalization` layer\. Received: "):
        initialized(recipe, np.zeros((2, 16, 16, 3), "float32"))


class StopError(Exception):
    """Raised before the first step."""


def at_the_start(settings):
    """Starts a run that fails after its checkpoint of step 0. Returns the weights of each replica then."""
    run, found = training.Run(settings), []

    def stop(logs=None):
        for variable in run.model.variables:
            found.append([part.numpy() for part in run.strategy.experimental_local_results(variable.value)])
        raise StopError

    with pytest.raises(StopError):
        run.train([keras.callbacks.LambdaCallback(on_train_begin=stop)])
    return found


def test_the_first_checkpoint_has_the_initialized_weights(settings):
    made = settings(normalization="none", initialization="lsuv")
    at_the_start(made)
    run = training.Run(made)
    assert not run.state.is_new
    run.state.restore(is_chief=True)
    assert int(run.state.position.step) == 0
    images, _, _ = next(iter(pipeline.training_batches(run.dataset, run.prepare, 50, made.seed)))
    for name in ("conv1", "conv2", "main", "aux"):
        assert outputs(run.model, name, images).var() == pytest.approx(1, abs=1e-3)
        assert name in (made.folder / "initialization.txt").read_text()


def test_recipe_without_an_initialization_says_nothing_of_it(settings):
    made = settings(normalization="none")
    at_the_start(made)
    assert not (made.folder / "initialization.txt").exists()


@pytest.mark.parametrize(
    ("name", "normalization"), [("lsuv_after_activation", "batch_norm_before"), ("weight_norm", "weight_norm")]
)
def test_replicas_start_with_the_weights_that_one_would(settings, name, normalization):
    one, two = (
        at_the_start(settings(str(n), normalization=normalization, initialization=name, replicas=n)) for n in (1, 2)
    )
    for (alone,), (first, second) in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, alone)
        np.testing.assert_array_equal(second, alone)
    plain = at_the_start(settings("plain", normalization=normalization))
    assert any(not np.array_equal(value, initial) for (value,), (initial,) in zip(one, plain, strict=True))


def test_what_is_not_initialized_is_what_the_seed_says(settings):
    one, plain = (
        at_the_start(settings(str(name), normalization="weight_norm", initialization=name, seed=3))
        for name in ("weight_norm", None)
    )
    kept = [np.array_equal(value, initial) for (value,), (initial,) in zip(one, plain, strict=True)]
    # Directions and classifiers; scales and biases of the convolutions are new.
    assert all(same for same, (value,) in zip(kept, one, strict=True) if value.ndim > 1)
    assert kept.count(False) == 4


class Losses(keras.callbacks.Callback):
    """Keeps the mean loss so far after every step, and may interrupt as Ctrl-C does."""

    def __init__(self, interrupt_after=None):
        super().__init__()
        self.seen, self._interrupt_after = [], interrupt_after

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(logs["loss"])
        if len(self.seen) == self._interrupt_after:
            raise KeyboardInterrupt


def test_resumed_run_is_not_initialized_again(settings, monkeypatch):
    calls, real = [], initialization.initialize
    monkeypatch.setattr(initialization, "initialize", lambda *arguments: calls.append(1) or real(*arguments))
    differences = {"initialization": "lsuv", "dropout": 0.3, "steps": 4}
    whole, before, after = Losses(), Losses(interrupt_after=2), Losses()
    expected = training.Run(settings("whole", **differences)).train([whole])
    assert len(calls) == 1
    with pytest.raises(training.Interrupted):
        training.Run(settings("broken", **differences)).train([before])
    assert len(calls) == 2
    outcome = training.Run(settings("broken", **differences)).train([after])
    training.Run(settings("broken", **differences)).train()
    assert len(calls) == 2
    assert before.seen + after.seen == whole.seen
    for ours, theirs in zip(outcome.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_run_that_fails_before_its_first_checkpoint_is_initialized_again(settings, monkeypatch):
    made = settings(normalization="none", initialization="lsuv")
    expected = at_the_start(settings("expected", normalization="none", initialization="lsuv"))
    with monkeypatch.context() as broken:
        broken.setattr("keras_norms.training.state.State.restore", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            training.Run(made).train()
    for (ours,), (theirs,) in zip(at_the_start(made), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_run_of_a_network_without_anything_to_initialize_is_refused(settings):
    with pytest.raises(ValueError, match="must have a `WeightNormalization` layer"):
        training.Run(settings(normalization="none", initialization="weight_norm")).train()


@pytest.mark.parametrize(
    "differences",
    [
        {"crop": False},
        {"flip": False},
        {"batch_size": 600, "drop_remainder": False},  # of 500 images
    ],
    ids=str,
)
def test_images_are_those_of_the_first_training_batch(settings, monkeypatch, differences):
    seen, real = [], initialization.initialize
    monkeypatch.setattr(initialization, "initialize", lambda *arguments: seen.append(arguments[2]) or real(*arguments))
    made = settings(normalization="none", initialization="lsuv", **differences)
    run = training.Run(made)
    images, _, weights = next(run._training_batches(0))
    at_the_start(made)
    np.testing.assert_array_equal(seen[0], images[weights > 0])
