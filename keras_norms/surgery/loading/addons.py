"""Reads weights of tf.keras with TensorFlow Addons' `WeightNormalization`: HDF5 files, variables of checkpoints.

Both call a variable by the names of its layer and itself: `conv/g`, `conv/kernel`, `conv/bias`, `conv/initialized`. The
kernel of a wrapped layer is the direction; what the layer computed with is in no file.
"""

import collections
import json

import h5py
import numpy as np

from keras_norms.surgery.loading import source

EPSILON = 1e-3
MOMENTUM = 0.99

_NAMES = {
    "gamma": "scale",
    "beta": "bias",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "depthwise_kernel": "kernel",
}


def read(path, epsilon, momentum):
    """Returns the `Source` of an HDF5 file of tf.keras, of weights or of a whole model.

    Args:
        path: Path of the file.
        epsilon, momentum: Floats, those of the batch norms of which the file does not tell.
    """
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            if not {"layer_names", "layer_names0"} & set(group.attrs):
                raise ValueError(f"{path} is not an HDF5 file of tf.keras: it has no `layer_names`.")
            return from_variables(_variables(group), epsilon, momentum, _settings(file))
    except OSError as error:
        raise ValueError(f"{path} is not an HDF5 file, or not all of it ({error}).") from error


def from_variables(variables, epsilon, momentum, settings=None):
    """Returns the `Source` of variables by name.

    Args:
        variables: Dict from names such as `conv/kernel` to arrays.
        epsilon, momentum: Floats.
        settings: Dict from names of batch norms to pairs of epsilon and momentum.
    """
    arrays = collections.defaultdict(dict)
    for entry, value in variables.items():
        name, _, part = entry.rpartition("/")
        # The second is a copy that Addons keeps to measure a first batch with.
        if name and not name.endswith("/data_dep_init"):
            arrays[name][part] = source.Part(entry, np.asarray(value, "float64"))
    modules = [_module(name, parts, *(settings or {}).get(name, (epsilon, momentum))) for name, parts in arrays.items()]
    return source.Source(source.by_name(modules), channels_first=False)


def _variables(group):
    found = {}

    def add(path, item):
        if isinstance(item, h5py.Dataset):
            layer, _, entry = path.removesuffix(":0").partition("/")
            # Those of a model in the model have its name in front of theirs.
            found[entry if entry.startswith(f"{layer}/") else path.removesuffix(":0")] = item[()]

    group.visititems(add)
    return found


def _settings(file):
    config = file.attrs.get("model_config")
    return {} if config is None else dict(_batch_norms(json.loads(config), ""))


def _batch_norms(value, model):
    if isinstance(value, list):
        for item in value:
            yield from _batch_norms(item, model)
    elif isinstance(value, dict):
        config = value.get("config")
        inner = isinstance(config, dict) and "layers" in config
        if value.get("class_name") == "BatchNormalization":
            yield model + config["name"], (config["epsilon"], config["momentum"])
        elif inner and model == "":
            # The name of the outermost model is in front of no variable.
            yield from (pair for layer in config["layers"] for pair in _batch_norms(layer, _prefix(layer)))
        else:
            for item in value.values():
                yield from _batch_norms(item, model)


def _prefix(layer):
    config = layer.get("config", {})
    return f"{config['name']}/" if "layers" in config else ""


def _module(name, parts, epsilon, momentum):
    named = {_NAMES.get(part, part): array for part, array in parts.items()}
    initialized = named.pop("initialized", None)
    if initialized is not None:
        if not initialized.array:
            raise ValueError(
                f"The weight normalization {name!r} has never computed anything: `initialized` is False, and its g "
                "means nothing. Call the model there once, and save it again."
            )
        for ours, theirs in (("direction", "kernel"), ("length", "g")):
            if theirs in named:
                named[ours] = named.pop(theirs)
        if {"direction", "length"} <= named.keys():
            named["length"] = _along_last_axis(named["length"], named["direction"].array.ndim)
    if "mean" not in named:
        return source.Module(name, named)
    return source.Module(name, named, epsilon, momentum)


def _along_last_axis(part, rank):
    return source.Part(part.entry, part.array.reshape([1] * (rank - 1) + [-1]))
