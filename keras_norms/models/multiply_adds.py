"""What a network costs, in multiply-adds."""

import math

import keras

from keras_norms.initializers import linear_layers

_COUNTED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


def multiply_adds(model):
    """Returns the multiply-adds of the convolutions and dense layers of a model for one image, padding included.

    They are nearly all there are. Nothing else is counted: no bias, activation, pool or normalization, and not what
    weight normalization and NormProp compute from the weights. A layer called several times counts once.

    Args:
        model: Functional `keras.Model` with inputs of known sizes.

    Raises:
        ValueError: A size is not known, or a linear layer is of another kind (transposed, `EinsumDense`).

    Example:
    >>> round(keras_norms.models.multiply_adds(keras_norms.models.build("resnet20")) / 1e6, 1)
    40.6
    """
    return sum(_of_layer(layer) for layer in linear_layers.everywhere(model) if linear_layers.is_linear(layer))


def _of_layer(layer):
    linear = linear_layers.base(layer)
    if not isinstance(linear, _COUNTED):
        raise ValueError(
            "Only dense layers and convolutions that are not transposed can be counted. "
            f"Received: {type(linear).__name__} {linear.name!r}."
        )
    sizes = layer.output.shape[1:]
    if None in sizes:
        raise ValueError(
            "Multiply-adds can be counted where the model's inputs have known sizes. "
            f"Received: outputs of shape {layer.output.shape} of {linear.name!r}."
        )
    (units,), _ = linear_layers.units(layer)
    kernels = sum(math.prod(getattr(linear, name).shape) for name in linear_layers.kernels(linear))
    return math.prod(sizes) // sizes[units] * kernels
