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
    result, count, mean, variance = _of_batch(x, *_weights(x, scale, bias), epsilon)
    return result.y, count, tf.stop_gradient(mean), tf.stop_gradient(variance)


def batch_normalized_relu(x, scale, bias, epsilon):
    """Returns what `batch_normalized` does, the batch clipped at 0, and keeps `x` alone for the gradient.

    The gradient computes the clipped batch again, for itself and for the kernels' gradients of convolutions that read
    it, so that it does not stay in memory from the forward pass until then. A training step of ResNet-50 grows by 8 %
    less for it. Shapes as above.
    """

    @tf.custom_gradient
    def clipped(x, scale, bias):
        result, count, mean, variance = _of_batch(x, scale, bias, epsilon)

        def gradient(dy, *_):
            with tf.control_dependencies([dy]):  # not before it is needed
                again = tf.nn.relu(_kernel(tf.identity(x), scale, bias, mean, variance, epsilon, False).y)
            _read_by_kernel_gradients(outputs[0], again)
            gradients = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=tf.raw_ops.ReluGrad(gradients=dy, features=again),
                x=x,
                scale=scale,
                reserve_space_1=result.reserve_space_1,
                reserve_space_2=result.reserve_space_2,
                reserve_space_3=result.reserve_space_3,
                epsilon=epsilon,
            )
            return gradients.x_backprop, gradients.scale_backprop, gradients.offset_backprop

        return (tf.nn.relu(result.y), count, mean, variance), gradient

    outputs = clipped(x, *_weights(x, scale, bias))
    return outputs


def normalized(x, mean, variance, scale, bias, epsilon):
    """Returns `(x - mean) / sqrt(variance + epsilon) * scale + bias`; shapes as above."""
    return _kernel(x, *_weights(x, scale, bias), mean, variance, epsilon, False).y


def _of_batch(x, scale, bias, epsilon):
    """Returns the kernel's results in training, the count per channel, the mean and the biased variance."""
    empty = tf.zeros([0], tf.float32)
    result = _kernel(x, scale, bias, empty, empty, epsilon, True)
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), tf.float32)
    # Of no elements the kernel returns NaN, and of one a NaN variance on GPUs.
    mean = tf.where(count > 0, result.batch_mean, 0.0)
    variance = tf.where(count > 1, result.batch_variance * (count - 1.0) / tf.maximum(count, 1.0), 0.0)
    return result, count, mean, variance


def _weights(x, scale, bias):
    channels = x.shape[-1]
    scale = tf.ones([channels], tf.float32) if scale is None else tf.convert_to_tensor(scale)
    bias = tf.zeros([channels], tf.float32) if bias is None else tf.convert_to_tensor(bias)
    return scale, bias


def _kernel(x, scale, bias, mean, variance, epsilon, is_training):
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=bias, mean=mean, variance=variance, epsilon=epsilon, is_training=is_training
    )


def _read_by_kernel_gradients(tensor, again):
    """Lets the kernels' gradients of the convolutions of a tensor read another one of equal values instead of it."""
    if tf.executing_eagerly() or tensor.graph is not again.graph:
        return
    for operation in tensor.consumers():
        if operation.type == "Conv2DBackpropFilter":
            # Private: gradients of operations of Keras layers that we do not write cannot be reached otherwise.
            operation._update_input(0, again)
