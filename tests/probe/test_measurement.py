"""Readings against NumPy in float64, on networks small enough to be written out."""

import keras
import numpy as np
import pytest

import keras_norms
from keras_norms.probe import measurement


def squared_error(labels, outputs):
    return keras.ops.mean(keras.ops.square(outputs - labels), axis=-1)


def found(measured):
    """Returns the values by (layer or weight, quantity)."""
    return {(r.weight or r.layer, r.quantity): r.value for r in measured.readings}


def channels(measured):
    return {c.layer: (c.mean, c.variance) for c in measured.channels}


def values(model):
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in model.variables]


KERNEL_1 = np.array([[0.4, -0.3, 0.2, 0.0], [-0.2, 0.5, 0.3, 0.0], [0.1, 0.2, -0.6, 0.0]])
# The means of `hostile` lie at the corner of the first three units. The last is dead: its kernel is 0, its bias below.
BIAS_1 = np.array([3.0, 1.0, -2.0, -1.0]) - [-30, 10, 50] @ KERNEL_1
KERNEL_2 = np.array([[0.7, -0.4], [0.2, 0.9], [-0.5, 0.3], [1.1, 0.8]])
BIAS_2 = np.array([0.3, -0.7])


def two_layers():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "relu", name="one"), keras.layers.Dense(2, name="two")]
    )
    model.set_weights([KERNEL_1, BIAS_1, KERNEL_2, BIAS_2])
    return model


def two_layers_by_hand(x, labels):
    """Returns hidden and last outputs, the loss and the gradients of the four variables."""
    hidden = np.maximum(x @ KERNEL_1 + BIAS_1, 0)
    outputs = hidden @ KERNEL_2 + BIAS_2
    slope = 2 * (outputs - labels) / outputs.size
    below = slope @ KERNEL_2.T * (hidden > 0)
    gradients = x.T @ below, below.sum(0), hidden.T @ slope, slope.sum(0)
    return hidden, outputs, np.mean((outputs - labels) ** 2), gradients


@pytest.fixture
def batch(hostile):
    return hostile((7, 3)), np.random.default_rng(1).normal(size=(7, 2)).astype("float32")


def test_two_layers_are_measured_as_written_out_by_hand(batch):
    model = two_layers()
    measured = measurement.measure(model, batch, squared_error)
    hidden, outputs, loss, gradients = two_layers_by_hand(*(array.astype("float64") for array in batch))
    expected = {("", "loss"): loss}
    for layer, values in (("one", hidden), ("two", outputs)):
        expected[layer, "output_norm"] = np.linalg.norm(values, axis=1).mean()
        expected[layer, "mean"] = values.mean()
        expected[layer, "variance"] = values.var(0).mean()
    expected["one", "dead"], expected["two", "dead"] = 0.25, 0.0
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        expected[variable.path, "gradient_norm"] = np.linalg.norm(gradient)
    for variable, value in zip(model.trainable_variables, (KERNEL_1, BIAS_1, KERNEL_2, BIAS_2), strict=True):
        expected[variable.path, "weight_norm"] = np.linalg.norm(value)
    results = found(measured)
    assert results.keys() == expected.keys()
    for key, value in expected.items():
        # A few sums in float32, of numbers that partly cancel.
        assert results[key] == pytest.approx(value, rel=2e-5, abs=1e-6), key
    for layer, values in (("one", hidden), ("two", outputs)):
        mean, variance = channels(measured)[layer]
        np.testing.assert_allclose(mean, values.mean(0), rtol=1e-5)
        np.testing.assert_allclose(variance, values.var(0), rtol=1e-4)


def test_depth_is_the_order_of_execution_and_weights_have_that_of_their_layer(batch):
    inputs = keras.Input((3,))
    second, first = keras.layers.Dense(2, name="second"), keras.layers.Dense(4, name="first")
    second.build((None, 4))
    model = keras.Model(inputs, second(first(inputs)))
    readings = measurement.measure(model, batch, squared_error).readings
    assert {(r.depth, r.layer) for r in readings} == {(None, ""), (0, "first"), (1, "second")}
    assert {(r.depth, r.layer) for r in readings if r.weight == first.kernel.path} == {(0, "first")}


