import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_norms import layers, training
from keras_norms.training import devices

STEPS = 5


class History(keras.callbacks.Callback):
    """Keeps the weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())


def network(strategy=None, synchronized=False):
    keras.utils.set_random_seed(0)
    with (strategy or devices.strategy(1)).scope():
        norm = layers.BatchNorm(synchronized=synchronized)
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4, use_bias=False), norm, keras.layers.Dropout(0.2)]
        )
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    return model


def fit(model, *callbacks, steps=STEPS, seed=0):
    x = np.random.default_rng(seed).normal(3, 2, (8 * steps, 3)).astype("float32")
    model.fit(x, x[:, :1] * np.ones((1, 4)), batch_size=8, shuffle=False, verbose=0, callbacks=callbacks)


def trained(momentum, strategy=None):
    model, history = network(strategy), History()
    fit(model, history, training.WeightAverage(momentum))
    return model, history.weights


def assert_averages(weights, seen, momentum):
    """Checks against the closed form: a geometric series of the weights after each step."""
    ages = momentum ** np.arange(len(seen))[::-1]
    for weight, steps in zip(weights, zip(*seen, strict=True), strict=True):
        expected = np.tensordot(ages / ages.sum(), np.array(steps, "float64"), 1)
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)
        if momentum:
            assert (np.abs(expected - steps[-1]) > 1e-6).any()


def parts(model, strategy):
    """Returns the values of all variables on each replica."""
    return [[part.numpy() for part in strategy.experimental_local_results(v.value)] for v in model.variables]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.999])
def test_all_weights_end_as_their_debiased_averages(momentum, replicas, strategy):
    model, seen = trained(momentum, strategy if replicas == 2 else None)
    assert_averages(model.get_weights(), seen, momentum)


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
    with average.averaged():
        assert_same(model.get_weights(), before)
    average.on_train_end()
    assert_same(model.get_weights(), before)


class Look(keras.callbacks.Callback):
    """Looks at the averages after every second step."""

    def __init__(self, average, strategy):
        super().__init__()
        self._average, self._strategy, self.averages = average, strategy, []

    def on_train_batch_end(self, batch, logs=None):
        if batch % 2:
            raw = parts(self.model, self._strategy)
            with self._average.averaged():
                averages = parts(self.model, self._strategy)
                self.averages.append(self.model.get_weights())
            assert_same(itertools.chain(*parts(self.model, self._strategy)), itertools.chain(*raw))
            floating = [values for values in averages if values[0].dtype == "float32"]
            assert all((values[0] == value).all() for values in floating for value in values)


@pytest.mark.parametrize("replicas", [1, 2])
def test_averages_can_be_looked_at_in_between(replicas, strategy):
    strategy = strategy if replicas == 2 else devices.strategy(1)
    plain, expected = network(strategy), History()
    fit(plain, expected)
    model, seen, average = network(strategy), History(), training.WeightAverage(0.6)
    look = Look(average, strategy)
    fit(model, seen, average, look)
    assert_same(itertools.chain(*seen.weights), itertools.chain(*expected.weights))
    assert len(look.averages) == 2
    for number, averages in zip((2, 4), look.averages, strict=True):
        assert_averages(averages, seen.weights[:number], 0.6)


def test_raw_weights_come_back_after_an_error():
    model, average = network(), training.WeightAverage(0.6)
    average.set_model(model)
    average.on_train_batch_end(0)
    fit(model, steps=1)
    raw = model.get_weights()

    def interrupted():
        with average.averaged():
            assert any((one != other).any() for one, other in zip(model.get_weights(), raw, strict=True))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_same(model.get_weights(), raw)


@pytest.mark.parametrize("replicas", [1, 2])
def test_average_taken_up_from_a_checkpoint_is_that_of_the_unbroken_training(replicas, strategy, tmp_path):
    strategy = strategy if replicas == 2 else devices.strategy(1)

    def state(model, average):
        values = [variable.value for variable in (*model.variables, *model.optimizer.variables)]
        return tf.train.Checkpoint(model=values, average=average.variables)

    # Replicas with equal statistics, as our training step leaves them: a checkpoint holds their means.
    whole, average = network(strategy, synchronized=True), training.WeightAverage(0.6)
    average.set_model(whole)
    path = None
    for number in range(4):
        one_step(whole, average, number)
        if number == 1:
            path = state(whole, average).write(str(tmp_path / "state"))
    average.on_train_end()

    model, again = network(strategy, synchronized=True), training.WeightAverage(0.6)
    again.set_model(model)
    state(model, again).read(path).assert_consumed()
    again.set_model(model)  # by the list of callbacks
    again.on_train_begin()
    for number in (2, 3):
        one_step(model, again, number)
    again.on_train_end()
    assert_same([v.numpy() for v in again.variables], [v.numpy() for v in average.variables])
    assert_same(model.get_weights(), whole.get_weights())


def one_step(model, average, number):
    fit(model, steps=1, seed=number)
    average.on_train_batch_end(number)


def test_another_model_begins_another_average():
    average = training.WeightAverage(0.6)
    fit(network(), average)
    model, history = network(), History()
    fit(model, history, average, steps=2, seed=1)
    assert_averages(model.get_weights(), history.weights, 0.6)


def test_a_step_calls_one_function_that_is_traced_once():
    model, average = network(), training.WeightAverage(0.6)
    average.set_model(model)
    for number in range(3):
        average.on_train_batch_end(number)
    assert average._move.experimental_get_tracing_count() == 1


def test_average_of_half_precision_moves_on():
    """Steps of 1 / 1000 of the way: bfloat16 would round them all away."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, dtype="bfloat16", use_bias=False)])
    average = training.WeightAverage(0.999)
    average.set_model(model)
    for value in [1.0] * 50 + [2.0] * 50:
        model.layers[0].kernel.assign([[value]])
        average.on_train_batch_end(0)
    average.on_train_end()
    # The weights of the later half make up 1 / (1 + 0.999 ** 50) of all.
    expected = 1 + 1 / (1 + 0.999**50)
    assert float(model.get_weights()[0].item()) == pytest.approx(expected, rel=2**-8)


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        training.WeightAverage().set_model(keras.Sequential([keras.layers.Dense(1)]))


def test_a_momentum_that_is_none_is_refused():
    with pytest.raises(ValueError, match="momentum=1"):
        training.WeightAverage(1)
