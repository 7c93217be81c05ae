import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import ghost_batch_norm as definition


def trained(layer, hostile, batches=(8, 5, 9), shape=(4, 3)):
    for seed, examples in enumerate(batches):
        layer(hostile((examples, *shape), seed=seed), training=True)
    for weight, value in zip(layer.trainable_weights, ([0.5, -2, 3], [5, 0.1, -1]), strict=True):
        weight.assign(value)
    return layer


@pytest.mark.parametrize("examples", [1, 4, 7, 8, 9])
def test_training_normalizes_parts(examples, hostile):
    layer, x = trained(layers.GhostBatchNorm(4, epsilon=1e-3), hostile), hostile((examples, 4, 3))
    expected = definition.batch_normalized(x, 4, [0.5, -2, 3], [5, 0.1, -1], epsilon=1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("examples", [0, 1, 4, 7, 8])
@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3)])
def test_inference_is_batch_norm_for_any_batch(examples, shape, hostile):
    # The `virtual_batch_size` of tf.keras reshaped the batch in inference, too (keras#15790, tensorflow#23050).
    ghost = trained(layers.GhostBatchNorm(4), hostile, shape=shape)
    plain = trained(layers.BatchNorm(), hostile, shape=shape)
    x = hostile((examples, *shape), seed=7)
    np.testing.assert_allclose(ops.convert_to_numpy(ghost(x)), ops.convert_to_numpy(plain(x)), rtol=1e-4, atol=1e-4)
    plain.set_weights(ghost.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(ghost(x)), ops.convert_to_numpy(plain(x)))


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3)])
def test_one_part_is_batch_norm(shape, hostile):
    ghost = trained(layers.GhostBatchNorm(9), hostile, shape=shape)
    plain = trained(layers.BatchNorm(), hostile, shape=shape)
    for ours, theirs in zip(ghost.weights, plain.weights, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-4)
    x = hostile((9, *shape), seed=7)
    # The fused kernel of BatchNorm keeps the mean in one float32: 1e-6 of 50 against a spread of 0.05.
    np.testing.assert_allclose(
        ops.convert_to_numpy(ghost(x, training=True)),
        ops.convert_to_numpy(plain(x, training=True)),
        atol=3e-3,
        rtol=1e-4,
    )


def test_saved_layer_loads_and_trains_on(hostile, tmp_path):
    # The `virtual_batch_size` of tf.keras failed to load (keras#16713).
    model = keras.Sequential([keras.Input((4, 3)), layers.GhostBatchNorm(4)])
    trained(model.layers[0], hostile)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].ghost_batch_size == 4
    x = hostile((6, 4, 3), seed=7)
    for training in (False, True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(loaded(x, training=training)), ops.convert_to_numpy(model(x, training=training))
        )


@pytest.mark.parametrize(
    "jit_compile",
    [
        False,
        pytest.param(True, marks=pytest.mark.skipif(keras.backend.backend() == "torch", reason="compiles nothing")),
    ],
)
def test_fit_takes_a_smaller_last_batch(jit_compile, hostile):
    model = keras.Sequential([keras.Input((4, 3)), layers.GhostBatchNorm(4)])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    x = hostile((21, 4, 3))
    model.fit(x, x, batch_size=8, epochs=2, verbose=0)
    assert all(np.isfinite(value).all() for value in model.get_weights())
    # Six steps, whatever their parts.
    weight = ops.convert_to_numpy(model.layers[0].moving_weight)
    np.testing.assert_allclose(weight, 1 - 0.9**6, rtol=1e-5)


def test_mask_counts_within_the_parts(hostile):
    x, mask = hostile((5, 4, 3)), np.random.default_rng(0).random((5, 4)) < 0.6
    mask[:, 0] = True
    y = layers.GhostBatchNorm(3)(x, training=True, mask=mask)
    expected = definition.batch_normalized(x, 3, mask=mask)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ghost_batch_size": 0}, "`ghost_batch_size` must be an integer, at least 1"),
        ({"ghost_batch_size": 2.0}, "`ghost_batch_size` must be an integer"),
        ({"ghost_batch_size": 2, "synchronized": True}, "synchronized=True"),
        ({"ghost_batch_size": 2, "epsilon": 0.0}, "`epsilon`"),
    ],
)
def test_contradictions_are_refused_at_construction(options, words):
    with pytest.raises(ValueError, match=words):
        layers.GhostBatchNorm(**options)