def only_outputs(model, x, **options):
    """Measures what needs no sensible loss."""
    loss = lambda labels, outputs: keras.ops.mean(keras.tree.flatten(outputs)[0])  # noqa: E731
    return measurement.measure(model, (x, np.zeros(7)), loss, **options)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_statistics_keep_their_digits_where_the_mean_is_large(offset, hostile):
    x = hostile((7, 5, 6, 3)) + np.float32(offset)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, keras.layers.Rescaling(1.0, name="same")(inputs))
    measured = only_outputs(model, x)
    exact = x.astype("float64")
    mean, variance = channels(measured)["same"]
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var((0, 1, 2)), rtol=1e-4)
    norm = np.linalg.norm(exact.reshape(7, -1), axis=1).mean()
    assert found(measured)["same", "output_norm"] == pytest.approx(norm, rel=1e-6)


@pytest.mark.parametrize("layer", [
    keras.layers.ZeroPadding2D(0, data_format="channels_first", name="layer"),
    keras_norms.Scale(axis=1, name="layer"),
])  # fmt: skip
def test_channels_are_where_the_layer_has_them(layer, hostile):
    x = hostile((7, 3, 4, 5), axis=1)
    inputs = keras.Input(x.shape[1:])
    mean, variance = channels(only_outputs(keras.Model(inputs, layer(inputs)), x))["layer"]
    np.testing.assert_allclose(mean, x.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(variance, x.var((0, 2, 3)), rtol=1e-4)


def test_channels_are_first_where_keras_is_set_so(monkeypatch, hostile):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    x = hostile((7, 3, 4, 5), axis=1)
    inputs = keras.Input(x.shape[1:])
    mean, _ = channels(only_outputs(keras.Model(inputs, keras.layers.ReLU(name="layer")(inputs)), x))["layer"]
    np.testing.assert_allclose(mean, np.maximum(x, 0).mean((0, 2, 3)), rtol=1e-5, atol=1e-6)


class Channels(keras.layers.Layer):
    """Six channels: alive; alive in one example at one place; zero; constant; one that only the place decides; the
    same in all places."""

    def call(self, inputs):
        alive = inputs[..., :1]
        once = keras.ops.where(keras.ops.equal(inputs[..., 1:2], keras.ops.max(inputs[..., 1:2])), 1.0, 0.0)
        places = keras.ops.reshape(keras.ops.arange(inputs.shape[1], dtype="float32"), (1, -1, 1)) + 0 * alive
        example = keras.ops.mean(alive, axis=1, keepdims=True) + 0 * alive
        return keras.ops.concatenate([alive, once, 0 * alive, 0 * alive + 5, places, example], axis=-1)


def test_a_channel_is_dead_if_no_example_changes_it():
    x = 10 * np.random.default_rng(0).normal(size=(7, 4, 2)).astype("float32")
    inputs = keras.Input((4, 2))
    outputs = Channels(name="channels")(inputs)
    model = keras.Model(inputs, keras_norms.TReLU(threshold_initializer="ones", name="trelu")(outputs))
    results = found(only_outputs(model, x))
    assert results["channels", "dead"] == 3 / 6
    # The threshold, one, takes the second, too.
    assert results["trelu", "dead"] == 3 / 6 + 1 / 6
    assert np.isfinite(list(results.values())).all()


def moved(layer, **statistics):
    for name, value in statistics.items():
        getattr(layer, name).assign(value)
    return layer


def drifts(layer, x):
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    return model, lambda: {q: v for (_, q), v in found(only_outputs(model, x)).items() if q.endswith("drift")}


MEAN, VARIANCE = np.array([-20.0, 5.0, 55.0]), np.array([3.0, 40.0, 0.5])


def expected_drifts(x, epsilon):
    x = x.astype("float64").reshape(-1, 3)
    mean = np.sqrt(np.mean((MEAN - x.mean(0)) ** 2 / (x.var(0) + epsilon)))
    variance = np.sqrt(np.mean(np.log((VARIANCE + epsilon) / (x.var(0) + epsilon)) ** 2))
    return {"mean_drift": pytest.approx(mean, rel=1e-5), "variance_drift": pytest.approx(variance, rel=1e-5)}


def test_drift_of_keras_batch_normalization(hostile):
    x, layer = hostile((7, 4, 3)), keras.layers.BatchNormalization(epsilon=0.1)
    _, drift = drifts(layer, x)
    moved(layer, moving_mean=MEAN, moving_variance=VARIANCE)
    assert drift() == expected_drifts(x, 0.1)


@pytest.mark.parametrize("activated", [False, True])
def test_drift_of_ours_divides_by_the_weight_and_is_against_what_is_normalized(activated, hostile):
    x, epsilon = hostile((7, 4, 3)), 0.1
    layer = keras_norms.BatchNormAfter("relu", epsilon=epsilon) if activated else keras_norms.BatchNorm(epsilon=epsilon)
    _, drift = drifts(layer, x)
    moved(layer, moving_mean=0.3 * MEAN, moving_variance=0.3 * VARIANCE, moving_weight=0.3)
    assert drift() == expected_drifts(np.maximum(x, 0) if activated else x, epsilon)


def test_drift_is_per_channel_of_the_axis(hostile):
    x, layer = hostile((7, 3, 4), axis=1), keras_norms.BatchNorm(axis=1, epsilon=0.1)
    _, drift = drifts(layer, x)
    moved(layer, moving_mean=MEAN, moving_variance=VARIANCE, moving_weight=1.0)
    assert drift() == expected_drifts(np.moveaxis(x, 1, -1), 0.1)


def test_drift_before_any_step_is_that_of_mean_0_and_variance_1(hostile):
    x, layer = hostile((7, 3)), keras_norms.BatchNorm(epsilon=0.1)
    mean = np.sqrt(np.mean(x.mean(0) ** 2 / (x.var(0) + 0.1)))
    variance = np.sqrt(np.mean(np.log(1.1 / (x.var(0) + 0.1)) ** 2))
    assert drifts(layer, x)[1]() == {
        "mean_drift": pytest.approx(mean, rel=1e-4), "variance_drift": pytest.approx(variance, rel=1e-4),
    }  # fmt: skip


def test_drift_of_a_mean_alone_where_a_channel_does_not_vary(hostile):
    x, layer = hostile((7, 3)), keras_norms.MeanOnlyBatchNorm()
    x[:, 0] = MEAN[0]
    _, drift = drifts(layer, x)
    moved(layer, moving_mean=0.3 * MEAN, moving_weight=0.3)
    expected = np.sqrt(np.mean((MEAN - x.mean(0)) ** 2 / (x.var(0) + 1e-7)))
    # A last digit of the first mean, 2e-6, is 6e-3 of the deviation that epsilon stands for.
    assert drift() == {"mean_drift": pytest.approx(expected, rel=1e-4, abs=1e-2)}


def test_drift_goes_to_that_of_unbiased_variances_when_the_batch_is_always_the_same(hostile):
    x, layer = hostile((7, 3)), keras_norms.BatchNorm(epsilon=1e-5)
    model, drift = drifts(layer, x)
    for _ in range(3):
        model(x, training=True)
    results = drift()
    assert results["mean_drift"] == pytest.approx(0, abs=1e-4)
    # What is averaged is the unbiased variance.
    assert results["variance_drift"] == pytest.approx(np.log(7 / 6), rel=1e-3)


class Unseeded(keras.layers.Layer):
    def call(self, inputs):
        return inputs + keras.random.normal((3,))


def stochastic_model():
    parts = [
        keras.layers.Dense(3),
        keras.layers.BatchNormalization(),
        keras_norms.BatchNorm(),
        keras.layers.Dropout(0.5, seed=2, name="dropout"),
        keras.layers.GaussianNoise(0.1, seed=3),
    ]
    if keras.backend.backend() != "jax":  # where random numbers without a seed cannot be differentiated
        parts.append(Unseeded())
    model = keras.Sequential([keras.Input((3,)), *parts, keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    return model


def test_no_variable_moves(batch):
    model = stochastic_model()
    model.fit(*batch, verbose=0)
    before = values(model) + values(model.optimizer)
    keras.utils.set_random_seed(5)
    expected_noise = keras.ops.convert_to_numpy(keras.random.normal((3,)))
    keras.utils.set_random_seed(5)
    measurement.measure(model, batch, squared_error)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.random.normal((3,))), expected_noise)
    for value, then in zip(values(model) + values(model.optimizer), before, strict=True):
        np.testing.assert_array_equal(value, then)
    assert all("call" not in vars(layer) for layer in model.layers)


def test_the_pass_is_that_of_the_next_training_step(batch):
    model = stochastic_model()
    measured = found(measurement.measure(model, batch, squared_error))
    dropped = keras.Sequential(model.layers[: [layer.name for layer in model.layers].index("dropout") + 1])
    outputs = keras.ops.convert_to_numpy(dropped(batch[0], training=True))
    assert (outputs == 0).any()
    assert measured["dropout", "output_norm"] == pytest.approx(np.linalg.norm(outputs, axis=1).mean(), rel=1e-5)


def test_nothing_stays_wrapped_when_the_model_fails(batch):
    model = two_layers()
    with pytest.raises(RuntimeError, match="on purpose"):
        measurement.measure(model, batch, lambda labels, outputs: (_ for _ in ()).throw(RuntimeError("on purpose")))
    assert all("call" not in vars(layer) for layer in model.layers)


class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


class Pair(keras.layers.Layer):
    """Returns two tensors, and a third that is no floating one."""

    def call(self, inputs):
        return {"a": inputs, "b": [3 * inputs, keras.ops.cast(inputs, "int32")]}


def test_shared_layers_and_several_outputs_have_names_of_their_own(hostile):
    shared, inputs = Doubling(name="shared"), keras.Input((3,))
    pair = Pair(name="pair")(shared(inputs))
    nested_inputs = keras.Input((3,))
    nested = keras.Model(nested_inputs, shared(nested_inputs), name="nested")
    model = keras.Model(inputs, nested(pair["b"][0]))
    x = hostile((7, 3))
    names = [c.layer for c in only_outputs(model, x).channels]
    assert names == ["shared", "pair[0]", "pair[1]", "shared#2"]
    means = [c.mean for c in only_outputs(model, x).channels]
    for mean, factor in zip(means, (2, 2, 6, 12), strict=True):
        np.testing.assert_allclose(mean, factor * x.mean(0), rtol=1e-5)


def test_weights_of_a_shared_layer_have_the_depth_of_its_first_use(batch):
    shared, inputs = keras.layers.Dense(3, name="shared"), keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(shared(keras.layers.ReLU()(shared(inputs)))))
    readings = measurement.measure(model, batch, squared_error).readings
    assert {(r.depth, r.layer) for r in readings if r.weight == shared.kernel.path} == {(0, "shared")}


