import keras
import numpy as np
import pytest

from keras_norms import layers, training
from keras_norms.training import devices

STEPS = 5


class History(keras.callbacks.Callback):
    """Keeps the weights after each step."""

    def on_train_begin(self, logs=None):
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())


def trained(momentum, strategy=None):
    keras.utils.set_random_seed(0)
    with (strategy or devices.strategy(1)).scope():
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4, use_bias=False), layers.BatchNorm(), keras.layers.Dropout(0.2)]
        )
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=False)
    x = np.random.default_rng(0).normal(3, 2, (8 * STEPS, 3)).astype("float32")
    history, average = History(), training.WeightAverage(momentum)
    model.fit(x, x[:, :1] * np.ones((1, 4)), batch_size=8, shuffle=False, verbose=0, callbacks=[history, average])
    return model, history.weights


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.999])
def test_all_weights_end_as_their_debiased_averages(momentum, replicas, strategy):
    model, seen = trained(momentum, strategy if replicas == 2 else None)
    ages = momentum ** np.arange(STEPS)[::-1]
    for variable, steps in zip(model.weights, zip(*seen, strict=True), strict=True):
        expected = np.tensordot(ages / ages.sum(), np.array(steps, "float64"), 1)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-4, atol=1e-6)
        if momentum:
            assert (np.abs(expected - steps[-1]) > 1e-6).any()


def test_averaged_moving_statistics_are_valid():
    model, seen = trained(0.6)
    mean, variance = (keras.ops.convert_to_numpy(part) for part in model.layers[1].statistics())
    names = [weight.name for weight in model.weights]
    means = [step[names.index("moving_mean")] / step[names.index("moving_weight")] for step in seen]
    assert (mean >= np.min(means, 0) - 1e-6).all()
    assert (mean <= np.max(means, 0) + 1e-6).all()
    assert (variance > 0).all()


def test_a_training_without_steps_leaves_the_weights():
    model, _ = trained(0.6)
    average, before = training.WeightAverage(), model.get_weights()
    average.set_model(model)
    average.on_train_begin()
    average.on_train_end()
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_momentum_that_is_none_is_refused():
    with pytest.raises(ValueError, match="momentum=1"):
        training.WeightAverage(1)
