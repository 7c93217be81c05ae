import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_norms import layers
from keras_norms.recipes import Recipe
from keras_norms.training import checkpoints, devices, steps, weight_average


def made_step(model, strategy, batches, recipe, multipliers=None, average=None, **options):
    multipliers = multipliers or [(1.0, 0.0)] * len(model.trainable_variables)
    state = types.SimpleNamespace(position=checkpoints.Position(), multipliers=multipliers, average=average)
    return steps.training_step(steps.Computation(model, strategy, **options), state, recipe, batches)


def test_dropout_differs_between_replicas_and_between_steps(strategy):
    features, classes = 2000, 3
    with strategy.scope():
        model = keras.Sequential([keras.Input((features,)), keras.layers.Dropout(0.5), keras.layers.Dense(classes)])
        model.optimizer = keras.optimizers.SGD(1e-4)
        model.optimizer.build(model.trainable_variables)
    # Both replicas see the same example.
    pair = tf.ones((2, features)), tf.zeros((2,), tf.int64), tf.fill((2,), 0.5)
    batches = iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(pair).repeat()))
    step = made_step(model, strategy, batches, Recipe("resnet20"))
    moved = []
    for _ in range(2):
        before = model.layers[-1].kernel.numpy().copy()
        step(next(batches), 0.0)
        moved.append((model.layers[-1].kernel.numpy() != before).any(axis=1))
    # A feature both replicas have dropped leaves its weights alone: a quarter, a half if they drop the same.
    for rows in moved:
        assert abs(np.mean(~rows) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / features)
    assert abs(np.mean(moved[0] == moved[1]) - (0.75**2 + 0.25**2)) < 5 * np.sqrt(0.25 / features)
    # The generators' state has moved on, and is one and the same on both replicas.
    (state,) = (v for v in model.non_trainable_variables)
    np.testing.assert_array_equal(*strategy.experimental_local_results(state.value))


def test_nothing_is_added_up_in_an_order_that_depends_on_what_is_ready_first(strategy):
    images = keras.Input((4,))
    with strategy.scope():
        x = keras.layers.Dense(5)(images)
        branches = [keras.layers.Dense(2)(x) for _ in range(4)]
        model = keras.Model(images, keras.layers.Dense(3)(keras.layers.Concatenate()(branches)))
        model.optimizer = keras.optimizers.SGD(0.1)
        model.optimizer.build(model.trainable_variables)
    batch = tf.ones((2, 4)), tf.zeros((2,), tf.int64), tf.fill((2,), 0.5)
    batches = iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch)))
    graph = made_step(model, strategy, batches, Recipe("resnet20")).get_concrete_function().graph
    # The gradient of `x` has four terms. `AddN` begins with any of them.
    assert {len(op.inputs) for op in graph.get_operations() if op.type == "AddN"} == {2}
    # It would join them to sums of more.
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False


@pytest.mark.parametrize("replicas", [1, 2])
def test_average_moves_with_the_weights_in_one_call(replicas, strategy):
    strategy = strategy if replicas == 2 else devices.strategy(1)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), layers.BatchNorm()])
        model.optimizer = keras.optimizers.SGD(0.1)
        model.optimizer.build(model.trainable_variables)
    average = weight_average.WeightAverage(0.6)
    average.set_model(model)
    batch = tf.constant(X), tf.constant(LABELS), tf.fill((6,), 1 / 6)
    batches = iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch).repeat()))
    step, seen = made_step(model, strategy, batches, Recipe("resnet20"), average=average), []
    for _ in range(3):
        step(next(batches), 0.0)
        seen.append(model.get_weights())
    with average.averaged():
        averages = model.get_weights()
    weights = np.array([0.6**2, 0.6, 1.0]) * 0.4 / (1 - 0.6**3)
    for *values, result in zip(*seen, averages, strict=True):
        if result.dtype == "float32":
            expected = sum(weight * value for weight, value in zip(weights, values, strict=True))
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


FEATURES, CLASSES = 4, 3
X = np.random.default_rng(0).normal(1, 2, (6, FEATURES)).astype("float32")
LABELS = np.array([0, 1, 2, 0, 1, 2], "int64")


def classifier(strategy):
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((FEATURES,)),
                keras.layers.Dense(5),
                layers.BatchNorm(synchronized=True),
                keras.layers.Dense(CLASSES),
            ]
        )
        model.optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(1)
    model.set_weights([value + rng.uniform(0.1, 0.5, value.shape) for value in model.get_weights()])
    return model


