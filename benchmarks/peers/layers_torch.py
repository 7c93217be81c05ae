"""Layers of PyTorch, channels last, eager and compiled."""

import contextlib

import torch
from torch import nn

from benchmarks.contest.entrant import Workload

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class LayerNormOfChannels(nn.LayerNorm):
    """Layer normalization of the second axis, which lies last in memory."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def weight_normalized(convolution):
    return nn.utils.parametrizations.weight_norm(convolution)


# Of channels.
LAYERS = {
    "batch_norm": lambda channels: [nn.BatchNorm2d(channels)],
    "batch_norm_before": lambda channels: [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)],
    "batch_norm_after": lambda channels: [nn.ReLU(), nn.BatchNorm2d(channels)],
    "weight_norm": lambda channels: [weight_normalized(nn.Conv2d(channels, channels, 3, padding=1))],
    "group_norm": lambda channels: [nn.GroupNorm(8, channels)],
    "layer_norm": lambda channels: [LayerNormOfChannels(channels)],
    "local_response_norm": lambda channels: [nn.LocalResponseNorm(5)],
}
ACTIVE = {"batch_norm_before", "batch_norm_after"}


def make(normalization, shape, dtype, count, backward, compiled):
    """Returns the `Workload` of the layers in training: forward, and backward where asked for."""
    one, chain = (network(normalization, shape[-1], length) for length in (1, count))
    if compiled:
        one, chain = torch.compile(one), torch.compile(chain)
    return workload(one, chain, images(shape, dtype), dtype, backward)


def network(normalization, channels, count):
    """Returns a chain of layers."""
    made = []
    for number in range(count):
        made += [nn.ReLU()] if number and normalization not in ACTIVE else []
        made += LAYERS[normalization](channels)
    return nn.Sequential(*made).to(DEVICE, memory_format=torch.channels_last)


def images(shape, dtype):
    """Returns a random batch of channels last, as PyTorch numbers its axes."""
    batch, height, width, channels = shape
    x = torch.randn(batch, channels, height, width).to(DEVICE, getattr(torch, dtype))
    return x.contiguous(memory_format=torch.channels_last)


def workload(one, chain, x, dtype, backward):
    """Returns the `Workload` of a chain of layers, its facts those of one layer; both are modules."""
    upstream = torch.randn_like(x)
    x.requires_grad_(backward)
    facts = {"kept for backward": kept_bytes(one, x, dtype)} if backward else {}
    weights = [weight for weight in chain.parameters() if weight.requires_grad]

    def run():
        y = forward(chain, x, dtype, backward)
        if backward:
            torch.autograd.grad(y, [x, *weights], upstream)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return Workload(run, facts, torch.cuda.max_memory_allocated if DEVICE == "cuda" else None)


def forward(module, x, dtype, backward=True):
    """Returns the output of a module in training, in mixed precision where the input is not float32."""
    mixed = torch.autocast(DEVICE, getattr(torch, dtype)) if dtype != "float32" else contextlib.nullcontext()
    with mixed, torch.set_grad_enabled(backward):
        return module(x)


def kept_bytes(module, x, dtype):
    """Returns the bytes of the memory that tensors saved for the derivatives hold, without weights."""
    held = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    saved = {}

    def save(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        # The output holds the tensors, so that none of them takes the memory of another.
        y = forward(module, x, dtype)
    del y
    return sum(saved.values())
