"""What every public layer promises. The layers stand in catalogue.py."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.layers import catalogue

TENSORFLOW = catalogue.TENSORFLOW

entries = pytest.mark.parametrize("entry", catalogue.ENTRIES, ids=lambda entry: entry.name)


def moved(layer, seed=3):
    """Moves every variable off its initial value, and off those of the others. Returns the layer."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        # Statistics as after some steps: sums of positive numbers, gathered weight 0.7.
        value = 0.7 if variable.name == "moving_weight" else rng.uniform(0.3, 2.5, variable.shape)
        variable.assign(value)
    return layer


def built(entry):
    layer = entry.make()
    layer.build(entry.input_shape)
    return moved(layer)


def outputs(layer, x, training=False):
    return ops.convert_to_numpy(ops.cast(layer(x, **accepted(layer, training)), "float32"))


def accepted(layer, training):
    return {"training": training} if "training" in inspect.signature(layer.call).parameters else {}


def in_model(layer, entry):
    inputs = keras.Input(entry.input_shape[1:])
    return keras.Model(inputs, layer(inputs))


def test_every_public_layer_is_catalogued():
    public = {getattr(layers, name) for name in layers.__all__}
    assert public == {entry.layer for entry in catalogue.ENTRIES}


@entries
def test_config_holds_every_argument_and_makes_the_same_layer(entry):
    layer = entry.make()
    config = layer.get_config()
    bases = [entry.layer, *(base for base in entry.layer.__mro__ if base.__module__.startswith("keras_norms"))]
    names = {name for base in bases for name in inspect.signature(base.__init__).parameters}
    assert names - {"self", "kwargs"} <= config.keys()
    assert type(layer).from_config(config).get_config() == config


@entries
def test_keras_file_holds_the_layer_and_its_weights(entry, hostile, tmp_path):
    x = hostile(entry.input_shape, seed=1)
    model = in_model(built(entry), entry)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))
    assert len(loaded.weights) == len(model.weights)


@entries
def test_weights_file_holds_all_variables(entry, hostile, tmp_path):
    model, other = in_model(built(entry), entry), in_model(entry.make(), entry)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@entries
def test_clone_has_fresh_variables_of_the_same_kind(entry, hostile):
    x = hostile(entry.input_shape, seed=1)
    model = in_model(built(entry), entry)
    clone = keras.models.clone_model(model)
    assert not {id(v) for v in clone.weights} & {id(v) for v in model.weights}
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(outputs(clone, x), outputs(model, x))


@pytest.mark.skipif(not TENSORFLOW, reason="SavedModels are TensorFlow's")
@entries
def test_saved_model_computes_the_same(entry, hostile, tmp_path):
    import tensorflow as tf

    x = hostile(entry.input_shape, seed=1)
    model = in_model(built(entry), entry)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.serve(x), outputs(model, x), rtol=1e-5, atol=1e-5)


@entries
def test_symbolic_shape_is_real(entry, hostile):
    layer = entry.make()
    assert layer.compute_output_shape((None, *entry.input_shape[1:])) == (None, *entry.input_shape[1:])
    symbolic = keras.Input(entry.input_shape[1:])
    assert layer(symbolic).shape == (None, *entry.input_shape[1:])
    assert outputs(layer, hostile(entry.input_shape)).shape == entry.input_shape


@entries
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_other_batch_sizes_work(entry, batch, hostile):
    layer = built(entry)
    x = hostile((batch, *entry.input_shape[1:]))
    for training in (False, True):
        result = outputs(layer, x, training)
        assert result.shape == x.shape
        assert np.isfinite(result).all()


@entries
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_weights_in_float32(entry, policy, hostile):
    keras.config.set_dtype_policy(policy)
    layer = built(entry)
    half = layer(hostile(entry.input_shape), **accepted(layer, True))
    assert keras.backend.standardize_dtype(half.dtype) == policy.removeprefix("mixed_")
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} <= {"float32"}
    assert np.isfinite(ops.convert_to_numpy(ops.cast(half, "float32"))).all()


@entries
def test_integers_are_computed_with_as_numbers(entry):
    if entry.layer is layers.GroupedConv2D:
        pytest.skip("a convolution of Keras takes no integers")
    layer = built(entry)
    pixels = np.random.default_rng(0).integers(0, 256, entry.input_shape, "uint8")
    for training in (False, True):
        as_floats = outputs(layer, pixels.astype("float32"), training)
        np.testing.assert_allclose(outputs(layer, pixels, training), as_floats, rtol=1e-4, atol=1e-4)


@entries
def test_forward_pass_writes_no_trainable_weight_and_inference_none(entry, hostile):
    layer = built(entry)
    x = hostile(entry.input_shape)
    before = [ops.convert_to_numpy(v) for v in layer.weights]
    layer(x, **accepted(layer, False))
    for variable, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    trainable = [ops.convert_to_numpy(v) for v in layer.trainable_weights]
    layer(x, **accepted(layer, True))
    for variable, value in zip(layer.trainable_weights, trainable, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


@entries
@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.skipif(not TENSORFLOW, reason="XLA of TensorFlow"))]
)
def test_every_trainable_weight_learns(entry, jit_compile, hostile):
    model = in_model(built(entry), entry)
    # Both signs in every channel, so that the slopes of activations matter too.
    x = np.random.default_rng(0).normal(0.5, 2, entry.input_shape).astype("float32")
    y = hostile(entry.input_shape, seed=9)
    before = [ops.convert_to_numpy(v) for v in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=jit_compile)
    model.fit(x, y, batch_size=len(x), epochs=1, verbose=0)
    for variable, value in zip(model.trainable_weights, before, strict=True):
        assert (ops.convert_to_numpy(variable) != value).all(), variable.path
    assert np.isfinite(outputs(model, x)).all()


@entries
def test_works_in_a_subclassed_model(entry, hostile):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = entry.make()

        def call(self, inputs):
            return self.layer(inputs)

    model = Subclassed()
    x = hostile(entry.input_shape)
    model(x)
    moved(model.layer)
    np.testing.assert_array_equal(outputs(model, x), outputs(built(entry), x))


@pytest.mark.skipif(not TENSORFLOW, reason="replicas are those of TensorFlow")
@entries
def test_trains_on_two_replicas(entry, strategy, hostile):
    if entry.input_shape[0] % 2:
        pytest.skip("an even batch is what both replicas share")
    with strategy.scope():
        model = in_model(entry.make(), entry)
        model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=False)
    x = hostile(entry.input_shape)
    model.fit(x, x, batch_size=len(x), epochs=1, verbose=0)
    assert all(np.isfinite(value).all() for value in model.get_weights())
