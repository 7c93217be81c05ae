"""Gradients on TensorFlow."""

import tensorflow as tf


def gradients(function, values):
    """Returns the gradients of a scalar, zero where it does not depend on a value, and what comes with it.

    Args:
        function: Function of a list of tensors that returns the scalar, and a structure of further tensors.
        values: List of tensors.
    """
    with tf.GradientTape() as tape:
        tape.watch(values)
        scalar, others = function(values)
    found = tape.gradient(scalar, values, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient) for gradient in found], others  # that of an embedding is sparse
