"""TensorFlow's fused batch normalization, with the signatures of `batch_norm`.

One kernel reads the batch once per pass instead of once per operation. Under XLA
it must not be used: there it becomes a mean of squares minus a squared mean, with
negative variances and NaN at large means (TensorFlow 2.21; tensorflow#118701).
"""

import tensorflow as tf

# Private, but the only way to know: tf_keras asks the same function for the same reason.
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext


def applies(x, axis):
    """Returns whether the kernel exists for this tensor and axis, and is right where it will run.

    A `tf.function` traced outside XLA and called again, with the same shapes, inside an XLA-compiled one cannot be
    told apart here. Give the inner function `jit_compile=True` as well.
    """
    return (
        len(x.shape) == 4
        and axis in (-1, 3)
        and x.dtype in (tf.float32, tf.float16, tf.bfloat16)
        and not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
        and not tf.config.optimizer.get_jit()
    )


def batch_normalized(x, scale, bias, epsilon):
    """Returns the normalized batch, its count per channel, its mean and its biased variance.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        scale, bias: Float32 tensors of shape `(channels,)`, or None for 1 and 0.
        epsilon: Float.
    """
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), tf.float32)
    empty = tf.zeros([0], tf.float32)
    y, mean, unbiased_variance = _kernel(x, scale, bias, empty, empty, epsilon, is_training=True)
    # Of no elements the kernel returns NaN, and of one a NaN variance on GPUs.
    mean = tf.where(count > 0, mean, 0.0)
    variance = tf.where(count > 1, unbiased_variance * (count - 1.0) / tf.maximum(count, 1.0), 0.0)
    return y, count, tf.stop_gradient(mean), tf.stop_gradient(variance)


def normalized(x, mean, variance, scale, bias, epsilon):
    """Returns `(x - mean) / sqrt(variance + epsilon) * scale + bias`; shapes as above."""
    return _kernel(x, scale, bias, mean, variance, epsilon, is_training=False)[0]


def _kernel(x, scale, bias, mean, variance, epsilon, is_training):
    channels = x.shape[-1]
    scale = tf.ones([channels], tf.float32) if scale is None else tf.convert_to_tensor(scale)
    bias = tf.zeros([channels], tf.float32) if bias is None else tf.convert_to_tensor(bias)
    result = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=bias, mean=mean, variance=variance, epsilon=epsilon, is_training=is_training
    )
    return result.y, result.batch_mean, result.batch_variance
