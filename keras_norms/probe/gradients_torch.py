"""Gradients on PyTorch."""

import torch


def gradients(function, values):
    """See `gradients_tensorflow.gradients`."""
    values = [value.detach().requires_grad_() for value in values]
    # Keras' dropout without a seed draws from PyTorch's global random state (Keras 3.15).
    with torch.random.fork_rng():
        scalar, others = function(values)
    found = torch.autograd.grad(scalar, values, allow_unused=True, materialize_grads=True) if values else []
    return found, others
