"""Gradients on every backend."""

import keras
import numpy as np
from keras import ops


def gradient(function, *arguments):
    """Returns the gradients of a scalar function with respect to its arguments, NumPy arrays all."""
    return _GRADIENTS[keras.backend.backend()](function, *arguments)


def weight_gradients(layer, x, dy=1.0, **options):
    """Returns the gradients of `sum(dy * layer(x, **options))` by the trainable variables, in order."""
    rest = [ops.convert_to_tensor(variable) for variable in layer.non_trainable_variables]

    def total(*trainable):
        return ops.sum(ops.multiply(layer.stateless_call(list(trainable), rest, x, **options)[0], dy))

    trainable = [ops.convert_to_numpy(variable) for variable in layer.trainable_variables]
    return gradient(total, *trainable) if trainable else []


def _tensorflow(function, *arguments):
    import tensorflow as tf

    arguments = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    gradients = tape.gradient(value, arguments, unconnected_gradients="zero")
    return [tf.convert_to_tensor(g).numpy() for g in gradients]  # those of looked up rows are sparse


def _jax(function, *arguments):
    import jax

    return [np.asarray(g) for g in jax.grad(function, argnums=tuple(range(len(arguments))))(*arguments)]


def _torch(function, *arguments):
    import torch

    arguments = [torch.tensor(argument, requires_grad=True) for argument in arguments]
    return [g.numpy() for g in torch.autograd.grad(function(*arguments), arguments, materialize_grads=True)]


_GRADIENTS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
