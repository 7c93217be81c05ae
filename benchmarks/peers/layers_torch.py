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
}
ACTIVE = {"batch_norm_before", "batch_norm_after"}


def make(normalization, shape, dtype, count, backward, compiled):
    """Returns the `Workload` of the layers in training: forward, and backward where asked for."""
    made = []
    for number in range(count):
        made += [nn.ReLU()] if number and normalization not in ACTIVE else []
        made += LAYERS[normalization](shape[-1])
    model = nn.Sequential(*made).to(DEVICE, memory_format=torch.channels_last)
    return workload(torch.compile(model) if compiled else model, images(shape, dtype), dtype, count, backward)


def images(shape, dtype):
    """Returns a random batch of channels last, as PyTorch numbers its axes."""
    batch, height, width, channels = shape
    x = torch.randn(batch, channels, height, width).to(DEVICE, getattr(torch, dtype))
    return x.contiguous(memory_format=torch.channels_last)


def workload(forward, x, dtype, count, backward):
    """Returns the `Workload` of a module and its input."""
    x.requires_grad_(backward)
    upstream = torch.randn_like(x, requires_grad=False)
    weights = [weight for weight in forward.parameters() if weight.requires_grad]
    mixed = torch.autocast(DEVICE, getattr(torch, dtype)) if dtype != "float32" else contextlib.nullcontext()

    def run():
        with mixed, torch.set_grad_enabled(backward):
            y = forward(x)
        if backward:
            torch.autograd.grad(y, [x, *weights], upstream)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    facts = {"kept for backward": kept_bytes(run, weights) / count} if backward else {}
    return Workload(run, facts, torch.cuda.max_memory_allocated if DEVICE == "cuda" else None)


def kept_bytes(run, weights):
    """Returns the bytes of the memory that tensors saved for the derivatives hold, without weights."""
    held = {weight.untyped_storage().data_ptr() for weight in weights}
    saved = {}

    def save(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        run()
    return sum(saved.values())
