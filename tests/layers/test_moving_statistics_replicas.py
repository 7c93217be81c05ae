"""Batch norm's family on two replicas: what is synchronized, averaged, and left alone."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("replicas are those of TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_norms import layers
from tests.reference import batch_norm as definition
from tests.reference import batch_renorm, evonorm, ghost_batch_norm, mean_only_batch_norm

# How the rows of a batch fall on two replicas: evenly, unevenly, all on one.
SPLITS = [(8, 8), (13, 3), (16, 0)]


def made(strategy, shape, make):
    with strategy.scope():
        layer = make()
        layer.build(shape)
    return layer


def run(strategy, layer, parts, training=True):
    """Returns the outputs of the replicas one after the other."""
    x = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    outputs = strategy.run(lambda x: layer(x, training=training), args=(x,))
    return [output.numpy() for output in strategy.experimental_local_results(outputs)]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("offset", [0, 1e4])
def test_synchronized_mean_is_that_of_the_whole_batch(split, offset, strategy, hostile):
    x = hostile((16, 5, 3)) + np.float32(offset)
    layer = made(strategy, x.shape, lambda: layers.MeanOnlyBatchNorm(synchronized=True))
    y = np.concatenate(run(strategy, layer, np.split(x, split[:1])))
    np.testing.assert_allclose(y, mean_only_batch_norm.batch_normalized(x), atol=2e-5)
    np.testing.assert_allclose(layer.statistics()[0].numpy(), definition.moments(x)[1], rtol=1e-5)


@pytest.mark.parametrize("split", SPLITS)
def test_synchronized_variance_is_that_of_the_whole_batch(split, strategy, hostile):
    x = hostile((16, 5, 3)) - hostile((16, 5, 3)).mean((0, 1))
    layer = made(strategy, x.shape, lambda: layers.EvoNormB0(synchronized=True))
    y = np.concatenate(run(strategy, layer, np.split(x, split[:1])))
    expected = evonorm.batch_activated(x, x.astype("float64").var((0, 1)), np.ones(3))
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer.statistics()[0].numpy(), x.astype("float64").var((0, 1), ddof=1), rtol=1e-4)


@pytest.mark.parametrize("split", SPLITS)
def test_ghosts_divide_what_each_replica_has(split, strategy, hostile):
    x = hostile((16, 5, 3))
    layer = made(strategy, x.shape, lambda: layers.GhostBatchNorm(4))
    parts = np.split(x, split[:1])
    for y, part in zip(run(strategy, layer, parts), parts, strict=True):
        if len(part):
            np.testing.assert_allclose(y, ghost_batch_norm.batch_normalized(part, 4), atol=1e-3, rtol=1e-4)
    seen = [definition.moments(part) for part in parts if len(part)]
    np.testing.assert_allclose(layer.statistics()[0].numpy(), np.mean([m for _, m, _ in seen], axis=0), rtol=1e-4)
    variances = [v * n / (n - 1) for n, _, v in seen]
    np.testing.assert_allclose(layer.statistics()[1].numpy(), np.mean(variances, axis=0), rtol=1e-4)


def renormalized(part, mean, variance):
    r, d = batch_renorm.corrections(part, mean, variance, 1.5, 0.5)
    return batch_renorm.batch_normalized(part, r, d)


def test_renorm_corrects_towards_the_statistics_of_each_replica(strategy, hostile):
    first, second = hostile((16, 5, 3)), hostile((16, 5, 3), seed=1)
    first[8:] = first[8:] * 2 + 7  # the replicas have seen different things
    layer = made(strategy, first.shape, lambda: layers.BatchRenorm(1.5, 0.5))
    run(strategy, layer, np.split(first, 2))
    parts = np.split(second, 2)
    for y, part, before in zip(run(strategy, layer, parts), parts, np.split(first, 2), strict=True):
        count, mean, variance = definition.moments(before)
        expected = renormalized(part, mean, variance * count / (count - 1))
        np.testing.assert_allclose(y, expected, atol=1e-3, rtol=1e-3)


def test_renorm_of_a_replica_that_has_seen_nothing_is_batch_norm(strategy, hostile):
    first, second = hostile((8, 5, 3)), hostile((16, 5, 3), seed=1)
    layer = made(strategy, first.shape, lambda: layers.BatchRenorm(1.5, 0.5))
    run(strategy, layer, [first, np.zeros((0, 5, 3), "float32")])
    _, y = run(strategy, layer, np.split(second, 2))
    np.testing.assert_allclose(y, definition.batch_normalized(second[8:]), atol=1e-3)


def test_synchronized_renorm_is_that_of_one_device(strategy, hostile):
    first, second = hostile((16, 5, 3)), hostile((16, 5, 3), seed=1)
    layer = made(strategy, first.shape, lambda: layers.BatchRenorm(1.5, 0.5, synchronized=True))
    run(strategy, layer, np.split(first, [13]))
    y = np.concatenate(run(strategy, layer, np.split(second, [13])))
    count, mean, variance = definition.moments(first)
    np.testing.assert_allclose(y, renormalized(second, mean, variance * count / (count - 1)), atol=1e-3, rtol=1e-3)


def test_limits_are_the_same_on_all_replicas_and_can_be_assigned(strategy, hostile):
    x = hostile((16, 5, 3))
    layer = made(strategy, x.shape, lambda: layers.BatchRenorm(1.5, 0.5))
    run(strategy, layer, np.split(x, 2))
    layer.scale_limit.assign(1.0)
    layer.shift_limit.assign(0.0)
    for y, part in zip(run(strategy, layer, np.split(x, 2)), np.split(x, 2), strict=True):
        np.testing.assert_allclose(y, definition.batch_normalized(part), atol=1e-3)


@pytest.mark.parametrize(
    "make",
    [
        layers.MeanOnlyBatchNorm,
        lambda: layers.GhostBatchNorm(2),
        lambda: layers.BatchRenorm(1.5, 0.5),
        layers.EvoNormB0,
    ],
)
def test_last_batch_that_leaves_a_replica_empty_keeps_everything_finite(make, strategy, hostile):
    with strategy.scope():
        model = keras.Sequential([keras.Input((4, 3)), make()])
        model.compile("sgd", "mse", jit_compile=False)
    rows = hostile((9, 4, 3))
    model.fit(rows, rows, batch_size=4, shuffle=False, verbose=0)
    assert all(np.isfinite(value).all() for value in model.get_weights())
    assert np.isfinite(model.predict(rows, batch_size=4, verbose=0)).all()
