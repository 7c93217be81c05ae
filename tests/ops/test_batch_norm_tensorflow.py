import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's kernel", allow_module_level=True)

import tensorflow as tf

from keras_norms.ops import batch_norm, batch_norm_tensorflow
from tests.reference import batch_norm as definition

SCALE, BIAS = np.array([0.5, -2, 3], "float32"), np.array([5, 0.1, -1], "float32")


def operations(function, *arguments):
    graph = function.get_concrete_function(*arguments).graph
    return {operation.type for operation in graph.get_operations()}


def test_agrees_with_the_portable_form(hostile):
    x = hostile((4, 5, 3, 3))
    y, count, mean, variance = batch_norm_tensorflow.batch_normalized(tf.constant(x), SCALE, BIAS, 1e-3)
    portable = batch_norm.moments(x)
    np.testing.assert_allclose(
        y,
        batch_norm.normalized(
            np.moveaxis(x, -1, 1), portable.mean, portable.variance, SCALE, BIAS, 1, 1e-3, portable.residual
        )
        .numpy()
        .transpose(0, 2, 3, 1),
        atol=1e-3,
        rtol=1e-4,
    )
    assert count == 60
    np.testing.assert_allclose(mean, portable.mean, rtol=1e-5)
    np.testing.assert_allclose(variance, portable.variance, rtol=1e-4)


def test_inference_agrees_with_the_definition(hostile):
    x = hostile((4, 5, 3, 3))
    mean, variance = np.array([1, -2, 30], "float32"), np.array([4, 0.01, 100], "float32")
    y = batch_norm_tensorflow.normalized(tf.constant(x), mean, variance, SCALE, BIAS, 1e-3)
    np.testing.assert_allclose(y, definition.normalized(x, mean, variance, SCALE, BIAS, -1, 1e-3), rtol=1e-4, atol=1e-4)


def test_agrees_with_fused_batch_norm_of_tensorflow_1(hostile):
    x = hostile((4, 5, 3, 3))
    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, SCALE, BIAS, epsilon=1e-3, is_training=True)
    ours, moments = batch_norm.batch_normalized(tf.constant(x), SCALE, BIAS, epsilon=1e-3)
    np.testing.assert_allclose(ours, y, atol=1e-6)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(batch_norm.unbiased(moments.variance, moments.count), variance, rtol=1e-5)


def test_mean_of_a_thousand_at_a_tenth_is_right_to_two_hundredths():
    x = np.random.default_rng(0).normal(1000, 0.1, (64, 8, 8, 4)).astype("float32")
    y, _ = batch_norm.batch_normalized(tf.constant(x))
    np.testing.assert_allclose(y, definition.batch_normalized(x), atol=0.02)


def test_mean_of_ten_thousand_stays_finite():
    x = np.random.default_rng(0).normal(1e4, 1, (128, 32, 32, 4)).astype("float32")
    y, moments = batch_norm.batch_normalized(tf.constant(x))
    assert np.isfinite(y).all()
    assert np.isfinite(moments.variance).all()


@pytest.mark.parametrize(("compiled", "expected"), [(False, True), (True, False)])
def test_runs_outside_xla_alone(compiled, expected):
    @tf.function(jit_compile=compiled)
    def train(x):
        return batch_norm.batch_normalized(x)[0]

    @tf.function(jit_compile=compiled)
    def nested(x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.function(train.python_function)(x), lambda: x)

    x = tf.random.normal((4, 5, 5, 3))
    assert ("FusedBatchNormV3" in operations(train, x)) == expected
    graph = nested.get_concrete_function(x).graph.as_graph_def()
    types = {node.op for function in graph.library.function for node in function.node_def}
    assert ("FusedBatchNormV3" in types) == expected


@pytest.mark.parametrize(
    ("mean", "deviation", "shape", "tolerance"),
    [
        (1000, 0.1, (64, 8, 8, 4), 1e-4),
        (1e4, 1, (128, 32, 32, 4), 1e-2),
    ],
)
def test_xla_keeps_the_digits_of_large_means(mean, deviation, shape, tolerance):
    x = np.random.default_rng(0).normal(mean, deviation, shape).astype("float32")
    y, moments = tf.function(batch_norm.batch_normalized, jit_compile=True)(tf.constant(x))
    np.testing.assert_allclose(y, definition.batch_normalized(x), atol=tolerance)
    assert (moments.variance.numpy() > 0).all()


def test_autoclustering_turns_it_off():
    x = tf.random.normal((4, 5, 5, 3))
    tf.config.optimizer.set_jit("autoclustering")
    try:
        assert not batch_norm_tensorflow.applies(x, -1)
    finally:
        tf.config.optimizer.set_jit(False)
    assert batch_norm_tensorflow.applies(x, -1)
