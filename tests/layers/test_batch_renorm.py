import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import batch_norm as whole
from tests.reference import batch_renorm as definition

SCALE, BIAS = [0.5, -2, 3], [5, 0.1, -1]


def trained(layer, hostile, steps=3):
    for seed in range(steps):
        layer(hostile((8, 4, 3), seed=seed) * (1 + seed), training=True)
    for weight, value in zip(layer.trainable_weights, (SCALE, BIAS), strict=True):
        weight.assign(value)
    return layer


def numpy(values):
    return [ops.convert_to_numpy(value) for value in values]


@pytest.mark.parametrize("limits", [(1.0, 0.0), (1.2, 0.1), (np.inf, np.inf)])
def test_corrects_towards_the_statistics_before_they_move(limits, hostile):
    layer, x = trained(layers.BatchRenorm(*limits, momentum=0.7, epsilon=1e-3), hostile), hostile((8, 4, 3), seed=7)
    r, d = definition.corrections(x, *numpy(layer.statistics()), *limits, epsilon=1e-3)
    y = ops.convert_to_numpy(layer(x, training=True))
    expected = definition.batch_normalized(x, r, d, SCALE, BIAS, epsilon=1e-3)
    np.testing.assert_allclose(y, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("limits", [(1.0, 0.0), (3.0, 5.0), (np.inf, np.inf)])
def test_first_step_is_batch_norm_whatever_the_limits(limits, hostile):
    # Corrected towards mean 0 and variance 1 it would be the identity.
    x = hostile((8, 4, 3))
    y = ops.convert_to_numpy(layers.BatchRenorm(*limits)(x, training=True))
    np.testing.assert_allclose(y, whole.batch_normalized(x), atol=1e-3)


def test_a_masked_first_step_leaves_it_the_first(hostile):
    layer, x = layers.BatchRenorm(3.0, 5.0), hostile((8, 4, 3))
    layer(x, training=True, mask=np.zeros((8, 4), bool))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), whole.batch_normalized(x), atol=1e-3)


def test_limits_of_one_and_zero_are_batch_norm(hostile):
    renorm, plain = trained(layers.BatchRenorm(1.0, 0.0), hostile), trained(layers.BatchNorm(), hostile)
    x = hostile((8, 4, 3), seed=7)
    for training in (True, False):
        ours, theirs = renorm(x, training=training), plain(x, training=training)
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(renorm.statistics(), plain.statistics(), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-5)


def test_without_limits_training_is_inference(hostile):
    layer, x = trained(layers.BatchRenorm(np.inf, np.inf), hostile), hostile((8, 4, 3), seed=7)
    inference = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), inference, rtol=1e-3, atol=1e-3)


def test_inference_is_batch_norm_whatever_the_limits(hostile):
    layer, x = trained(layers.BatchRenorm(1.2, 0.1), hostile), hostile((8, 4, 3), seed=7)
    expected = whole.normalized(x, *numpy(layer.statistics()), SCALE, BIAS)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_limits_are_variables_that_no_optimizer_moves():
    layer = layers.BatchRenorm(3.0, 5.0)
    layer.build((None, 3))
    assert [v.name for v in layer.non_trainable_weights][-2:] == ["scale_limit", "shift_limit"]
    np.testing.assert_array_equal(numpy([layer.scale_limit, layer.shift_limit]), [3, 5])


def model_of(layer):
    model = keras.Sequential([keras.Input((4, 3)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=keras.backend.backend() != "torch")
    return model


def test_limits_follow_a_callback_in_a_compiled_fit_and_are_saved(hostile, tmp_path):
    x = np.concatenate([hostile((8, 4, 3), seed=seed) for seed in range(4)])
    layer = layers.BatchRenorm(1.0, 0.0)
    model = model_of(layer)

    def relax(number, logs=None):
        layer.scale_limit.assign(1 + number)
        layer.shift_limit.assign(number)

    # On JAX `fit` holds the state of an epoch itself.
    hook = "on_epoch_begin" if keras.backend.backend() == "jax" else "on_train_batch_begin"
    callback = keras.callbacks.LambdaCallback(**{hook: relax})
    model.fit(x, x, batch_size=8, shuffle=False, epochs=4, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(numpy([layer.scale_limit, layer.shift_limit]), [4, 3])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    np.testing.assert_array_equal(numpy([loaded.scale_limit, loaded.shift_limit]), [4, 3])
    # What a new layer starts with is another thing.
    assert (loaded.maximum_scale, loaded.maximum_shift) == (1.0, 0.0)


def test_assigned_limits_act_in_a_function_that_is_traced_already(hostile):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("traces of TensorFlow")
    import tensorflow as tf

    layer, x = trained(layers.BatchRenorm(1.0, 0.0), hostile), hostile((8, 4, 3), seed=7)
    step = tf.function(lambda x: layer(x, training=True), jit_compile=True)
    np.testing.assert_allclose(step(x), whole.batch_normalized(x, SCALE, BIAS), atol=1e-3)
    layer.scale_limit.assign(2.0)
    layer.shift_limit.assign(0.5)
    r, d = definition.corrections(x, *numpy(layer.statistics()), 2, 0.5)
    np.testing.assert_allclose(step(x), definition.batch_normalized(x, r, d, SCALE, BIAS), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("limits", "words"),
    [((0.9, 0.0), "`maximum_scale`"), ((1.0, -0.1), "`maximum_shift`"), (("3", 5.0), "`maximum_scale`")],
)
def test_impossible_limits_are_refused(limits, words):
    with pytest.raises(ValueError, match=words):
        layers.BatchRenorm(*limits)
