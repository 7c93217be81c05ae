"""One look into a network: what its layers give for a batch, its weights, and the gradients there.

The pass is one of training: normalizations use the statistics of the batch, dropout
drops what the next training step would have dropped. It runs on values of the
variables, not on the variables: none of them moves, random states included. Nothing
is compiled, and all is measured in float32 from what the layers return.

Per output, in the order of execution (its `depth`), what `probe.statistics` defines:
`output_norm`, `mean`, `variance`, `dead`, and of normalizations with moving statistics
`mean_drift` and `variance_drift`.

Per trainable weight:

    weight_norm     its L2 norm
    gradient_norm   the L2 norm of the gradient of the loss, without decay

Gitman and Ginsburg, "Comparison of Batch Normalization and Weight Normalization
Algorithms for the Large-scale Image Classification", 2017,
https://arxiv.org/abs/1709.08145, look at output norms by depth and time; how they
define them we do not know, the definitions are ours.
"""

import importlib
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_norms.layers import watching
from keras_norms.ops import precision, replicas
from keras_norms.probe import parts, statistics


class Reading(NamedTuple):
    """One number.

    Attributes:
        depth: Integer, the place of the output in the order of execution, of a weight that of its layer's first
            output; None for the loss and for weights of layers that were not called.
        layer: String, name of the layer, `name#2` at its second use, with `[0]`, `[1]` if it has several outputs.
        weight: String, path of the variable; empty for what is of outputs.
        quantity: String, one of those above, or `loss`.
        value: Float. Mean and variance are averaged over the channels.
    """

    depth: int | None
    layer: str
    weight: str
    quantity: str
    value: float


class Channels(NamedTuple):
    """The statistics of each channel of an output.

    Attributes:
        depth, layer: See `Reading`.
        mean, variance: Arrays of shape `(channels,)`.
    """

    depth: int
    layer: str
    mean: np.ndarray
    variance: np.ndarray


class Measurement(NamedTuple):
    """What one look has found.

    Attributes:
        readings: List of `Reading`.
        channels: List of `Channels`.
    """

    readings: list
    channels: list


def measure(model, batch, loss, layers=None):
    """Measures a model on a batch, and leaves it as it is.

    Args:
        model: Built Keras model.
        batch: Pair of inputs and labels, arrays or structures of arrays with two examples or more.
        loss: Function of labels and outputs, those of the model in float32. Its mean is differentiated.
        layers: Sequence of the layers to measure, also such as are hidden in others; `None` for the `parts.of` the
            model. Do not name layers that run in a loop of their layer, as the cell of a recurrent one does.

    Returns:
        `Measurement`.
    """
    if not model.built:
        raise ValueError("`model` must be built: call it on a batch first. Received: a model without weights.")
    names = _named(model, layers)
    values = [_value(variable) for variable in model.trainable_variables]
    outputs, value, gradients = _pass(
        model, keras.tree.map_structure(ops.convert_to_tensor, batch), loss, names, values
    )
    readings, channels = [Reading(None, "", "", "loss", value)], []
    first_depth = {}
    for depth, (layer, name, found) in enumerate(outputs):
        first_depth.setdefault(layer, depth)
        readings += [Reading(depth, name, "", *item) for item in statistics.summary(layer, found).items()]
        channels.append(Channels(depth, name, found["mean"], found["variance"]))
    # Of layers that hold each other the inner one owns the weight: it holds less.
    outer_first = sorted(names, key=lambda layer: -len(layer.variables))
    owners = {id(variable): layer for layer in outer_first for variable in layer.variables}
    for variable, weight, gradient in zip(model.trainable_variables, values, gradients, strict=True):
        owner = owners.get(id(variable))
        if owner is not None:
            place = (first_depth.get(owner), names[owner], variable.path)
            readings.append(Reading(*place, "weight_norm", _norm(ops.convert_to_numpy(weight))))
            readings.append(Reading(*place, "gradient_norm", _norm(gradient)))
    return Measurement(readings, channels)


def _named(model, layers):
    names = parts.of(model)
    return names if layers is None else {layer: names.get(layer, layer.name) for layer in layers}


def _pass(model, batch, loss, names, values):
    """Runs the model forward and back.

    Returns:
        List of (layer, name, dict of arrays) for each output, in order of execution; the loss; the gradients, arrays.
    """
    inputs, labels = batch
    # As in training with float16, whose small gradients would be rounded to zero.
    scale = getattr(getattr(model, "optimizer", None), "dynamic_scale", None)
    scale = 1.0 if scale is None else float(ops.convert_to_numpy(_value(scale)))
    seen = []

    def function(values):
        measured = []

        def observe(layer, args, kwargs, outputs):
            for suffix, tensor in _tensors(outputs):
                seen.append((layer, names[layer] + suffix))
                measured.append(statistics.of_output(layer, tensor) | statistics.of_normalized(layer, args, kwargs))

        # In this scope nothing is assigned to a variable: moving statistics and random states stay where they are.
        lent = zip(model.trainable_variables, values, strict=True)
        with keras.StatelessScope(lent), watching.observed(names, observe):
            outputs = keras.tree.map_structure(precision.wide, model(inputs, training=True))
            value = ops.mean(precision.wide(loss(labels, outputs)))
        return value * scale, (ops.stop_gradient(value), measured)

    backend = importlib.import_module(f"keras_norms.probe.gradients_{keras.backend.backend()}")
    gradients, (value, measured) = backend.gradients(function, values)
    gradients = [ops.convert_to_numpy(gradient) / scale for gradient in gradients]
    found = keras.tree.map_structure(ops.convert_to_numpy, measured)
    outputs = [(*whose, what) for whose, what in zip(_numbered(seen), found, strict=True)]
    return outputs, float(value), gradients


def _value(variable):
    # Not ops.convert_to_tensor, which returns a distributed variable as it is (Keras 3.15).
    return replicas.mean([variable])[0]


def _tensors(outputs):
    """Yields the floating tensors among the outputs of a layer, and what distinguishes their names."""
    tensors = [t for t in keras.tree.flatten(outputs) if _is_measurable(t)]
    for i, tensor in enumerate(tensors):
        yield "" if len(tensors) == 1 else f"[{i}]", tensor


def _is_measurable(tensor):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype)) and len(tensor.shape) > 0


def _numbered(seen):
    """Marks the name of a second output by the same name with `#2`, of a third with `#3`."""
    count = {}
    for layer, name in seen:
        count[name] = count.get(name, 0) + 1
        yield layer, name if count[name] == 1 else f"{name}#{count[name]}"


def _norm(values):
    return float(np.linalg.norm(np.asarray(values, "float64")))
