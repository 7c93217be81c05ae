"""Gradients on JAX."""

import jax


def gradients(function, values):
    """See `gradients_tensorflow.gradients`."""
    return jax.grad(function, has_aux=True)(values)
