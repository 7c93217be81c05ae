"""What the initializers that take a batch have in common."""

import keras
import numpy as np
import pytest

import keras_norms
from keras_norms import initializers
from tests.initializers import networks

BOTH = pytest.mark.parametrize("initialize", [initializers.lsuv, initializers.weight_norm])


def assert_unmoved(model, before):
    for ours, theirs in zip(networks.values(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@BOTH
@pytest.mark.parametrize(
    ("shape", "words"), [((40, 5), "shape"), ((40, 2, 3), "shape"), ((0, 6), "`batch` must have rows")]
)
def test_batch_that_does_not_fit_changes_nothing(initialize, shape, words):
    model, _ = networks.sequential(keras_norms.WeightNormalization)
    before = networks.values(networks.moved(model))
    with pytest.raises(ValueError, match=words):
        initialize(model, np.ones(shape, "float32"))
    assert_unmoved(model, before)


@BOTH
@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (iter([np.ones((40, 6))]), "list_iterator"),
        ([[1.0] * 6] * 40, "list of float"),
        ([np.ones((40, 6)), None], "list of NoneType"),
        (None, "NoneType"),
        ("images", "str"),
    ],
)
def test_batch_must_be_arrays(initialize, batch, words):
    model, _ = networks.sequential(keras_norms.WeightNormalization)
    with pytest.raises(ValueError, match=rf"`batch` must be an array, .* Received: {words}\.$"):
        initialize(model, batch)


@BOTH
def test_dataset_is_no_batch(initialize):
    tf = pytest.importorskip("tensorflow")
    model, _ = networks.sequential(keras_norms.WeightNormalization)
    with pytest.raises(ValueError, match=r"`batch` must be an array, .* of a dataset one batch"):
        initialize(model, tf.data.Dataset.from_tensor_slices(np.ones((40, 6))).batch(20))


@BOTH
@pytest.mark.parametrize("make", [tuple, list])
@pytest.mark.parametrize("network", [networks.sequential, networks.nested, networks.subclassed])
def test_batch_with_targets_is_refused(initialize, network, make, hostile):
    model, shape = network(keras_norms.WeightNormalization)
    before = networks.values(networks.moved(model))
    with pytest.raises(ValueError, match=r"`batch` must be .* without targets\. Received: 2 arrays"):
        initialize(model, make([hostile(shape), np.ones((shape[0], 1), "float32")]))
    assert_unmoved(model, before)


@BOTH
def test_list_of_the_one_input_is_taken(initialize, hostile):
    inputs = keras.Input((6,))
    model = keras.Model([inputs], keras_norms.WeightNormalization(keras.layers.Dense(3))(inputs))
    assert initialize(model, [hostile((40, 6))]).rows[0].after == pytest.approx(1, abs=0.02)


@BOTH
def test_error_in_the_middle_changes_nothing(initialize, hostile):
    class Failing(keras.layers.Layer):
        fails = False

        def call(self, inputs):
            if self.fails:
                raise RuntimeError("in the middle")
            return inputs

    wrap, failing = keras_norms.WeightNormalization, Failing()
    first = wrap(keras.layers.Dense(5))
    model = keras.Sequential([keras.Input((6,)), first, failing, wrap(keras.layers.Dense(3))])
    before = networks.values(networks.moved(model))
    failing.fails = True
    with pytest.raises(RuntimeError, match="in the middle"):
        initialize(model, hostile((40, 6)))
    assert_unmoved(model, before)
    assert "call" not in vars(first)


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_and_change_nothing(initialize, value, hostile):
    model, shape = networks.nested(keras_norms.WeightNormalization)
    before = networks.values(networks.moved(model))
    x = hostile(shape)
    x[3, 2] = value
    with pytest.raises(ValueError, match=r"outputs of the layer '.*a' must be finite"):
        initialize(model, x)
    assert_unmoved(model, before)


@BOTH
def test_layers_are_watched_no_more_afterwards(initialize, hostile):
    model, shape = networks.nested(keras_norms.WeightNormalization)
    x = hostile(shape)
    initialize(model, x)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())
    before = networks.values(model)
    model(x + 1)
    assert_unmoved(model, before)


@BOTH
def test_layer_that_is_not_reached_is_reported(initialize, hostile):
    class OneOfTwo(keras.Model):
        def __init__(self):
            super().__init__()
            self.used = keras_norms.WeightNormalization(keras.layers.Dense(3, name="used"))
            self.other = keras_norms.WeightNormalization(keras.layers.Dense(3, name="other"))

        def call(self, inputs, first=True):
            return self.used(inputs) if first else self.other(inputs)

    model = OneOfTwo()
    x = hostile((20, 4))
    model(x, first=False)
    model(x)
    report = initialize(model, x)
    assert [row.layer.split("/")[-1] for row in report.rows] == ["used", "other"]
    assert report["other"].note == "skipped: the batch does not reach it, or only in a compiled function"


