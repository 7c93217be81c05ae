"""A network on two replicas is measured like the one that is saved from it."""

import contextlib

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("replicas are those of TensorFlow", allow_module_level=True)

import keras_norms
from keras_norms.probe import callback, measurement


def made():
    parts = [
        keras.layers.Dense(4),
        keras_norms.BatchNormBefore("relu", synchronized=True),
        keras.layers.BatchNormalization(),
        keras.layers.BatchNormalization(trainable=False),
        keras_norms.BatchNorm(use_global_stats=True),
        keras.layers.Dropout(0.3, seed=1),
        keras.layers.Dense(2),
    ]
    return keras.Sequential([keras.Input((3,)), *parts])


@pytest.mark.parametrize("inside", [False, True])
def test_readings_are_those_of_the_mean_over_replicas(inside, strategy, hostile):
    x, y = hostile((8, 3)), np.arange(8) % 2
    with strategy.scope():
        model = made()
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    for layer in model.layers[1:5]:  # as where replicas have seen other batches
        copies = strategy.experimental_local_results(layer.moving_mean.value)
        copies[-1].assign(np.array([4.0, -3, 2, 1]))
    model.layers[4].moving_weight.assign(0.4)
    before = [copy.numpy() for v in model.variables for copy in strategy.experimental_local_results(v.value)]
    twin = made()
    twin.set_weights(model.get_weights())
    twin.layers[-2].seed_generator.state.assign(model.layers[-2].seed_generator.state.value)
    # Keras divides a loss by the number of replicas, inside of their scope.
    loss = callback._function(None, model)
    with strategy.scope() if inside else contextlib.nullcontext():
        ours = measurement.measure(model, (x, y), loss).readings
    theirs = measurement.measure(twin, (x, y), loss).readings
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine.depth, mine.quantity) == (expected.depth, expected.quantity)
        assert mine.value == pytest.approx(expected.value, rel=1e-5, abs=1e-6)
    drifts = [reading.value for reading in ours if reading.quantity == "mean_drift"]
    assert len(drifts) == 4
    after = [copy.numpy() for v in model.variables for copy in strategy.experimental_local_results(v.value)]
    for value, then in zip(after, before, strict=True):
        np.testing.assert_array_equal(value, then)