class Residual(keras.Model):
    def __init__(self):
        super().__init__(name="residual")
        self.dense = keras.layers.Dense(3, name="dense")
        self.factor = self.add_weight(name="factor", shape=(), initializer=keras.initializers.Constant(1.5))

    def call(self, inputs):
        return inputs["a"] + self.factor * self.dense(inputs["b"])


def test_a_model_written_as_a_class_and_inputs_by_name(hostile):
    model, x = Residual(), {"a": hostile((7, 3)), "b": hostile((7, 3), seed=1)}
    model(x)
    measured = measurement.measure(model, (x, np.zeros((7, 3), "float32")), squared_error)
    assert [c.layer for c in measured.channels] == ["dense", "residual"]
    owners = {r.weight: (r.depth, r.layer) for r in measured.readings if r.weight}
    assert owners[model.factor.path] == (1, "residual")
    assert owners[model.dense.kernel.path] == (0, "dense")
    outputs = x["a"] + 1.5 * keras.ops.convert_to_numpy(model.dense(x["b"]))
    assert found(measured)["residual", "mean"] == pytest.approx(outputs.mean(), rel=1e-4)


@pytest.mark.parametrize("inner_first", [False, True])
def test_chosen_layers_alone_also_inner_ones(inner_first, batch):
    inner = keras_norms.PReLU(name="inner")
    after = keras_norms.BatchNormAfter(inner, name="after")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), after, keras.layers.Dense(2)])
    measured = measurement.measure(
        model, batch, squared_error, layers=[inner, after] if inner_first else [after, inner]
    )
    assert [c.layer for c in measured.channels] == ["inner", "after"]
    owners = {(r.weight, r.layer) for r in measured.readings if r.weight}
    assert owners == {(after.scale.path, "after"), (after.bias.path, "after"), (inner.slope.path, "inner")}