def cross_entropy(logits, labels):
    logits = logits - logits.max(-1, keepdims=True)
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]


def loss_of(weights, rows, decays):
    """The mean cross-entropy of rows of the batch, and the decay, in float64."""
    kernel, bias, norm_scale, norm_bias, last_kernel, last_bias = weights
    y = X[rows].astype("float64") @ kernel + bias
    y = (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5) * norm_scale + norm_bias
    decay = sum(factor / 2 * (value**2).sum() for factor, value in zip(decays, weights, strict=True))
    return cross_entropy(y @ last_kernel + last_bias, LABELS[rows]).mean() + decay


def numeric_gradients(weights, rows, decays):
    """The gradients of the loss by central differences."""
    gradients = [np.zeros_like(value) for value in weights]
    for value, gradient in zip(weights, gradients, strict=True):
        for index in np.ndindex(value.shape):
            own = value[index]
            above, below = (_with(value, index, own + move, lambda: loss_of(weights, rows, decays)) for move in MOVES)
            gradient[index] = (above - below) / (MOVES[0] - MOVES[1])
    return gradients


MOVES = (1e-6, -1e-6)


def _with(array, index, entry, function):
    kept, array[index] = array[index], entry
    result = function()
    array[index] = kept
    return result


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [2, 5]], ids=len)
def test_gradient_is_that_of_the_mean_loss_whatever_a_replica_has_of_the_batch(strategy, rows):
    # The second replica has three, two or no examples that count; it is filled up to four rows.
    model = classifier(strategy)
    multipliers = [(1.0 + n, 0.01 * n) for n in range(len(model.trainable_variables))]
    before = [variable.numpy() for variable in model.trainable_variables]
    shares = [rows[:3], rows[3:]] if len(rows) > 2 else [rows, []]
    filled = [share + [0] * (4 - len(share)) for share in shares]
    counts = np.array([[n < len(share) for n in range(4)] for share in shares])
    images = np.where(counts[..., None], X[filled], 0.0).astype("float32")
    weights = (counts / len(rows)).astype("float32")
    parts = tf.data.Dataset.from_tensor_slices((images, LABELS[filled], weights)).repeat()
    batches = iter(strategy.distribute_datasets_from_function(lambda context: parts))
    step = made_step(model, strategy, batches, Recipe("resnet20"), multipliers, filled=True)
    told = step(next(batches), 0.0)
    assert told.sums[2] == len(rows)
    assert told.broken == told.stopping == 0
    decays = [decay for _, decay in multipliers]
    gradients = numeric_gradients([value.astype("float64") for value in before], rows, decays)
    after = [variable.numpy() for variable in model.trainable_variables]
    for (factor, _), old, new, gradient in zip(multipliers, before, after, gradients, strict=True):
        np.testing.assert_allclose(new - old, -0.1 * factor * gradient, rtol=2e-3, atol=2e-6)


def test_any_replica_can_stop_all_and_tells_of_broken_statistics(strategy):
    model = classifier(strategy)
    images = np.stack([X[:3], np.full((3, FEATURES), 1e30, "float32")])
    parts = tf.data.Dataset.from_tensor_slices((images, LABELS.reshape(2, 3), np.full((2, 3), 1 / 6, "float32")))
    batches = iter(strategy.distribute_datasets_from_function(lambda context: parts.repeat()))
    told = made_step(model, strategy, batches, Recipe("resnet20"))(next(batches), 1.0)
    assert told.broken > 0
    assert told.stopping > 0


def test_a_replica_without_examples_has_no_gradient_however_deep_the_network(strategy):
    images = keras.Input((4,))
    with strategy.scope():
        x = images
        for _ in range(20):  # each divides by the root of epsilon where no row counts
            x = layers.BatchNorm(bias_initializer="ones")(keras.layers.Dense(4)(x))
        model = keras.Model(images, keras.layers.Dense(3)(x))
        model.optimizer = keras.optimizers.SGD(0.1)
        model.optimizer.build(model.trainable_variables)
    weights = tf.constant([0.5, 0.5, 0, 0])
    batch = tf.random.stateless_normal((4, 4), (1, 2)), tf.zeros((4,), tf.int64), weights
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    batches = iter(strategy.experimental_distribute_dataset(dataset.unbatch().batch(4, drop_remainder=True)))
    step = made_step(model, strategy, batches, Recipe("resnet20"), filled=True)
    assert not step(next(batches), 0.0).broken
    assert all(np.isfinite(variable.numpy()).all() for variable in model.trainable_variables)
