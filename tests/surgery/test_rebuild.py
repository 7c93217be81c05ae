import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_norms.layers import BatchNorm, BatchNormBefore, WeightNormalization
from keras_norms.surgery import rebuild

NORMS = (layers.BatchNormalization, BatchNorm)


def moved(model, seed=0):
    """Moves every weight off its start: variances from 0.5 to 1.5, the others around 0."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(size=weight.shape) * (1 + np.prod(weight.shape[:-1])) ** -0.5
        positive = any(name in weight.path for name in ("variance", "moving_weight", "gamma"))
        weight.assign(0.5 + rng.uniform(size=weight.shape) if positive else value)
    return model


def examples(model, seed=1):
    rng = np.random.default_rng(seed)
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(lambda x: rng.normal(size=(2, *x.shape[1:])).astype(x.dtype), inputs)


def assert_same(new, model):
    assert_equal(new, model)
    # What stands before these two depends on where Keras has built the layer.
    assert [weight.path.split("/")[-2:] for weight in new.weights] == [
        weight.path.split("/")[-2:] for weight in model.weights
    ]
    assert [weight.trainable for weight in new.weights] == [weight.trainable for weight in model.weights]
    assert {id(v) for v in new.variables}.isdisjoint({id(v) for v in model.variables})


def assert_equal(new, model):
    assert type(new) is type(model)
    assert new.name == model.name
    assert list(rebuild.layers_of(new)) == list(rebuild.layers_of(model))
    x = examples(model)
    keras.tree.assert_same_structure(new(x), model(x))
    for after, before in zip(keras.tree.flatten(new(x)), keras.tree.flatten(model(x)), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(after), ops.convert_to_numpy(before), rtol=1e-5, atol=1e-6)
        assert after.dtype == before.dtype


def sequential():
    return keras.Sequential([layers.Input((6,), name="features"), layers.Dense(4), layers.BatchNormalization()])


def nested():
    block = keras.Sequential([layers.Dense(6, name="dense"), BatchNorm(name="norm")], name="block")
    body_input = keras.Input((6,))
    body = keras.Model(body_input, layers.Add()([block(body_input), body_input]), name="body")
    x = keras.Input((6,), name="features")
    return keras.Model(x, layers.Dense(2, name="head")(body(x)), name="whole")


def shared():
    x = keras.Input((6,))
    dense, norm = layers.Dense(6), layers.BatchNormalization()
    return keras.Model(x, norm(dense(norm(dense(x)))))


def shared_model():
    block = keras.Sequential([layers.Dense(3), layers.BatchNormalization()], name="block")
    x, y = keras.Input((6,), name="x"), keras.Input((6,), name="y")
    return keras.Model([x, y], [block(x), layers.Subtract()([block(x), block(y)])])


def shared_across():
    """A layer in a model that stands in another, and in that one, too."""
    dense, inner, x = layers.Dense(6), keras.Input((6,)), keras.Input((6,), name="features")
    body = keras.Model(inner, dense(layers.ReLU()(dense(inner))), name="body")
    return keras.Model(x, dense(body(x)))


def dicts():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b", dtype="float16")}
    total = inputs["a"] + ops.cast(inputs["b"], "float32") * 2.0
    # An input is among the outputs; an operation, not a layer, among the steps.
    return keras.Model(inputs, {"sum": layers.Dense(3)(total), "max": ops.max(total, axis=-1), "a": inputs["a"]})


def mixed():
    x = keras.Input((6, 6, 3))
    y = layers.Conv2D(4, 3, dtype="mixed_float16")(x)
    y = layers.BatchNormalization(dtype="mixed_float16")(y)
    return keras.Model(x, layers.Dense(2, dtype="float32")(layers.Flatten()(y)))


def wrapped():
    x = keras.Input((5, 6))
    inner = keras.Sequential([layers.Dense(4, name="dense"), layers.BatchNormalization(name="norm")], name="inner")
    y = layers.TimeDistributed(inner, name="times")(x)
    y = layers.Bidirectional(layers.LSTM(3))(y)
    return keras.Model(x, WeightNormalization(layers.Dense(2, name="dense"), name="weight_norm")(y))


def masked():
    x = keras.Input((5, 6))
    y = layers.Masking()(x)
    y = BatchNormBefore(layers.PReLU(shared_axes=[1]))(y)
    return keras.Model(x, layers.LSTM(3)(y))


def preprocessed():
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(size=(50, 6)) * 4 + 7)
    return keras.Sequential([layers.Input((6,)), normalization, layers.Dense(2)])


def unregistered():
    def cube(x):
        return x**3

    class Twice(layers.Layer):
        def call(self, inputs):
            return 2 * inputs

        def compute_output_shape(self, input_shape):
            return input_shape

    x = keras.Input((5, 6))
    y = layers.TimeDistributed(Twice())(layers.Activation(cube)(x))
    return keras.Model(x, layers.Lambda(lambda x: np.float32(3) * x)(y))


MODELS = [
    sequential,
    nested,
    shared,
    shared_model,
    shared_across,
    dicts,
    mixed,
    wrapped,
    masked,
    preprocessed,
    unregistered,
]


@pytest.mark.parametrize("make", MODELS)
def test_nothing_replaced_is_the_same_model(make):
    model = make()
    if make is not preprocessed:
        moved(model)
    assert_same(rebuild.rebuilt(model), model)


@pytest.mark.parametrize("make", [sequential, nested, shared, shared_model, dicts, mixed, masked])
def test_what_is_made_saves_and_loads(make, tmp_path):
    new = rebuild.rebuilt(moved(make()))
    new.save(tmp_path / "new.keras")
    assert_equal(keras.models.load_model(tmp_path / "new.keras"), new)


def test_trainable_flags_are_those_given():
    model = nested()
    paths = rebuild.layers_of(model)
    model.trainable = False
    paths["body/block/norm"].trainable = True
    paths["body/block/norm"].bias.trainable = False
    new = rebuild.rebuilt(model)
    assert_same(new, model)
    flags = {path: layer.trainable for path, layer in rebuild.layers_of(new).items()}
    assert flags == {path: layer.trainable for path, layer in paths.items()}
    assert not new.trainable
    assert flags["body/block/norm"]
    assert not flags["head"]


def test_the_flags_of_models_in_models_are_those_given():
    model = nested()
    model.trainable = False
    model.get_layer("body").trainable = True
    model.get_layer("body").get_layer("block").trainable = False
    new = rebuild.rebuilt(model)
    assert [layer.trainable for layer in rebuild.nested(new)] == [layer.trainable for layer in rebuild.nested(model)]
    assert_same(new, model)


def test_the_flags_of_new_layers_stay():
    model = nested()
    model.trainable = False
    new_head = layers.Dense(2, name="head")
    frozen = layers.Dense(6, name="dense", trainable=False)
    paths = rebuild.layers_of(model)
    rebuild.rebuilt(model, {id(paths["head"]): new_head, id(paths["body/block/dense"]): frozen})
    assert new_head.trainable
    assert new_head.kernel.trainable
    assert not frozen.trainable
    assert not frozen.kernel.trainable


def test_the_given_model_stays_as_it_is():
    model = moved(nested())
    model.compile("sgd", "mse")
    before = [ops.convert_to_numpy(v) for v in model.variables]
    config, optimizer = model.to_json(), model.optimizer
    new = rebuild.rebuilt(
        model, {id(layer): None for layer in rebuild.layers_of(model).values() if layer.name == "norm"}
    )
    assert model.to_json() == config
    assert model.optimizer is optimizer
    assert model.compiled
    assert not new.compiled
    for after, expected in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(after), expected)


def test_paths_say_where_a_layer_is():
    paths = [path for path in rebuild.layers_of(nested()) if "add" not in path]
    assert paths == ["body/block/dense", "body/block/norm", "head"]
    paths = list(rebuild.layers_of(wrapped()))
    assert paths[:3] == ["times", "times/inner/dense", "times/inner/norm"]
    assert paths[-2:] == ["weight_norm", "weight_norm/dense"]


def test_a_layer_in_two_places_has_one_path():
    assert len(rebuild.layers_of(shared_model())) == 3


@pytest.mark.parametrize("make", [sequential, nested, shared, shared_model, wrapped])
def test_layers_are_left_out_at_any_depth(make):
    model = moved(make())
    (norm,) = [layer for layer in rebuild.layers_of(model).values() if isinstance(layer, NORMS)]
    new = rebuild.rebuilt(model, {id(norm): None})
    assert len(rebuild.layers_of(new)) == len(rebuild.layers_of(model)) - 1
    # As if the batch norm were the identity.
    ones = ("gamma", "scale", "variance", "weight")
    norm.set_weights([np.full(w.shape, any(name in w.path for name in ones)) for w in norm.weights])
    norm.epsilon = 0.0
    x = examples(model)
    for after, before in zip(keras.tree.flatten(new(x)), keras.tree.flatten(model(x)), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(after), ops.convert_to_numpy(before), rtol=1e-5, atol=1e-6)


def test_a_layer_gives_way_to_several():
    model = sequential()
    moved(model)
    dense, norm = model.layers
    doubled = layers.Dense(4, kernel_initializer=keras.initializers.Identity(2.0), use_bias=False)
    new = rebuild.rebuilt(model, {id(norm): [doubled, layers.Activation("tanh")]})
    x = examples(model)
    expected = np.tanh(2 * ops.convert_to_numpy(dense(x)))
    np.testing.assert_allclose(ops.convert_to_numpy(new(x)), expected, rtol=1e-5, atol=1e-6)


def test_a_built_layer_keeps_its_weights():
    model = sequential()
    dense = layers.Dense(4, name=model.layers[0].name)
    dense.build((None, 6))
    dense.set_weights([np.full((6, 4), 0.5), np.arange(4.0)])
    new = rebuild.rebuilt(model, {id(model.layers[0]): dense, id(model.layers[1]): None})
    np.testing.assert_allclose(ops.convert_to_numpy(new(np.ones((1, 6)))), [[3, 4, 5, 6]])


def test_a_shared_layer_is_replaced_in_all_places_by_one():
    model = moved(shared())
    norm = model.layers[2]
    new = rebuild.rebuilt(model, {id(norm): BatchNorm(name="ours")})
    assert [layer.name for layer in new.layers].count("ours") == 1


def test_a_model_may_be_left_without_layers():
    x = keras.Input((3,))
    inner = keras.Sequential([layers.BatchNormalization()])
    model = keras.Model(x, inner(x))
    new = rebuild.rebuilt(model, {id(inner.layers[0]): None})
    np.testing.assert_array_equal(ops.convert_to_numpy(new(np.ones((1, 3)))), np.ones((1, 3)))
    model = keras.Model(x, layers.BatchNormalization()(x))
    new = rebuild.rebuilt(model, {id(model.layers[1]): None})
    np.testing.assert_array_equal(ops.convert_to_numpy(new(np.ones((1, 3)))), np.ones((1, 3)))


def test_a_sequential_model_without_input_stays_without():
    model = keras.Sequential([layers.Dense(2), layers.BatchNormalization()])
    assert not rebuild.rebuilt(model).built


def test_functional_models_of_a_class_with_a_constructor_of_its_own():
    class Classifier(keras.Model):
        def __init__(self, units):
            x = keras.Input((6,))
            super().__init__(x, layers.Dense(units)(x), name="classifier")

    model = moved(Classifier(3))
    new = rebuild.rebuilt(model)
    assert [weight.path for weight in new.weights] == [weight.path for weight in model.weights]
    np.testing.assert_allclose(ops.convert_to_numpy(new(np.ones((1, 6)))), ops.convert_to_numpy(model(np.ones((1, 6)))))


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(2, name="dense")

    def call(self, inputs):
        return self.dense(inputs)


class Functional(keras.Model):
    def call(self, inputs):
        return super().call(inputs) * 2


def test_a_model_with_a_call_of_its_own_is_refused():
    x = keras.Input((6,))
    for model in (Subclassed(), Functional(x, layers.Dense(2)(x))):
        with pytest.raises(ValueError, match=f"`call` of its own.*class {type(model).__name__}"):
            rebuild.rebuilt(model)
    with pytest.raises(ValueError, match=r"functional or sequential.*class Dense"):
        rebuild.rebuilt(layers.Dense(2))


def test_inside_a_model_it_is_a_layer_like_others():
    x = keras.Input((6,))
    model = moved(keras.Model(x, Subclassed(name="own")(x)))
    assert_same(rebuild.rebuilt(model), model)
    assert list(rebuild.layers_of(model)) == ["own"]


class WithoutConfig(layers.Layer):
    def __init__(self, function):
        super().__init__(name="without")
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def test_a_layer_without_config_is_named():
    model = keras.Sequential([layers.Input((6,)), WithoutConfig(ops.tanh)])
    with pytest.raises(ValueError, match=r"'without' of class WithoutConfig cannot be made anew.*get_config"):
        rebuild.rebuilt(model)


def test_normalization_whose_weights_were_set_computes_with_the_constants_it_has():
    model = moved(keras.Sequential([keras.Input((3,)), layers.Normalization(), layers.Dense(2)]))
    images = examples(model)
    actual, expected = (ops.convert_to_numpy(m(images)) for m in (rebuild.rebuilt(model), model))
    np.testing.assert_array_equal(actual, expected)
