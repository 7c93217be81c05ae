import keras
import numpy as np
import tensorflow as tf

from keras_norms.recipes import Recipe
from keras_norms.training import checkpoints, steps


def test_dropout_differs_between_replicas_and_between_steps(strategy):
    features, classes = 2000, 3
    with strategy.scope():
        model = keras.Sequential([keras.Input((features,)), keras.layers.Dropout(0.5), keras.layers.Dense(classes)])
        optimizer = keras.optimizers.SGD(1e-4)
        optimizer.build(model.trainable_variables)
    recipe = Recipe("resnet20", batch_size=2, weight_decay=0.0)
    # Both replicas see the same example.
    examples = tf.data.Dataset.from_tensors((tf.ones((2, features)), tf.zeros((2,), tf.int64))).repeat()
    batches = iter(strategy.experimental_distribute_dataset(examples))
    step = steps.training_step(model, optimizer, strategy, recipe, None, False, checkpoints.Position(), batches)
    moved = []
    for _ in range(2):
        before = model.layers[-1].kernel.numpy().copy()
        step(next(batches))
        moved.append((model.layers[-1].kernel.numpy() != before).any(axis=1))
    # A feature both replicas have dropped leaves its weights alone: a quarter, a half if they drop the same.
    for rows in moved:
        assert abs(np.mean(~rows) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / features)
    assert abs(np.mean(moved[0] == moved[1]) - (0.75**2 + 0.25**2)) < 5 * np.sqrt(0.25 / features)
    # The generators' state has moved on, and is one and the same on both replicas.
    (state,) = (v for v in model.non_trainable_variables)
    np.testing.assert_array_equal(*strategy.experimental_local_results(state.value))
