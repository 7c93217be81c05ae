"""Weights of other frameworks, into the matching layers of a Keras model."""

import collections.abc
import os
import pathlib

from keras_norms.layers import arguments
from keras_norms.surgery import rebuild, report
from keras_norms.surgery.loading import addons, caffe, flattening, matching, pytorch, safetensors, values
from keras_norms.surgery.loading import source as sources


def load(model, source, names=None, epsilon=None, momentum=None):
    """Returns a new model with the weights of a Caffe, PyTorch or TensorFlow Addons model, and a report.

    A layer takes the weights of the layer that has its name in the source, or that `names` says: dense layers,
    convolutions, transposed and depthwise ones, batch norms (ours and Keras'), `Scale`, `Bias`, and all the linear ones
    in `WeightNormalization`. Kernels come into the order of Keras, also those of dense layers behind a flattened image.
    What the source normalizes and the model does not becomes a plain kernel; what only the model normalizes gets
    the norm as its scale: both compute the same. All other layers keep their weights, and the report says so.

    Batch norms compute with the epsilon of the source, and go on with its momentum: the layers of the new model have
    them. `momentum` is the weight that a moving average keeps, everywhere in this package.

    | source | epsilon | momentum | moving variance | moving averages |
    | --- | --- | --- | --- | --- |
    | Caffe | in the file | in the file | unbiased | to be divided by the third blob, as ours by `moving_weight` |
    | PyTorch | 1e-5 | 0.9, there called 0.1 | unbiased | averages |
    | tf.keras with Addons | in a whole model's file, or 1e-3 | likewise, 0.99 | unbiased for images | averages |

    Variances are taken as they are: the size of the batches, with which one could be turned into the other, is in no
    file.
    What the source has not got changes nothing: a scale is 1, a bias 0. What a layer has no place for is an error.

    Args:
        model: Built functional or sequential Keras model. It stays as it is.
        source: Path of a `.caffemodel` file; dict from names to tensors or arrays, a PyTorch state dict, or the path of
            a file of one (`.safetensors`; `.pt` or `.pth`, which need PyTorch); path of an HDF5 file of tf.keras
            (`.h5`, `.hdf5`), of weights or a whole model, or of a TensorFlow checkpoint (which needs TensorFlow).
        names: Dict from names of layers to their names in the source, where these differ. `"block/conv"` is the layer
            `conv` in the model `block`; of a model the name, such as PyTorch's `"layer1.0"`, goes in front of those of
            its layers.
        epsilon: Float, that of the source's batch norms, where the source does not say it and it is not the default of
            the framework.
        momentum: Float in [0, 1), the weight their moving averages keep, likewise.

    Returns:
        Tuple of the new model, not compiled, and a `Report`. Behind the layers it has a row for each layer of the
        source that no layer has taken.

    Raises:
        ValueError: The source cannot be read, no layer of the model is in it, or something does not fit: which layer,
            which entry, and what was expected. No model is returned then.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="fc")])
    >>> state = {"fc.weight": np.array([[2.0, 3.0]]), "fc.bias": np.array([1.0])}
    >>> loaded, report = keras_norms.surgery.load(model, state)
    >>> float(loaded(np.array([[10.0, 100.0]]))[0, 0])
    321.0
    >>> report
    layer  done                            reason
    fc     loaded from 'fc': weight, bias
    """
    rebuild.check(model)
    if not model.built:
        raise ValueError(
            "`model` must be built: begin it with `keras.Input`, or call it once. Received: a model without shapes."
        )
    found = _read(source, epsilon, momentum)
    new = rebuild.rebuilt(model)
    layers = matching.layers_of(new)
    loadings = _loadings(new, layers, found, names or {})
    for loading in loadings.values():
        _apply(loading)
    return new, _report(layers, loadings, found)


def _read(source, epsilon, momentum):
    if isinstance(source, collections.abc.Mapping):
        return pytorch.read(source, *_settings(pytorch, epsilon, momentum))
    if not isinstance(source, str | os.PathLike):
        raise ValueError(
            "`source` must be a path, or a dict such as PyTorch's `model.state_dict()`. "
            f"Received: an object of type {type(source).__name__}."
        )
    path = pathlib.Path(source)
    if path.suffix == ".caffemodel":
        if epsilon is not None or momentum is not None:
            raise ValueError(
                "A `.caffemodel` says its epsilon and momentum itself. "
                f"Received: epsilon={epsilon}, momentum={momentum}."
            )
        return caffe.read(_existing(path))
    if path.suffix in (".pt", ".pth"):
        return pytorch.read(_state_dict(_existing(path)), *_settings(pytorch, epsilon, momentum))
    if path.suffix == ".safetensors":
        return pytorch.read(safetensors.read(_existing(path)), *_settings(pytorch, epsilon, momentum))
    if path.suffix in (".h5", ".hdf5"):
        return addons.read(_existing(path), *_settings(addons, epsilon, momentum))
    if path.is_dir() or path.with_name(f"{path.name}.index").exists():
        return _checkpoint(path, *_settings(addons, epsilon, momentum))
    raise ValueError(
        "`source` must be a dict, or the path of a .caffemodel, .safetensors, .pt, .pth, .h5 or .hdf5 file or of "
        f"a TensorFlow checkpoint, without its `.index`. Received: {str(source)!r}."
    )


