"""Layers of Keras on PyTorch, which runs them eagerly."""

import torch

from benchmarks.peers import layers_keras, layers_torch


class InTraining(torch.nn.Module):
    """A Keras model in training, as a module of PyTorch."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x, training=True)


def make(library, normalization, shape, dtype, count, backward):
    """Returns the `Workload` of the layers in training: forward, and backward where asked for."""
    one, chain = (InTraining(layers_keras.model(library, normalization, shape, dtype, many)) for many in (1, count))
    x = torch.randn(shape).to(layers_torch.DEVICE, getattr(torch, dtype))
    # Keras casts by itself: PyTorch is told float32, so that it does not once more.
    return layers_torch.workload(one, chain, x, "float32", backward)
