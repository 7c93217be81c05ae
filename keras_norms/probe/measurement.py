"""One look into a network: what its layers give for a batch, its weights, and the gradients there.

The pass is one of training: normalizations use the statistics of the batch, dropout
drops what the next training step would have dropped. It runs on values of the
variables, not on the variables: none of them moves, random states included. Nothing
is compiled, and all is measured in float32 from what the layers return.

Per output, in the order of execution (its `depth`):

    output_norm     mean over the examples of the L2 norm of an example's output
    mean, variance  per channel, over examples and positions; biased
    dead            fraction of the channels that no example changes

A channel is dead if it has at each position the same value, to the last bit, for all
examples of the batch: nothing behind it can tell examples apart by it. That is a
ReLU's channel that is never above zero, a TReLU's never above its threshold, a ReLU6's
always at 6, and any of them normalized afterwards. (Behind dropout it is also one
that happened to be dropped wherever it was above zero.)

Per normalization with moving statistics m and v, against mean and (biased) variance
of what it has just normalized:

    mean_drift      sqrt(mean over channels of (m - mean)^2 / (variance + epsilon))
    variance_drift  sqrt(mean over channels of ln((v + epsilon) / (variance + epsilon))^2)

in standard deviations, and as a ratio: ln 2 = 0.69 is a variance twice too large or
too small. They are what inference on this batch would get wrong; their floor is the
scatter of batches. Positions that a mask leaves out count as others do.

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

from keras_norms.layers import batch_norm_placement, watching
from keras_norms.ops import batch_norm, moving_average, precision, replicas
from keras_norms.probe import parts


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
    for depth, (layer, name, statistics) in enumerate(outputs):
        first_depth.setdefault(layer, depth)
        readings += [Reading(depth, name, "", *item) for item in _of_output(layer, statistics).items()]
        channels.append(Channels(depth, name, statistics["mean"], statistics["variance"]))
    owners = {id(variable): layer for layer in names for variable in layer.variables}  # inner layers come later
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
    others = [(variable, _value(variable)) for variable in model.non_trainable_variables]
    # As in training with float16, whose small gradients would be rounded to zero.
    scale = getattr(getattr(model, "optimizer", None), "dynamic_scale", None)
    scale = 1.0 if scale is None else float(ops.convert_to_numpy(_value(scale)))
    seen = []

    def function(values):
        measured = []

        def observe(layer, args, kwargs, outputs):
            for suffix, tensor in _tensors(outputs):
                seen.append((layer, names[layer] + suffix))
                measured.append({**_statistics(layer, tensor), **_normalized_statistics(layer, args, kwargs)})

        mapping = [*zip(model.trainable_variables, values, strict=True), *others]
        with keras.StatelessScope(mapping), watching.observed(names, observe):
            outputs = keras.tree.map_structure(precision.wide, model(inputs, training=True))
            value = ops.mean(precision.wide(loss(labels, outputs)))
        return value * scale, (ops.stop_gradient(value), measured)

    backend = importlib.import_module(f"keras_norms.probe.gradients_{keras.backend.backend()}")
    gradients, (value, measured) = backend.gradients(function, values)
    gradients = [ops.convert_to_numpy(gradient) / scale for gradient in gradients]
    statistics = keras.tree.map_structure(ops.convert_to_numpy, measured)
    used = [(layer, name, s) for (layer, name), s in zip(_numbered(seen), statistics, strict=True)]
    return used, float(value), gradients


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


def _statistics(layer, outputs):
    x = ops.stop_gradient(precision.wide(outputs))
    x = x if len(x.shape) > 1 else ops.expand_dims(x, 1)
    axis = _channel_axis(layer, len(x.shape))
    moments = batch_norm.moments(x, axis)
    others = tuple(i for i in range(len(x.shape)) if i != axis % len(x.shape))
    return {
        "output_norm": ops.mean(ops.sqrt(ops.sum(ops.square(x), axis=tuple(range(1, len(x.shape)))))),
        "mean": moments.mean + moments.residual,
        "variance": moments.variance,
        "dead": ops.all(ops.equal(x, x[:1]), axis=others),
    }


def _channel_axis(layer, rank):
    """Returns the channel axis of a layer's outputs: as its `data_format` or `axis` says, else as Keras is set."""
    axis = getattr(layer, "axis", None)
    data_format = getattr(layer, "data_format", None)
    if isinstance(axis, int) and data_format is None and -rank < axis < rank and axis != 0:
        return axis
    data_format = data_format or (keras.config.image_data_format() if rank > 3 else "channels_last")
    return 1 if data_format == "channels_first" else -1


def _normalized_statistics(layer, args, kwargs):
    """Returns the statistics of what a layer with moving statistics has normalized."""
    if not (hasattr(layer, "moving_mean") or hasattr(layer, "moving_variance")):
        return {}
    x = args[0] if args else kwargs["inputs"]
    if isinstance(layer, batch_norm_placement.BatchNormAfter):
        x = layer.activation(x)
    moments = batch_norm.moments(ops.stop_gradient(precision.wide(x)), layer.axis)
    return {"normalized_mean": moments.mean + moments.residual, "normalized_variance": moments.variance}


def _of_output(layer, statistics):
    """Returns the readings of an output, a dict of floats."""
    readings = {name: float(np.mean(statistics[name])) for name in ("output_norm", "mean", "variance", "dead")}
    if "normalized_mean" not in statistics:
        return readings
    mean, variance = (statistics[f"normalized_{name}"].astype("float64") for name in ("mean", "variance"))
    variance = variance + getattr(layer, "epsilon", keras.config.epsilon())
    if hasattr(layer, "moving_mean"):
        readings["mean_drift"] = _root_mean_square((_moving(layer, "moving_mean", 0.0) - mean) / np.sqrt(variance))
    if hasattr(layer, "moving_variance"):
        moving = _moving(layer, "moving_variance", 1.0) + getattr(layer, "epsilon", keras.config.epsilon())
        readings["variance_drift"] = _root_mean_square(np.log(moving / variance))
    return readings


def _moving(layer, name, initial):
    """Returns a moving statistic as inference reads it, the mean over the replicas."""
    moving = _value(getattr(layer, name))
    if hasattr(layer, "moving_weight"):
        moving = moving_average.average(moving, _value(layer.moving_weight), initial)
    return ops.convert_to_numpy(moving).astype("float64")


def _root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


def _norm(values):
    return float(np.linalg.norm(np.asarray(values, "float64")))
