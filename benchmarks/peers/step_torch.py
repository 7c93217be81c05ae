"""A training step on PyTorch, eager or compiled, channels last, on the GPU where there is one."""

import contextlib

import torch
from torch.nn import functional

from benchmarks.contest.entrant import Workload
from benchmarks.peers import networks_torch, step_batch


def make(arch, normalization, batch, size, classes, compiled=False, dtype="float32"):
    """
    Args:
        compiled: Boolean, whether `torch.compile` compiles the network.
        dtype: String, "float32" or "mixed_bfloat16".
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = networks_torch.NETWORKS[arch](normalization, classes).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(),
        step_batch.LEARNING_RATE,
        momentum=step_batch.MOMENTUM,
        weight_decay=step_batch.WEIGHT_DECAY,
    )
    images, labels = map(torch.from_numpy, step_batch.fixed(batch, size, classes))
    images = images.to(device).permute(0, 3, 1, 2)  # channels last in memory as they are
    labels = labels.to(device)
    called = torch.compile(network) if compiled else network

    def repeat():
        optimizer.zero_grad()
        with _precision(device, dtype):
            loss = _loss(called(images), labels)
        loss.backward()
        optimizer.step()
        step_batch.check(loss.item())
        if device.type == "cuda":
            torch.cuda.synchronize()

    on_gpu = device.type == "cuda"
    return Workload(repeat, device_memory=torch.cuda.max_memory_allocated if on_gpu else None)


def _precision(device, dtype):
    return torch.autocast(device.type, torch.bfloat16) if dtype == "mixed_bfloat16" else contextlib.nullcontext()


def _loss(outputs, labels):
    if isinstance(outputs, dict):
        weights = step_batch.LOSS_WEIGHTS
        return sum(weights[name] * functional.cross_entropy(logits, labels) for name, logits in outputs.items())
    return functional.cross_entropy(outputs, labels)
