"""Layers of Keras on JAX, and how layers as functions are measured there."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contest.entrant import Workload
from benchmarks.peers import layers_keras


def make(library, normalization, shape, dtype, count, backward):
    """Returns the `Workload` of the layers in training: forward, and backward where asked for."""
    one, chain = (layers_keras.model(library, normalization, shape, dtype, length) for length in (1, count))
    return workload(function(one), function(chain), shape, dtype, backward)


def function(model):
    """Returns a model in training as a function from weights and input to output and new state, and the weights."""
    state = [variable.value for variable in model.non_trainable_variables]

    def forward(weights, x):
        return model.stateless_call(weights, state, x, training=True)

    return forward, [variable.value for variable in model.trainable_variables]


def workload(one, chain, shape, dtype, backward):
    """Returns the `Workload` of a chain of layers, its facts those of one layer, both as `function` returns them."""
    forward, weights = chain
    x, upstream = (jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype) for seed in range(2))

    @jax.jit
    def forward_and_backward(weights, x, upstream):
        _, derive, state = jax.vjp(forward, weights, x, has_aux=True)
        return derive(upstream), state

    if not backward:
        only = jax.jit(forward)
        return Workload(lambda: jax.block_until_ready(only(weights, x)), device_memory=device_memory())
    return Workload(
        lambda: jax.block_until_ready(forward_and_backward(weights, x, upstream)),
        {"kept for backward": kept_bytes(*one, x)},
        device_memory(),
    )


def kept_bytes(forward, weights, x):
    """Returns the bytes that the function of derivatives holds, weights it needs among them, before XLA saves some."""

    def held(weights, x):
        derive = jax.vjp(forward, weights, x, has_aux=True)[1]
        return list({id(leaf): leaf for leaf in jax.tree.leaves(derive)}.values())

    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.eval_shape(held, weights, x))


def device_memory():
    """Returns a function that tells the peak of memory of a GPU, or `None` on a processor."""
    device = jax.devices()[0]
    return None if device.platform == "cpu" else lambda: device.memory_stats()["peak_bytes_in_use"]
