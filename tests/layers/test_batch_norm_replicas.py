"""Batch norm on two replicas: what is synchronized, averaged, and left alone."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("replicas are those of TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_norms import layers
from tests.reference import batch_norm as definition

# How the rows of a batch fall on two replicas: evenly, unevenly, all on one.
SPLITS = [(8, 8), (13, 3), (16, 0), (0, 16)]


def made(strategy, shape, **options):
    with strategy.scope():
        layer = layers.BatchNorm(**options)
        layer.build(shape)
    if layer.use_scale:
        layer.scale.assign(np.linspace(0.5, 2, layer.scale.shape[0]))
    return layer


def per_replica(strategy, values):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[context.replica_id_in_sync_group])
    )


def run(strategy, layer, parts, dys, masks=None):
    """Returns per replica the outputs, and the gradients of inputs and scale, the latter summed over replicas."""

    @tf.function
    def step(x, dy, mask):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True, mask=mask)
            loss = tf.reduce_sum(dy * y)
        dx, dscale = tape.gradient(loss, [x, layer.scale.value])
        return y, dx, tf.distribute.get_replica_context().all_reduce("SUM", dscale)

    masks = masks or [np.ones(part.shape[:-1], bool) for part in parts]
    arguments = [per_replica(strategy, values) for values in (parts, dys, masks)]
    y, dx, dscale = strategy.run(step.python_function, args=arguments)
    local = strategy.experimental_local_results
    return [np.concatenate([t.numpy() for t in local(v)]) for v in (y, dx)] + [local(dscale)[0].numpy()]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("offset", [0, 1e4])
def test_synchronized_equals_one_device_on_the_whole_batch(split, offset, strategy, hostile):
    x = hostile((16, 5, 3)) + np.float32(offset)
    dy = hostile((16, 5, 3), seed=4)
    layer = made(strategy, x.shape, synchronized=True, epsilon=1e-3)
    scale = layer.scale.numpy()
    y, dx, dscale = run(strategy, layer, np.split(x, split[:1]), np.split(dy, split[:1]))
    np.testing.assert_allclose(y, definition.batch_normalized(x, scale, epsilon=1e-3), atol=2e-4)
    expected_dx, expected_dscale, _ = definition.gradients(x, dy, scale, epsilon=1e-3)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-3, atol=1e-4 * np.abs(expected_dx).max())
    np.testing.assert_allclose(dscale, expected_dscale, rtol=1e-3)
    count, mean, variance = definition.moments(x)
    statistics = [value.numpy() for value in layer.statistics()]
    np.testing.assert_allclose(statistics[0], mean, rtol=1e-5)
    np.testing.assert_allclose(statistics[1], variance * count / (count - 1), rtol=1e-3)


def test_synchronized_counts_what_the_masks_leave(strategy, hostile):
    x, mask = hostile((16, 5, 3)), np.random.default_rng(0).random((16, 5)) < 0.4
    mask[8:11] = False
    layer = made(strategy, x.shape, synchronized=True)
    y, _, _ = run(strategy, layer, np.split(x, [8]), np.split(np.ones_like(x), [8]), np.split(mask, [8]))
    expected = definition.batch_normalized(x, layer.scale.numpy(), mask=mask)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_synchronized_takes_one_collective_a_layer(strategy, monkeypatch):
    calls = []
    for name in ("all_gather", "all_reduce", "merge_call"):
        method = getattr(tf.distribute.ReplicaContext, name)
        monkeypatch.setattr(
            tf.distribute.ReplicaContext,
            name,
            lambda *a, _name=name, _method=method, **k: (calls.append(_name), _method(*a, **k))[1],
        )
    layer = made(strategy, (4, 3), synchronized=True)
    strategy.run(lambda: layer(tf.ones((4, 3)), training=True))
    assert sorted(calls) == ["all_gather"] * 2 + ["merge_call"] * 2  # on two replicas; the second is the first's way


@pytest.mark.parametrize("split", SPLITS)
def test_moving_statistics_are_the_mean_of_what_the_replicas_have_seen(split, strategy, hostile):
    batches = [hostile((16, 3), seed=s) for s in range(3)]
    layer = made(strategy, (16, 3), momentum=0.7)
    for batch in batches:
        parts = np.split(batch, split[:1])
        run(strategy, layer, parts, [np.ones_like(part) for part in parts])
    seen = [[part for batch in batches if len(part := np.split(batch, split[:1])[r])] for r in (0, 1)]
    averages = [definition.moving_average([definition.moments(p)[1] for p in parts], 0.7) for parts in seen if parts]
    np.testing.assert_allclose(layer.statistics()[0].numpy(), np.mean(averages, axis=0), rtol=1e-4)


def test_replica_that_has_seen_less_weighs_less(strategy):
    layer = made(strategy, (2, 1), momentum=0.5)
    for parts in ([[[2.0]], [[10.0]]], [[[6.0]], np.zeros((0, 1))]):
        parts = [np.array(part, "float32") for part in parts]
        run(strategy, layer, parts, parts)
    # Totals 0.25 * 2 + 0.5 * 6 and 0.5 * 10, weights 0.75 and 0.5.
    np.testing.assert_allclose(layer.statistics()[0].numpy(), [(0.5 + 3 + 5) / 1.25], rtol=1e-6)


def fitted(strategy):
    with strategy.scope():
        inputs = keras.Input((1,), name="x")
        model = keras.Model(inputs, layers.BatchNorm(momentum=0.0, name="norm")(inputs))
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    # Replica 0 sees 0 and 2, replica 1 sees 10 and 14: means 1 and 12, variances 2 and 8.
    x = np.array([[0.0], [2.0], [10.0], [14.0]], "float32")
    model.fit(x, x, batch_size=4, shuffle=False, verbose=0)
    return model, x


def test_what_is_read_saved_and_exported_is_the_mean_over_replicas(strategy, tmp_path):
    model, x = fitted(strategy)
    expected = (x - 6.5) / np.sqrt(5 + 1e-5)
    mean, variance = model.get_layer("norm").statistics()
    np.testing.assert_allclose([mean.numpy()[0], variance.numpy()[0]], [6.5, 5.0], rtol=1e-6)
    np.testing.assert_allclose(model.get_weights()[2], [6.5], rtol=1e-6)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(x), expected, rtol=1e-5)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.serve(x), expected, rtol=1e-5)
    checkpoint = tf.train.Checkpoint(model=model)
    path = checkpoint.save(tmp_path / "checkpoint")
    other = keras.models.clone_model(model)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    np.testing.assert_allclose(other(x), expected, rtol=1e-5)


def test_inference_on_replicas_uses_the_mean_over_replicas(strategy):
    model, x = fitted(strategy)
    expected = (x - 6.5) / np.sqrt(5 + 1e-5)
    np.testing.assert_allclose(model.predict(x, batch_size=4, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(x, x, batch_size=4, verbose=0), np.mean((expected - x) ** 2), rtol=1e-5)


def test_last_batch_that_leaves_a_replica_empty_keeps_everything_finite(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), layers.BatchNorm(momentum=0.5)])
        model.compile("sgd", "mse", jit_compile=False)
    rows = np.arange(9, dtype="float32")[:, None]
    model.fit(rows, rows, batch_size=4, shuffle=False, verbose=0)
    assert all(np.isfinite(value).all() for value in model.get_weights())
