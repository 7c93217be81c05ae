"""A step without the memory of gradients."""

import torch


def without_gradients(step):
    """Returns the step as a function of the same arguments that keeps nothing for gradients."""
    return torch.no_grad()(step)
