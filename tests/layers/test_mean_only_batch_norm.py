import numpy as np
import pytest
from keras import layers as keras_layers
from keras import ops

from keras_norms import layers
from tests.reference import mean_only_batch_norm as definition


@pytest.mark.parametrize("use_bias", [False, True])
def test_has_a_bias_and_never_a_scale(use_bias):
    layer = layers.MeanOnlyBatchNorm(use_bias=use_bias)
    layer.build((None, 3))
    assert [v.name for v in layer.trainable_weights] == ["bias"] * use_bias
    assert [v.name for v in layer.non_trainable_weights] == ["moving_mean", "moving_weight"]
    with pytest.raises((TypeError, ValueError), match="use_scale"):
        layers.MeanOnlyBatchNorm(use_scale=True)


@pytest.mark.parametrize(("shape", "axis"), [((8, 3), -1), ((4, 3, 5), 1), ((4, 5, 6, 3), -1)])
def test_training_subtracts_the_mean_of_the_batch(shape, axis, hostile):
    layer, x = layers.MeanOnlyBatchNorm(axis=axis), hostile(shape, axis)
    layer.build(shape)
    layer.bias.assign([5.0, 6.0, 7.0])
    expected = definition.batch_normalized(x, [5, 6, 7], axis)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), expected, atol=2e-5)


def test_inference_subtracts_the_moving_mean(hostile):
    layer, x = layers.MeanOnlyBatchNorm(momentum=0.5), hostile((4, 3), seed=7)
    for seed in range(3):
        layer(hostile((16, 3), seed=seed), training=True)
    layer.bias.assign([5.0, 6.0, 7.0])
    means = [hostile((16, 3), seed=seed).astype("float64").mean(0) for seed in range(3)]
    expected = definition.normalized(x, (means[0] + 2 * means[1] + 4 * means[2]) / 7, [5, 6, 7])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_inference_before_training_is_the_identity(hostile):
    x = hostile((4, 3))
    np.testing.assert_array_equal(ops.convert_to_numpy(layers.MeanOnlyBatchNorm()(x)), x)


def test_gives_weight_normalized_layers_what_they_lack(hostile):
    x = hostile((64, 5))
    linear = layers.WeightNormalization(keras_layers.Dense(3, use_bias=False))
    y = ops.convert_to_numpy(layers.MeanOnlyBatchNorm()(linear(x), training=True))
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(0), ops.convert_to_numpy(linear(x)).std(0), rtol=1e-4)
