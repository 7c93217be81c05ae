"""What is measured of an output, and of what a normalization has normalized.

Of each output:

    output_norm     mean over the examples of the L2 norm of an example's output
    mean, variance  per channel, over examples and positions; biased
    dead            fraction of the channels that no example changes

A channel is dead if it has at each position the same value, to the last bit, for all
examples of the batch: nothing behind it can tell examples apart by it. That is a
ReLU's channel that is never above zero, a TReLU's never above its threshold, a ReLU6's
always at 6, and any of them normalized afterwards. (Behind dropout it is also one
that happened to be dropped wherever it was above zero.)

Of each normalization with moving statistics m and v, against mean and (biased)
variance of what it has just normalized:

    mean_drift      sqrt(mean over channels of (m - mean)^2 / (variance + epsilon))
    variance_drift  sqrt(mean over channels of ln((v + epsilon) / (variance + epsilon))^2)

in standard deviations, and as a ratio: ln 2 = 0.69 is a variance twice too large or
too small. They are what inference on this batch would get wrong; their floor is the
scatter of batches. Where the layer has no epsilon it is that of Keras, 1e-7. Positions
that a mask leaves out count as others do.
"""

import keras
import numpy as np
from keras import ops

from keras_norms.layers import batch_norm_placement, moving_statistics
from keras_norms.ops import axes, batch_norm, precision, replicas


def of_output(layer, outputs):
    """Returns the statistics of a tensor that a layer has returned, a dict of tensors, without gradients.

    Returns:
        `output_norm`, a scalar, and per channel `mean`, `variance` and the Boolean `dead`.
    """
    x = ops.stop_gradient(precision.wide(outputs))
    x = x if len(x.shape) > 1 else ops.expand_dims(x, 1)
    rank = len(x.shape)
    axis = _channel_axis(layer, rank)
    moments = batch_norm.moments(x, axis)
    return {
        "output_norm": ops.mean(ops.sqrt(ops.sum(ops.square(x), axis=tuple(range(1, rank))))),
        "mean": moments.mean + moments.residual,
        "variance": moments.variance,
        "dead": ops.all(ops.equal(x, x[:1]), axis=axes.others(rank, axis)),
    }


def of_normalized(layer, args, kwargs):
    """Returns the statistics of what a layer with moving statistics has normalized, an empty dict for other layers.

    Args:
        layer: Keras layer.
        args, kwargs: The arguments of its `call`.

    Returns:
        Per channel `normalized_mean` and `normalized_variance`.
    """
    if not isinstance(layer, (moving_statistics.MovingStatistics, keras.layers.BatchNormalization)):
        return {}
    x = args[0] if args else kwargs["inputs"]
    if isinstance(layer, batch_norm_placement.BatchNormAfter):
        x = layer.activation(x)
    moments = batch_norm.moments(ops.stop_gradient(precision.wide(x)), layer.axis)
    return {"normalized_mean": moments.mean + moments.residual, "normalized_variance": moments.variance}


def summary(layer, found):
    """Returns one float a quantity, averaged over the channels.

    Args:
        layer: Keras layer.
        found: Dict of arrays, what `of_output` and `of_normalized` have returned.
    """
    readings = {name: float(np.mean(found[name])) for name in ("output_norm", "mean", "variance", "dead")}
    if "normalized_mean" not in found:
        return readings
    moving, epsilon = _moving(layer), getattr(layer, "epsilon", keras.config.epsilon())
    variance = found["normalized_variance"] + epsilon
    if "mean" in moving:
        readings["mean_drift"] = _root_mean_square((moving["mean"] - found["normalized_mean"]) / np.sqrt(variance))
    if "variance" in moving:
        readings["variance_drift"] = _root_mean_square(np.log((moving["variance"] + epsilon) / variance))
    return readings


def _channel_axis(layer, rank):
    """Returns the channel axis of a layer's outputs: as its `axis` or `data_format` says, else as Keras is set."""
    axis = getattr(layer, "axis", None)
    if isinstance(axis, int) and -rank < axis < rank and axis != 0:
        return axis
    data_format = getattr(layer, "data_format", None)
    data_format = data_format or (keras.config.image_data_format() if rank > 3 else "channels_last")
    return 1 if data_format == "channels_first" else -1


def _moving(layer):
    """Returns the moving statistics as inference reads them, means over the replicas."""
    if isinstance(layer, moving_statistics.MovingStatistics):
        values = dict(zip(layer.moving, layer.statistics(), strict=True))
    else:
        values = {name: replicas.mean([getattr(layer, f"moving_{name}")])[0] for name in ("mean", "variance")}
    return {name: ops.convert_to_numpy(value).astype("float64") for name, value in values.items()}


def _root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))
