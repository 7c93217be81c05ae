"""Layers of Keras in a TensorFlow graph."""

import tensorflow as tf

from benchmarks.contest.entrant import Workload
from benchmarks.peers import kept_tensorflow, layers_keras


def make(library, normalization, shape, dtype, count, backward):
    """Returns the `Workload` of the layers in training: forward, and backward where asked for.

    Its facts are of one layer, however many are measured in a chain.
    """
    model = layers_keras.model(library, normalization, shape, dtype, count)
    x, upstream = (tf.random.normal(shape, dtype=tf.float32) for _ in range(2))
    x, upstream = tf.cast(x, dtype), tf.cast(upstream, dtype)
    weights = [variable.value for variable in model.trainable_variables]

    def forward(x):
        return model(x, training=True)

    @tf.function
    def forward_and_backward(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = forward(x)
        return tape.gradient(y, [x, *weights], upstream)

    if not backward:
        only = tf.function(forward)
        return Workload(lambda: only(x))
    kept = kept_tensorflow.kept_bytes(layers_keras.model(library, normalization, shape, dtype, 1), shape, dtype)
    return Workload(lambda: forward_and_backward(x, upstream), {"kept for backward": kept})
