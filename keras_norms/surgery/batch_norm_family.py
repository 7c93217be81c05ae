"""The layers that normalize with moving statistics: those of batch norm's family, ours and Keras' own."""

import keras
from keras import ops

from keras_norms.layers import moving_statistics
from keras_norms.surgery import paths

_FAMILY = (moving_statistics.MovingStatistics, keras.layers.BatchNormalization)


def layers(model):
    """Returns the layers of the family in a model, at any depth, also those in layers with a `call` of their own.

    Returns:
        Dict from the path of each layer, the names of what is around it and its own joined by "/", to the layer, in
        the order of the model. A layer in several places has the path of the first.

    Raises:
        ValueError: There is none.
    """
    found = {path: layer for path, layer in paths.everything(model) if isinstance(layer, _FAMILY)}
    if not found:
        raise ValueError(
            "`model` must have a layer with moving statistics: keras.layers.BatchNormalization, BatchNorm or another "
            f"of its family. Received: model {model.name!r}, which has none."
        )
    return found


def is_ours(layer):
    """Returns whether a layer of the family is one of this package."""
    return isinstance(layer, moving_statistics.MovingStatistics)


def moving(layer):
    """Returns which statistics a layer of the family has: "mean", "variance" or both, as a tuple."""
    return layer.moving if is_ours(layer) else ("mean", "variance")


def variables_and_values(layer, mean, variance):
    """Returns what the variables of a layer must hold for it to normalize with some statistics.

    Ours become averages with the full weight, as after infinitely many steps. With Keras' `renorm=True` those that its
    training corrects towards are the same as those of inference.

    Args:
        layer: Built layer of the family.
        mean, variance: Tensors of shape `(channels,)`; the variance in the convention of the layer.

    Returns:
        List of pairs of a variable and a tensor.
    """
    values = {"moving_mean": mean, "moving_variance": variance, "moving_weight": 1.0}
    if getattr(layer, "renorm", False):
        deviation = ops.sqrt(variance + layer.epsilon)
        values.update(moving_stddev=deviation, renorm_mean=mean, renorm_stddev=deviation)
    variables = {name: getattr(layer, name, None) for name in values}
    return [
        (variable, ops.cast(values[name], variable.dtype))
        for name, variable in variables.items()
        if variable is not None
    ]