def _state_dict(path):
    try:
        from keras_norms.surgery.loading import pytorch_torch
    except ImportError as error:
        raise ImportError(f"Reading {path} needs PyTorch. Install it, or give a dict from names to arrays.") from error
    return pytorch_torch.read(path)


def _checkpoint(path, epsilon, momentum):
    try:
        from keras_norms.surgery.loading import addons_tensorflow
    except ImportError as error:
        raise ImportError(f"Reading {path} needs TensorFlow. Install it, or give a file of `save_weights`.") from error
    return addons_tensorflow.read(path, epsilon, momentum)


def _settings(framework, epsilon, momentum):
    return (
        framework.EPSILON if epsilon is None else arguments.positive("epsilon", epsilon),
        framework.MOMENTUM if momentum is None else arguments.momentum(momentum),
    )


def _existing(path):
    if not path.is_file():
        raise ValueError(f"`source` must be a file. Received: {str(path)!r}, which is none.")
    return path


def _loadings(model, layers, found, names):
    known = {path: layer for path, layer in layers.items() if matching.obstacle(layer) is None}
    modules = matching.modules_for(list(layers), found, names)
    modules = {path: module for path, module in modules.items() if path in known}
    if not modules:
        raise ValueError(
            f"No layer of the model is in the source. The model has {list(known)}; the source has "
            f"{list(found.modules)}. Say in `names` which is which."
        )
    graph = flattening.Graph(model)
    loadings = {}
    for path, module in modules.items():
        loading = values.Loading(path, layers[path], _with_scale(module, found, modules), found.channels_first)
        if found.channels_first:
            loading.order = graph.order(layers[path])
            graph.check_outputs(layers[path])
            if not graph.sees(layers[path]) and hasattr(layers[path], "units"):
                graph.check_hidden(layers[path])
                loading.notes.append("inputs in the order of the source: what comes before it cannot be seen")
        loading.fill()
        loadings[path] = loading
    _check_all_taken(loadings, found)
    return loadings


def _with_scale(module, found, modules):
    """Returns a Caffe batch norm with the parts of the `Scale` layer behind it, if no layer takes that one."""
    behind = module.scale_module
    if behind is None or behind in {taken.name for taken in modules.values()}:
        return module
    return sources.Module(module.name, {**module.parts, **found.modules[behind].parts}, module.epsilon, module.momentum)


def _check_all_taken(loadings, found):
    taken = {entry for loading in loadings.values() for entry in loading.taken}
    for path, loading in loadings.items():
        for part, there in loading.module.parts.items():
            if there.entry not in taken:
                raise ValueError(
                    f"The layer {path!r}, from {loading.module.name!r} of the source, has no place for "
                    f"{there.entry!r} ({part}) of shape {there.array.shape}. Build it with one."
                )


def _apply(loading):
    for variable, array in loading.values:
        variable.assign(array.astype(variable.dtype))
    for name, value in loading.settings.items():
        setattr(loading.layer, name, value)


def _done(loading):
    name = loading.module.name
    entries = [
        entry.removeprefix(f"{name}.").removeprefix(f"{name}/").removesuffix(f" of {name}") for entry in loading.taken
    ]
    return f"loaded from {name!r}: {', '.join(entries)}"


def _report(layers, loadings, found):
    rows = []
    for path, layer in layers.items():
        loading = loadings.get(path)
        if loading is None:
            reason = matching.obstacle(layer) or "not in the source"
            rows.append(report.Row(path, reason=reason))
        else:
            rows.append(report.Row(path, _done(loading), "; ".join(dict.fromkeys(loading.notes))))
    taken = {entry for loading in loadings.values() for entry in loading.taken}
    for name, module in found.modules.items():
        if not taken & {part.entry for part in module.parts.values()}:
            rows.append(report.Row(f"source: {name}", reason="no layer of the model takes it"))
    return report.Report(tuple(rows))
