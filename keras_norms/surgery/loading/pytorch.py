"""Reads a PyTorch state dict.

PyTorch's momentum is the weight of the new value, 1 minus ours. Neither it nor epsilon is in a state dict. The running
statistics are averages that started from mean 0 and variance 1, not to be divided by anything.
"""

import collections

import numpy as np

from keras_norms.surgery.loading import source

EPSILON = 1e-5
MOMENTUM = 1 - 0.1

_NAMES = {
    "weight": "kernel",
    "bias": "bias",
    "running_mean": "mean",
    "running_var": "variance",
    "weight_g": "length",
    "weight_v": "direction",
    "parametrizations.weight.original0": "length",
    "parametrizations.weight.original1": "direction",
}


def read(state, epsilon, momentum):
    """Returns the `Source` of a state dict.

    Args:
        state: Dict from names to tensors or arrays.
        epsilon, momentum: Floats, those of the batch norms; `momentum` is the weight kept.
    """
    arrays = collections.defaultdict(dict)
    for entry, value in state.items():
        name, part = _split(entry)
        if part != "num_batches_tracked":
            arrays[name][part] = source.Part(entry, _array(entry, value))
    modules = [_module(name, parts, epsilon, momentum) for name, parts in arrays.items()]
    return source.Source(source.by_name(modules), channels_first=True)


def _split(entry):
    if not isinstance(entry, str):
        raise ValueError(f"A state dict has names as its keys. Received: {entry!r}.")
    name, marker, rest = entry.partition("parametrizations.")
    if marker:
        return name.removesuffix("."), marker + rest
    name, _, part = entry.rpartition(".")
    return name, part


def _array(entry, value):
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # NumPy has no bfloat16.
        value = value.double().numpy() if value.is_floating_point() else value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"A state dict has a tensor or an array for each name. Received: {entry!r} of type {type(value).__name__}. "
            "If it is a dict of a training run, give what it has under a key such as 'state_dict'."
        )
    return array.astype("float64")


def _module(name, parts, epsilon, momentum):
    named = {_NAMES.get(part, part): array for part, array in parts.items()}
    # Norms call their scale a weight, too; no kernel is a vector.
    if "kernel" in named and named["kernel"].array.ndim < 2:
        named["scale"] = named.pop("kernel")
    if "mean" not in named:
        return source.Module(name, named)
    return source.Module(name, named, epsilon, momentum)
