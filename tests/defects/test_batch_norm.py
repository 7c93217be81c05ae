"""H1, H4, H8, H13, H14: batch normalization on one device."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_norms import layers
from tests.defects.sides import sides
from tests.reference import batch_norm as definition


def of_keras(**options):
    return keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-5, **options)


def of_ours(**options):
    return layers.BatchNorm(momentum=0.0, epsilon=1e-5, **options)


def statistics(layer):
    """Returns the moving mean and variance that inference reads."""
    if isinstance(layer, layers.BatchNorm):
        return [value.numpy() for value in layer.statistics()]
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def normalized(layer, x, jit_compile=False):
    """Returns the output in training, computed in a graph as `fit` does."""
    layer.build(x.shape)
    return tf.function(lambda: layer(x, training=True), jit_compile=jit_compile)().numpy()


@pytest.mark.parametrize("training", [True, False])
@sides("H1 no fused kernel (keras-core#225, keras#19649)", of_keras, of_ours)
def test_images_go_through_the_fused_kernel(side, training):
    layer = side()
    layer.build((None, 4, 4, 3))
    traced = tf.function(lambda x: layer(x, training=training)).get_concrete_function(tf.TensorSpec((2, 4, 4, 3)))
    assert "FusedBatchNormV3" in {operation.type for operation in traced.graph.get_operations()}


@sides("H4 variance as a mean of squares less a squared mean (tf#41980, tf#43165)", of_keras, of_ours)
def test_synchronized_variance_of_a_large_mean_has_its_digits(side):
    x = (np.random.default_rng(0).normal(size=(4096, 1)) * 0.1 + 1000).astype("float32")
    layer = side(synchronized=True)
    layer(x, training=True)
    np.testing.assert_allclose(statistics(layer)[1], x.var(0, dtype="float64"), rtol=0.01)


def fused(x):
    ones = np.ones(x.shape[-1], "float32")
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=ones, offset=0 * ones, mean=[], variance=[], epsilon=1e-5, is_training=True
    ).y


@sides(
    "H8 the fused kernel in XLA (tf#118701, tf#117318)",
    lambda x: tf.function(fused, jit_compile=True)(x).numpy(),
    lambda x: normalized(of_ours(), x, jit_compile=True),
)
def test_images_of_a_large_mean_are_normalized_under_xla(side):
    x = np.random.default_rng(0).normal(1000, 0.1, (64, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(side(x), definition.batch_normalized(x), atol=1e-4)


@sides("H8 lost digits (keras#18795, tf#117318)", of_keras, of_ours)
def test_sequences_of_a_large_mean_keep_their_digits(side):
    x = np.random.default_rng(0).normal(1000, 0.1, (64, 64, 4)).astype("float32")
    np.testing.assert_allclose(normalized(side(), x), definition.batch_normalized(x), atol=1e-4)


@sides("H13 the float32 mean of many rows", of_keras, of_ours)
def test_mean_of_many_rows_is_right(side):
    x = np.random.default_rng(0).normal(1e4, 1, (128, 1024, 4)).astype("float32")
    np.testing.assert_allclose(normalized(side(), x), definition.batch_normalized(x), atol=1e-3)


@sides("H14 a mask of False alone moves the statistics", of_keras, of_ours)
def test_batch_that_is_masked_away_moves_nothing(side):
    layer = side()
    layer.build((None, 3, 4))
    layer(np.full((2, 3, 4), 5.0, "float32"), training=True, mask=np.zeros((2, 3), bool))
    np.testing.assert_array_equal(statistics(layer), [[0] * 4, [1] * 4])


@sides("H14 a batch without rows makes the statistics NaN", of_keras, of_ours)
def test_batch_without_rows_moves_nothing(side):
    layer = side()
    layer.build((None, 4))
    layer(np.zeros((0, 4), "float32"), training=True)
    np.testing.assert_array_equal(statistics(layer), [[0] * 4, [1] * 4])
