"""H2, H3, H5, H6, H7, H21: two replicas."""

import subprocess
import sys
import types

import keras
import numpy as np
import tensorflow as tf

from keras_norms import layers
from keras_norms.recipes import Recipe
from keras_norms.training import checkpoints, steps
from tests.defects.sides import sides
from tests.defects.test_batch_norm import statistics


def fitted(strategy, norm, rows, **options):
    """Returns a model that is a batch norm, after one epoch on rows that do not change its scale much."""
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), norm(**options)])
        model.compile(keras.optimizers.SGD(1e-6), "mse", jit_compile=False)
    model.fit(rows, rows, batch_size=4, verbose=0, shuffle=False)
    return model


@sides(
    "H2 each replica keeps statistics of its own, one's are saved (keras#20699)",
    keras.layers.BatchNormalization,
    layers.BatchNorm,
)
def test_saved_statistics_are_those_of_all_replicas(side, strategy, tmp_path):
    # Replica 0 sees 0 and 2, replica 1 sees 10 and 14: means 1 and 12.
    model = fitted(strategy, side, np.array([[0.0], [2.0], [10.0], [14.0]], "float32"), momentum=0.0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(statistics(loaded.layers[0])[0], [6.5], rtol=1e-6)


@sides(
    "H3 a replica without rows makes weights and statistics NaN (keras#19340)",
    keras.layers.BatchNormalization,
    layers.BatchNorm,
)
def test_last_batch_that_leaves_a_replica_without_rows_harms_nothing(side, strategy):
    model = fitted(strategy, side, np.arange(9, dtype="float32")[:, None], momentum=0.5)
    assert all(np.isfinite(value).all() for value in model.get_weights())


@sides("H5 a mask switches synchronization off", keras.layers.BatchNormalization, layers.BatchNorm)
def test_masked_batches_are_synchronized(side, strategy):
    with strategy.scope():
        layer = side(momentum=0.0, synchronized=True)
        layer.build((None, 3, 1))

    def step():
        x = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "float32") * 10
        layer(tf.fill((2, 3, 1), x), training=True, mask=tf.ones((2, 3), "bool"))

    strategy.run(step)
    for mean in strategy.experimental_local_results(layer.moving_mean.value):
        np.testing.assert_allclose(mean, [5.0], rtol=1e-6)


X = np.random.default_rng(0).normal(3, 2, (8, 4)).astype("float32")
LABELS = (X[:, 0] > 3).astype("int64")


def classifier(strategy):
    with strategy.scope():
        return keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=1)),
                layers.BatchNorm(),
                keras.layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=2)),
            ]
        )


def train_with_fit(strategy, compiled):
    model = classifier(strategy)
    with strategy.scope():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=compiled)
    model.fit(X, LABELS, batch_size=4, verbose=0, shuffle=False)
    return model


def train_with_our_step(strategy, compiled):
    model = classifier(strategy)
    with strategy.scope():
        model.optimizer = keras.optimizers.SGD(0.1)
        model.optimizer.build(model.trainable_variables)
    weights = np.full(len(X), 1 / 4, "float32")
    batches = tf.data.Dataset.from_tensor_slices((X, LABELS, weights)).batch(4, drop_remainder=True)
    batches = iter(strategy.experimental_distribute_dataset(batches))
    multipliers = [(1.0, 0.0)] * len(model.trainable_variables)
    state = types.SimpleNamespace(position=checkpoints.Position(), multipliers=multipliers, average=None)
    computation = steps.Computation(model, strategy, compiled=compiled)
    step = steps.training_step(computation, state, Recipe("resnet20"), batches)
    for _ in range(2):
        step(next(batches), 0.0)
    return model


@sides(
    "H6 jit_compile=True with two replicas (keras#20763, keras#21366, tf-keras#385)",
    train_with_fit,
    train_with_our_step,
    raises=tf.errors.InvalidArgumentError,
)
def test_compiled_training_on_two_replicas_is_that_of_plain_fit(side, strategy):
    # H7 is the way it works: XLA inside the replica, the update of the variables outside.
    expected = train_with_fit(strategy, compiled=False).get_weights()
    for ours, theirs in zip(side(strategy, compiled=True).get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


PROGRAM = """
import keras, numpy as np, tensorflow as tf
from keras_norms.training import devices
devices.split_cpu(2)
for width in (3, 5):
    with {strategy}.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    try:
        model.fit(np.ones((8, 4)), np.ones((8, 1)), batch_size=4, verbose=0)
        print(width, "trained")
    except tf.errors.OpError as error:
        print(width, type(error).__name__)
"""


@sides(
    "H21 collectives of a second strategy clash with those of the first",
    "tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])",
    "devices._mirrored.__wrapped__(2)",  # past its cache, which would hand out the first one again
)
def test_second_model_of_a_process_trains_too(side):
    program = [sys.executable, "-c", PROGRAM.format(strategy=side)]
    result = subprocess.run(program, capture_output=True, text=True, check=True, timeout=300)
    assert result.stdout.split("\n") == ["3 trained", "5 trained", ""]
