"""Gradients on every backend."""

import keras
import numpy as np


def gradient(function, *arguments):
    """Returns the gradients of a scalar function with respect to its arguments, NumPy arrays all."""
    return _GRADIENTS[keras.backend.backend()](function, *arguments)


def _tensorflow(function, *arguments):
    import tensorflow as tf

    arguments = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    return [g.numpy() for g in tape.gradient(value, arguments, unconnected_gradients="zero")]


def _jax(function, *arguments):
    import jax

    return [np.asarray(g) for g in jax.grad(function, argnums=tuple(range(len(arguments))))(*arguments)]


def _torch(function, *arguments):
    import torch

    arguments = [torch.tensor(argument, requires_grad=True) for argument in arguments]
    return [g.numpy() for g in torch.autograd.grad(function(*arguments), arguments, materialize_grads=True)]


_GRADIENTS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
