"""Layers of flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks.peers import layers_jax

BATCH_NORM = {"use_running_average": False, "momentum": 0.9, "epsilon": 1e-5}
# Of a dtype.
LAYERS = {
    "batch_norm": lambda dtype: [nn.BatchNorm(**BATCH_NORM, dtype=dtype)],
    "batch_norm_before": lambda dtype: [nn.BatchNorm(**BATCH_NORM, dtype=dtype), nn.relu],
    "batch_norm_after": lambda dtype: [nn.relu, nn.BatchNorm(**BATCH_NORM, dtype=dtype)],
    "group_norm": lambda dtype: [nn.GroupNorm(8, epsilon=1e-5, dtype=dtype)],
    "layer_norm": lambda dtype: [nn.LayerNorm(epsilon=1e-5, dtype=dtype)],
}
ACTIVE = {"batch_norm_before", "batch_norm_after"}


def make(normalization, shape, dtype, count, backward):
    """Returns the `Workload` of the layers in training: forward, and backward where asked for."""
    one, chain = (function(normalization, shape, dtype, length) for length in (1, count))
    return layers_jax.workload(one, chain, shape, dtype, backward)


def function(normalization, shape, dtype, count):
    """Returns the layers as a function from weights and input to output and new state, and the weights."""
    made = []
    for number in range(count):
        made += [nn.relu] if number and normalization not in ACTIVE else []
        made += LAYERS[normalization](dtype)
    model = nn.Sequential(made)
    variables = model.init(jax.random.key(0), jnp.zeros(shape, dtype))
    state = {"batch_stats": variables.get("batch_stats", {})}

    def forward(weights, x):
        return model.apply({"params": weights, **state}, x, mutable=["batch_stats"])

    return forward, variables["params"]
