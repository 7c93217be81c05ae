"""Observed layers: seen in order, everywhere, and their own again afterwards."""

import keras
import numpy as np
import pytest

from keras_norms.layers import watching


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def seen_in(model, layers, x, **kwargs):
    """Returns what `observe` has been given while the model runs: names, first arguments, outputs."""
    seen = []

    def observe(layer, args, _, outputs):
        seen.append((layer.name, numpy(args[0]), numpy(outputs)))

    with watching.observed(layers, observe):
        model(x, **kwargs)
    return seen


class Doubling(keras.layers.Layer):
    def call(self, inputs, plus=0.0, training=False):
        return 2 * inputs + plus + (100 if training else 0)


class Block(keras.Model):
    """A model that is written as a class, with a use of one layer inside of it."""

    def __init__(self):
        super().__init__(name="block")
        self.doubling = Doubling(name="inner")

    def call(self, inputs):
        return self.doubling(inputs) + 1


def nested_model():
    shared = Doubling(name="shared")
    inner_inputs = keras.Input((2,))
    nested = keras.Model(inner_inputs, shared(inner_inputs), name="nested")
    block = Block()
    inputs = keras.Input((2,))
    model = keras.Model(inputs, shared(block(nested(inputs))))
    return model, [block.doubling, block, shared]


X = np.array([[1.0, -3.0]], "float32")


def test_sees_each_use_in_order_of_execution_also_in_nested_models():
    model, layers = nested_model()
    seen = seen_in(model, layers, X)
    assert [name for name, _, _ in seen] == ["shared", "inner", "block", "shared"]
    for (_, given, taken), (x, y) in zip(seen, [(1, 2), (2, 4), (2, 5), (5, 10)], strict=True):
        assert (given[0, 0], taken[0, 0]) == (x, y)


def test_gets_all_arguments_of_the_call_and_changes_no_outputs():
    layer, seen = Doubling(), []
    with watching.observed([layer], lambda *arguments: seen.append(arguments)):
        outputs = layer(X, plus=np.float32(5), training=True)
    ((who, args, kwargs, given),) = seen
    assert who is layer
    assert len(args) == 1
    assert float(kwargs["plus"]) == 5
    assert kwargs["training"] is True
    np.testing.assert_array_equal(numpy(outputs), 2 * X + 105)
    np.testing.assert_array_equal(numpy(given), 2 * X + 105)


def test_what_observe_returns_takes_the_place_of_the_outputs():
    model, layers = nested_model()
    with watching.observed(layers[2:], lambda layer, args, kwargs, outputs: outputs + 1):
        replaced = model(X)
    np.testing.assert_array_equal(numpy(replaced), 2 * (2 * (2 * X + 1) + 1) + 1)
    np.testing.assert_array_equal(numpy(model(X)), 2 * (2 * (2 * X) + 1))


def test_what_observe_calls_is_not_observed():
    layer, other, calls = Doubling(), Doubling(), []

    def observe(layer, args, kwargs, outputs):
        calls.append(outputs)
        return layer(*args, **{**kwargs, "plus": 1.0}) + other(*args)

    with watching.observed([layer, other], observe):
        for _ in range(2):
            np.testing.assert_array_equal(numpy(layer(X)), 4 * X + 1)
    assert len(calls) == 2


def test_layer_that_is_given_twice_is_observed_once():
    layer = Doubling()
    assert len(seen_in(layer, [layer, layer], X)) == 1


def test_observations_nest():
    layer, order = Doubling(), []

    def observe(name):
        return lambda layer, args, kwargs, outputs: order.append((name, float(outputs[0, 0]))) or outputs + 1

    with watching.observed([layer], observe("outer")):
        with watching.observed([layer], observe("inner")):
            layer(X)
        layer(X)
    assert order == [("outer", 2), ("inner", 3), ("outer", 2)]
    assert "call" not in vars(layer)


def fail(*_):
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("where", ["observe", "body"])
def test_calls_are_restored_after_an_exception(where):
    layer = Doubling()
    observe = fail if where == "observe" else lambda *_: None
    with pytest.raises(RuntimeError, match="on purpose"), watching.observed([layer], observe):
        fail(layer(X))
    assert "call" not in vars(layer)
    np.testing.assert_array_equal(numpy(layer(X)), 2 * X)
    # Nor does the layer remember that it was being observed.
    assert len(seen_in(layer, [layer], X)) == 1


def test_a_layer_that_fails_is_restored():
    class Failing(keras.layers.Layer):
        def call(self, inputs):
            fail()

    layer = Failing()
    with pytest.raises(RuntimeError, match="on purpose"), watching.observed([layer], lambda *_: None):
        layer(X)
    assert "call" not in vars(layer)


def test_nothing_is_tracked_and_the_layer_can_be_saved_afterwards(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.ReLU()])
    before = [len(model.variables), len(model._flatten_layers())]
    seen_in(model, model.layers, X)
    assert [len(model.variables), len(model._flatten_layers())] == before
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(loaded(X)), numpy(model(X)))
