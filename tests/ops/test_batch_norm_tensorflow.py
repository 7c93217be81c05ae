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


def of_clipped(x, dy, scale, bias):
    """Returns the clipped batch and its gradients, by the definition."""
    y = definition.batch_normalized(x, scale, bias)
    return (np.maximum(y, 0), *definition.gradients(x, np.where(y > 0, dy, 0), scale))


def with_gradients(x, scale, bias, dy):
    """Returns the clipped batch and its gradients with respect to the batch, the scale and the bias."""
    with tf.GradientTape() as tape:
        tape.watch([x, scale, bias])
        y, *_ = batch_norm.batch_normalized_relu(x, scale, bias)
    return y, *tape.gradient(y, [x, scale, bias], dy)


@pytest.mark.parametrize("way", [lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)])
@pytest.mark.parametrize("shape", [(4, 5, 3, 3), (2, 3, 1, 3)])
def test_clipped_batch_and_its_gradients_follow_the_definition(way, shape, hostile):
    x, dy, bias = hostile(shape), hostile(shape, seed=1), np.array([0.2, 0.1, -0.3], "float32")
    values = way(with_gradients)(*(tf.constant(value) for value in (x, SCALE, bias, dy)))
    for value, expected in zip(values, of_clipped(x, dy, SCALE, bias), strict=True):
        # The fused kernel keeps the mean in one float32: relative to the largest.
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())


def test_clipped_batch_has_the_moments_of_the_batch(hostile):
    x = tf.constant(hostile((4, 5, 3, 3)))
    for value, expected in zip(batch_norm.batch_normalized_relu(x)[1], batch_norm.batch_normalized(x)[1], strict=True):
        np.testing.assert_array_equal(value, expected)


def test_clipped_batch_of_no_rows_has_gradients():
    x = tf.zeros((0, 3, 3, 3))
    y, dx, dscale, dbias = with_gradients(x, tf.constant(SCALE), tf.constant(BIAS), x)
    assert y.shape == dx.shape == x.shape
    np.testing.assert_array_equal(tf.stack([dscale, dbias]), np.zeros((2, 3)))


def test_gradient_of_the_gradient_is_that_of_both_one_after_the_other(hostile):
    x, dy = (tf.constant(hostile((4, 5, 3, 3), seed=seed)) for seed in range(2))

    @tf.function
    def second(function):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x)
            slope = tf.reduce_sum(inner.gradient(y, x, dy) * tf.sin(x))
        return outer.gradient(slope, x)

    separate = second(lambda x: tf.nn.relu(batch_norm.batch_normalized(x, SCALE, BIAS)[0]))
    together = second(lambda x: batch_norm.batch_normalized_relu(x, SCALE, BIAS)[0])
    np.testing.assert_allclose(together, separate, rtol=1e-4, atol=1e-5 * abs(separate.numpy()).max())


def convolved(x, kernel):
    return tf.nn.conv2d(batch_norm.batch_normalized_relu(x, SCALE, BIAS)[0], kernel, 1, "SAME")


@tf.function
def kernel_gradient(x, kernel, dz):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        z = convolved(x, kernel)
    return tape.gradient(z, [x, kernel], dz)


def test_convolution_behind_it_does_not_keep_the_clipped_batch(hostile):
    arguments = [tf.constant(hostile(shape)) for shape in ((2, 5, 5, 3), (3, 3, 3, 4), (2, 5, 5, 4))]
    graph = kernel_gradient.get_concrete_function(*arguments).graph
    (of_kernel,) = (o for o in graph.get_operations() if o.type == "Conv2DBackpropFilter")
    (of_input,) = (o for o in graph.get_operations() if o.type == "Conv2DBackpropInput")
    again = of_kernel.inputs[0].op
    (normalized,) = again.inputs
    assert (again.type, normalized.op.type) == ("Relu", "FusedBatchNormV3")
    assert not normalized.op.get_attr("is_training")
    # It waits for the gradient that reaches it: computed early it would stay in memory, too.
    assert of_input in normalized.op.inputs[0].op.control_inputs


def test_gradient_in_another_graph_than_the_batch_is_the_same(hostile):
    arguments = [tf.constant(hostile(shape)) for shape in ((2, 5, 5, 3), (3, 3, 3, 4), (2, 5, 5, 4))]
    x, kernel, dz = arguments
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        z = tf.function(convolved)(x, kernel)
    for apart, together in zip(tape.gradient(z, [x, kernel], dz), kernel_gradient(*arguments), strict=True):
        np.testing.assert_allclose(apart, together, rtol=1e-4, atol=1e-5 * abs(together.numpy()).max())


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
