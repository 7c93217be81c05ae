"""The translated rectifier on TensorFlow, with the equation of `trelu`.

Differentiated by itself, a selection between a tensor and one value per channel
takes kernels that broadcast element by element. Forwards and backwards this one
takes 3.5 ms on 128 x 32 x 32 x 16, that one 8.9 and a ReLU 2.3 (two cores;
benchmarks/layers.py).
"""

import tensorflow as tf


def translated_relu(x, threshold):
    """Returns `max(x, threshold)`.

    Args:
        x: Tensor of shape `(batch, ..., channels)`.
        threshold: Tensor of shape `(channels,)` and the dtype of `x`.
    """

    # In here: AutoGraph takes such a decorator off a function of a module (TensorFlow 2.21).
    @tf.custom_gradient
    def clipped(x, threshold):
        y = tf.maximum(x, threshold)

        def gradient(dy):
            # Of y, which the next layer keeps, too: x need not be.
            dx = tf.raw_ops.ReluGrad(gradients=dy, features=y - threshold)
            rows = tuple(range(len(x.shape) - 1))
            return dx, tf.reduce_sum(dy, rows) - tf.reduce_sum(dx, rows)

        return y, gradient

    return clipped(x, threshold)