@BOTH
def test_layer_in_a_compiled_function_is_reported(initialize, hostile):
    if keras.backend.backend() == "torch":
        pytest.skip("nothing compiles on PyTorch")

    class Compiled(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras_norms.WeightNormalization(keras.layers.Dense(3, name="inside"))

        def build(self, shape):
            self.inner.build(shape)

        def call(self, inputs):
            if keras.backend.backend() == "jax":
                import jax

                return jax.jit(self.inner)(inputs)
            import tensorflow as tf

            return tf.function(self.inner)(inputs)

    outside = keras_norms.WeightNormalization(keras.layers.Dense(2, name="outside"))
    model = keras.Sequential([keras.Input((4,)), Compiled(), outside])
    report = initialize(model, hostile((20, 4)))
    assert report["inside"].note == "skipped: runs in a compiled function"
    assert report["outside"].after == pytest.approx(1, abs=0.02)


@BOTH
def test_model_with_no_layer_reached_is_refused(initialize, hostile):
    class Bypassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras_norms.WeightNormalization(keras.layers.Dense(3))

        def call(self, inputs, through=False):
            return self.inner(inputs) if through else inputs

    model = Bypassed()
    model(hostile((20, 4)), through=True)
    before = networks.values(model)
    with pytest.raises(ValueError, match=r"`batch` must reach .*compiled function"):
        initialize(model, hostile((20, 4)))
    assert_unmoved(model, before)


@BOTH
def test_model_whose_call_has_been_traced_is_refused(initialize, hostile):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a tf.function")
    import tensorflow as tf

    class Traced(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras_norms.WeightNormalization(keras.layers.Dense(3))

        @tf.function
        def call(self, inputs):
            return self.inner(inputs)

    model, x = Traced(), hostile((20, 4))
    model(x)
    model(x, training=False)
    with pytest.raises(ValueError, match=r"`batch` must reach .*compiled function"):
        initialize(model, x)


@BOTH
@pytest.mark.parametrize("second", [keras_norms.WeightNormalization, keras.layers.TimeDistributed])
def test_layer_in_two_wrappers_is_calibrated_once(initialize, second, hostile):
    inner = keras.layers.Dense(4, name="inner")
    one, two = keras_norms.WeightNormalization(inner, name="one"), second(inner, name="two")
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, keras_norms.WeightNormalization(keras.layers.Dense(2))(two(one(inputs))))
    x = hostile((30, 3, 4))
    report = initialize(model, x)
    assert report["inner"].after == pytest.approx(1, abs=0.02)
    assert networks.numpy(one(x)).astype("float64").var() == pytest.approx(1, abs=0.02)
    if initialize is initializers.lsuv or second is keras_norms.WeightNormalization:
        assert report["two"].note == f"skipped: shares its weights with {inner.path}"
    assert report.rows[-1].after == pytest.approx(1, abs=0.02)


@BOTH
def test_dicts_of_inputs_and_integers_are_taken(initialize):
    images, numbers = keras.Input((4,), name="images"), keras.Input((3,), name="numbers")
    wrap = keras_norms.WeightNormalization
    joined = keras.layers.Concatenate()([wrap(keras.layers.Dense(3, name="a"))(images), numbers])
    model = keras.Model({"images": images, "numbers": numbers}, wrap(keras.layers.Dense(2, name="b"))(joined))
    rng = np.random.default_rng(0)
    x = {"images": rng.integers(0, 256, (30, 4), "uint8"), "numbers": rng.normal(size=(30, 3)).astype("float32")}
    report = initialize(model, x)
    assert [row.after for row in report.rows] == pytest.approx([1, 1], abs=0.02)


@BOTH
def test_one_layer_is_a_model_too(initialize, hostile):
    layer = keras_norms.WeightNormalization(keras.layers.Dense(3))
    x = hostile((20, 4))
    layer(x)
    assert initialize(layer, x).rows[0].after == pytest.approx(1, abs=0.02)


@BOTH
def test_model_must_be_built(initialize, hostile):
    model = keras.Sequential([keras_norms.WeightNormalization(keras.layers.Dense(3))])
    with pytest.raises(ValueError, match="`model` must be a built Keras model"):
        initialize(model, hostile((20, 4)))
    with pytest.raises(ValueError, match="`model` must be a built Keras model"):
        initialize("resnet20", hostile((20, 4)))


@BOTH
def test_initialized_model_trains(initialize):
    model, shape = networks.residual(keras_norms.WeightNormalization)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    initialize(model, x)
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    history = model.fit(x, np.zeros_like(x), batch_size=len(x), epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
