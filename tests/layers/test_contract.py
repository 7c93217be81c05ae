"""What every public layer promises. The layers stand in catalogue.py."""

import inspect
import json
import pickle

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests import autodiff
from tests.layers import catalogue

TENSORFLOW = catalogue.TENSORFLOW
TORCH = keras.backend.backend() == "torch"

entries = pytest.mark.parametrize("entry", catalogue.ENTRIES, ids=lambda entry: entry.name)


def moved(layer, seed=3):
    """Moves every variable off its initial value, and off those of the others. Returns the layer."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        # Statistics as after some steps: sums of positive numbers, gathered weight 0.7. Slopes learn below 1 alone.
        largest = 0.9 if variable.name == "slope" else 2.5
        value = 0.7 if variable.name == "moving_weight" else rng.uniform(0.3, largest, variable.shape)
        variable.assign(value)
    return layer


def built(entry):
    layer = entry.make()
    layer.build(entry.input_shape)
    return moved(layer)


def each(entry, function):
    """Returns what a function makes of the shape of the input, or a list for a list of shapes."""
    shapes = entry.input_shape
    return [function(shape) for shape in shapes] if isinstance(shapes, list) else function(shapes)


def example(entry, hostile, batch=None):
    """Returns an input: a hostile one, or all integers of the vocabulary."""

    def make(shape):
        shape = (shape[0] if batch is None else batch, *shape[1:])
        return np.resize(np.arange(entry.vocabulary), shape) if entry.vocabulary else hostile(shape, seed=len(shape))

    return each(entry, make)


def output_shape(entry, batch=None):
    inputs = entry.input_shape[0] if isinstance(entry.input_shape, list) else entry.input_shape
    shape = entry.output_shape or inputs
    return shape if batch is None else (batch, *shape[1:])


def accepted(layer, training):
    return {"training": training} if "training" in inspect.signature(layer.call).parameters else {}


def called(layer, x, training=False):
    return layer(x, **accepted(layer, training))


def outputs(layer, x, training=False):
    return numpy(called(layer, x, training))


def numpy(values):
    return ops.convert_to_numpy(ops.cast(values, "float32"))


def values(variables):
    return [numpy(variable) for variable in variables]


def assert_unmoved(variables, before):
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(numpy(variable), value, err_msg=variable.path)


def in_model(layer, entry):
    dtype = "int32" if entry.vocabulary else None
    inputs = each(entry, lambda shape: keras.Input(shape[1:], dtype=dtype))
    return keras.Model(inputs, layer(inputs))


def modes(entry):
    """Returns the values of `training` for which the output is the same in each call."""
    return (False,) if entry.random else (False, True)


def test_every_public_layer_is_catalogued():
    public = {getattr(layers, name) for name in layers.__all__}
    assert public == {entry.layer for entry in catalogue.ENTRIES}


# Configs.


def parameters(layer):
    """Returns the parameters of the constructors a layer has from us, by name, or else of its own."""
    bases = [
        base for base in type(layer).__mro__ if base.__module__.startswith("keras_norms") and "__init__" in vars(base)
    ]
    found = {}
    for base in bases or [type(layer)]:
        found = {**inspect.signature(base.__init__).parameters, **found}
    return {name: p for name, p in found.items() if name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def refusal(layer, config):
    """Returns what `from_config` objects to, without the copy of the whole config that Keras puts before it."""
    with pytest.raises((TypeError, ValueError)) as refused:
        type(layer).from_config(config)
    return str(refused.value).split("Exception encountered: ")[-1]


@entries
def test_config_holds_every_argument_and_makes_the_same_layer(entry):
    layer = entry.make()
    config = layer.get_config()
    assert parameters(layer).keys() <= config.keys()
    for copy in (config, pickle.loads(pickle.dumps(config)), json.loads(json.dumps(config))):
        assert type(layer).from_config(copy).get_config() == config


@entries
def test_unknown_entry_of_a_config_is_named(entry):
    layer = entry.make()
    assert "no_such_entry" in refusal(layer, {**layer.get_config(), "no_such_entry": 1})


@entries
def test_missing_entry_of_a_config_is_named(entry):
    layer = entry.make()
    required = [name for name, parameter in parameters(layer).items() if parameter.default is parameter.empty]
    for name in required:
        config = layer.get_config()
        del config[name]
        assert name in refusal(layer, config)


@entries
def test_entry_of_another_type_is_named(entry):
    layer = entry.make()
    if not type(layer).__init__.__module__.startswith("keras_norms"):
        pytest.skip("Keras' own constructor")
    for name, value in layer.get_config().items():
        if name not in parameters(layer) or not isinstance(value, bool | int | float):
            continue
        for wrong in ("wrong", 1 if isinstance(value, bool) else True, [value, value, "wrong"]):
            message = refusal(layer, {**layer.get_config(), name: wrong})
            assert f"`{name}`" in message, (name, wrong)
            assert repr(wrong) in message, (name, wrong)


# Files.


@entries
def test_keras_file_holds_the_layer_and_its_weights(entry, hostile, tmp_path):
    x = example(entry, hostile)
    model = in_model(built(entry), entry)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))
    assert len(loaded.weights) == len(model.weights)


@entries
def test_weights_file_holds_all_variables(entry, tmp_path):
    model, other = in_model(built(entry), entry), in_model(entry.make(), entry)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert_unmoved(other.weights, values(model.weights))


@entries
def test_clone_has_fresh_variables_of_the_same_kind(entry, hostile):
    x = example(entry, hostile)
    model = in_model(built(entry), entry)
    clone = keras.models.clone_model(model)
    assert not {id(v) for v in clone.weights} & {id(v) for v in model.weights}
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(outputs(clone, x), outputs(model, x))


@pytest.mark.skipif(not TENSORFLOW, reason="SavedModels are TensorFlow's")
@entries
def test_saved_model_computes_the_same(entry, hostile, tmp_path):
    import tensorflow as tf

    x = example(entry, hostile)
    model = in_model(built(entry), entry)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.serve(x), outputs(model, x), rtol=1e-5, atol=1e-5)


# Shapes and types of inputs.


@entries
def test_symbolic_shape_is_real(entry, hostile):
    layer = entry.make()
    symbolic = (None, *output_shape(entry)[1:])
    assert tuple(layer.compute_output_shape(each(entry, lambda shape: (None, *shape[1:])))) == symbolic
    assert in_model(layer, entry).output_shape == symbolic
    assert outputs(layer, example(entry, hostile)).shape == output_shape(entry)


@entries
def test_summary_names_the_layer_and_counts_its_weights(entry):
    layer, lines = entry.make(), []
    in_model(layer, entry).summary(line_length=150, print_fn=lambda line, **_: lines.append(line))
    assert layer.name in "".join(lines)
    assert f"Total params: {layer.count_params():,} " in "".join(lines)


@entries
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_other_batch_sizes_work(entry, batch, hostile):
    layer = built(entry)
    for training in (False, True):
        result = outputs(layer, example(entry, hostile, batch), training)
        assert result.shape == output_shape(entry, batch)
        assert np.isfinite(result).all()


@entries
def test_batch_without_rows_harms_nothing(entry, hostile):
    if not entry.takes_no_rows:
        pytest.skip("promises nothing for an empty batch")
    layer = built(entry)
    x, before = example(entry, hostile, batch=0), values(layer.weights)
    for training in (False, True):
        assert outputs(layer, x, training).shape == output_shape(entry, 0)
    assert_unmoved(layer.weights, before)
    for gradient in autodiff.weight_gradients(layer, x, **accepted(layer, training=True)):
        np.testing.assert_array_equal(gradient, 0)


@entries
def test_integers_are_computed_with_as_numbers(entry):
    if not entry.takes_integers or entry.vocabulary:
        pytest.skip("takes no integers, or as indices")
    rng = np.random.default_rng(0)
    pixels = each(entry, lambda shape: rng.integers(0, 256, shape, "uint8"))
    floats = keras.tree.map_structure(lambda x: x.astype("float32"), pixels)
    for training in modes(entry):
        as_floats = outputs(built(entry), floats, training)
        np.testing.assert_allclose(outputs(built(entry), pixels, training), as_floats, rtol=1e-4, atol=1e-4)


@entries
def test_channels_first_is_channels_last_transposed(entry, hostile):
    last = built(entry)
    config = last.get_config()
    if not entry.has_channels_first or config.get("axis") != -1 or len(entry.input_shape) < 3:
        pytest.skip("has its channels elsewhere, or no other place for them")
    x = example(entry, hostile)
    first = type(last).from_config({**config, "axis": 1})
    first.build(np.moveaxis(x, -1, 1).shape)
    first.set_weights(last.get_weights())
    for training in modes(entry):
        transposed = np.moveaxis(outputs(first, np.moveaxis(x, -1, 1), training), 1, -1)
        np.testing.assert_allclose(transposed, outputs(last, x, training), rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(values(first.weights), values(last.weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


# Precision and compilation.


@entries
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_weights_in_float32(entry, policy, hostile):
    keras.config.set_dtype_policy(policy)
    layer = built(entry)
    half = called(layer, example(entry, hostile), training=True)
    assert keras.backend.standardize_dtype(half.dtype) == policy.removeprefix("mixed_")
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} <= {"float32"}
    assert np.isfinite(numpy(half)).all()


@entries
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_loses_no_more_than_its_digits(entry, dtype, hostile):
    full, rng = built(entry), np.random.default_rng(0)
    x = each(entry, lambda shape: rng.normal(2, 2, shape))
    x = example(entry, hostile) if entry.vocabulary else x
    keras.config.set_dtype_policy(dtype)
    half = built(entry)
    rounded = keras.tree.map_structure(lambda a: a if entry.vocabulary else ops.cast(a, dtype), x)
    full.set_weights(values(half.weights))
    for training in modes(entry):
        y = called(half, rounded, training)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        as_full = keras.tree.map_structure(lambda a: a if entry.vocabulary else ops.cast(a, "float32"), rounded)
        expected = outputs(full, as_full, training)
        # 8 bits of bfloat16, a few times over where the layer is a convolution of Keras.
        np.testing.assert_allclose(numpy(y), expected, rtol=2**-7, atol=2**-7 * np.abs(expected).max())


@pytest.mark.skipif(TORCH, reason="nothing compiles on PyTorch")
@entries
def test_compiled_is_eager(entry, hostile):
    eager, compiled, x = built(entry), built(entry), example(entry, hostile)
    for training in modes(entry):
        expected = outputs(eager, x, training)
        np.testing.assert_allclose(run_compiled(compiled, x, training), expected, rtol=1e-3, atol=1e-3)
    for ours, theirs in zip(values(compiled.weights), values(eager.weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def run_compiled(layer, x, training):
    if TENSORFLOW:
        import tensorflow as tf

        return numpy(tf.function(lambda *inputs: called(layer, *inputs, training), jit_compile=True)(x))
    import jax

    state = [v.value for v in layer.trainable_variables], [v.value for v in layer.non_trainable_variables]
    y, rest = jax.jit(lambda *arguments: layer.stateless_call(*arguments, **accepted(layer, training)))(*state, x)
    for variable, value in zip(layer.non_trainable_variables, rest, strict=True):
        variable.assign(value)
    return numpy(y)


# States.


@entries
def test_inference_before_training_is_finite_and_repeats_itself(entry, hostile):
    layer, x = entry.make(), example(entry, hostile)
    first = outputs(layer, x)
    before = values(layer.weights)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(outputs(layer, x), first)
    assert_unmoved(layer.weights, before)


@entries
def test_forward_pass_writes_no_trainable_weight_and_inference_none(entry, hostile):
    layer, x = built(entry), example(entry, hostile)
    before = values(layer.weights)
    called(layer, x, training=False)
    assert_unmoved(layer.weights, before)
    before = values(layer.trainable_weights)
    called(layer, x, training=True)
    assert_unmoved(layer.trainable_weights, before)


@entries
def test_frozen_layer_stays_as_it_is(entry, hostile):
    layer, x = built(entry), example(entry, hostile)
    layer.trainable = False
    assert layer.trainable_weights == []
    before, inference = values(layer.weights), outputs(layer, x)
    training = outputs(layer, x, training=True)
    assert_unmoved(layer.weights, before)
    if entry.frozen_is_inference and not entry.random:
        np.testing.assert_array_equal(training, inference)


# Training.


@entries
@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.skipif(not TENSORFLOW, reason="XLA of TensorFlow"))]
)
def test_every_trainable_weight_learns(entry, jit_compile, hostile):
    model, rng = in_model(built(entry), entry), np.random.default_rng(0)
    # Both signs in every channel, so that the slopes of activations matter too.
    x = each(entry, lambda shape: rng.normal(0.5, 2, shape).astype("float32"))
    x = example(entry, hostile) if entry.vocabulary else x
    y = hostile(output_shape(entry), seed=9)
    before = values(model.trainable_weights)
    model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=jit_compile)
    model.fit(x, y, batch_size=len(y), epochs=1, verbose=0)
    for variable, value in zip(model.trainable_weights, before, strict=True):
        assert (numpy(variable) != value).all(), variable.path
    assert np.isfinite(outputs(model, x)).all()


@entries
def test_works_in_a_subclassed_model(entry, hostile):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = entry.make()

        def call(self, inputs):
            return self.layer(inputs)

    model, x = Subclassed(), example(entry, hostile)
    model(x)
    moved(model.layer)
    np.testing.assert_array_equal(outputs(model, x), outputs(built(entry), x))


@pytest.mark.skipif(not TENSORFLOW, reason="replicas are those of TensorFlow")
@entries
def test_trains_on_two_replicas(entry, strategy, hostile):
    rows = output_shape(entry)[0]
    if rows % 2:
        pytest.skip("an even batch is what both replicas share")
    with strategy.scope():
        model = in_model(entry.make(), entry)
        model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=False)
    y = hostile(output_shape(entry))
    model.fit(example(entry, hostile), y, batch_size=rows, epochs=1, verbose=0)
    assert all(np.isfinite(value).all() for value in model.get_weights())