def test_layers_that_are_not_called_have_no_depth(batch):
    class Idle(keras.Model):
        def __init__(self):
            super().__init__(name="network")
            self.used, self.idle = keras.layers.Dense(2), keras.layers.Dense(5, name="idle")
            self.idle.build((None, 3))

        def call(self, inputs):
            return self.used(inputs)

    model = Idle()
    model(batch[0])
    readings = measurement.measure(model, batch, squared_error).readings
    idle = {r.quantity: r.value for r in readings if r.weight == model.idle.kernel.path}
    assert idle["gradient_norm"] == 0
    assert idle["weight_norm"] > 0
    assert {r.depth for r in readings if r.layer == "idle"} == {None}


@pytest.mark.parametrize("frozen", [False, True])
def test_models_without_weights_to_learn(frozen, batch):
    model = two_layers()
    model.trainable = not frozen
    quantities = {r.quantity for r in measurement.measure(model, batch, squared_error).readings}
    assert ("gradient_norm" in quantities) == (not frozen)
    assert {"output_norm", "dead", "loss"} <= quantities


def test_gradient_of_an_embedding():
    model = keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Embedding(5, 3), keras.layers.Flatten()])
    tokens, labels = np.array([[0, 1], [1, 1]]), np.zeros((2, 6), "float32")
    table = np.linspace(-1, 1, 15).reshape(5, 3)
    model.set_weights([table])
    gradient = np.zeros((5, 3))
    for token in tokens.flat:
        gradient[token] += 2 * table[token] / 12
    results = found(measurement.measure(model, (tokens, labels), squared_error))
    (value,) = [v for (_, quantity), v in results.items() if quantity == "gradient_norm"]
    assert value == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_float16_is_measured_in_float32_with_the_loss_scaled_as_in_training():
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.Input((400,)), keras.layers.Rescaling(1.0, name="same"), keras.layers.Dense(1)])
    x = np.random.default_rng(0).normal(size=(4, 400)).astype("float32") + 300
    # The norm's square is far above the largest float16, the gradient far below the smallest.
    loss = lambda labels, outputs: 1e-9 * outputs[:, 0]  # noqa: E731
    norm, gradient = np.linalg.norm(x, axis=1).mean(), 1e-9 * np.linalg.norm(x.mean(0))
    model.optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    model.optimizer.build(model.trainable_variables)
    results = found(measurement.measure(model, (x, np.zeros(4)), loss))
    # Three digits of float16 in the outputs.
    assert results["same", "output_norm"] == pytest.approx(norm, rel=1e-3)
    # What comes back, 1e-9 * 2**15 / 4, lies among the subnormal float16, in steps of 6e-8.
    assert results[model.layers[-1].kernel.path, "gradient_norm"] == pytest.approx(gradient, rel=5e-3)


def test_bfloat16(batch):
    keras.config.set_dtype_policy("mixed_bfloat16")
    results = found(measurement.measure(two_layers(), batch, squared_error))
    _, outputs, _, _ = two_layers_by_hand(*batch)
    assert results["two", "output_norm"] == pytest.approx(np.linalg.norm(outputs, axis=1).mean(), rel=0.02)


def test_networks_that_have_blown_up_are_measured(batch):
    model = two_layers()
    model.layers[0].kernel.assign(np.full((3, 4), np.nan))
    results = found(measurement.measure(model, batch, squared_error))
    assert np.isnan(results["two", "output_norm"])
    assert results["two", "dead"] == 0


def test_weights_that_do_not_exist_are_an_error(batch):
    with pytest.raises(ValueError, match="`model` must be built"):
        measurement.measure(keras.Sequential([keras.layers.Dense(2)]), batch, squared_error)
