"""What is done to a network before the first step, by name."""

import re

import keras

from keras_norms import initializers, models
from keras_norms.initializers import linear_layers

# Units of the residual networks: stage, unit, and the layer in it.
_UNIT = re.compile(r"stage(\d+)_unit(\d+)_(\w+)")


def initialize(model, recipe, images, seed):
    """Sets the weights of a network as a recipe says.

    Args:
        model: Keras model, outside any strategy.
        recipe: `recipes.Recipe` with an `initialization`.
        images: Array, a batch of what the model takes.
        seed: Integer.

    Returns:
        What was done to which layer, printable.

    Raises:
        ValueError: The network has nothing to initialize so.
    """
    return _INITIALIZATIONS[recipe.initialization](model, recipe, images, seed)


def _orthonormal(model, recipe, images, seed):
    """Makes all kernels orthonormal, those of caffenet-benchmark's networks named "Ortho"; no layer is rescaled."""
    return initializers.lsuv(model, images, iterations=0, seed=seed)


def _lsuv(model, recipe, images, seed):
    return initializers.lsuv(model, images, seed=seed)


def _lsuv_after_activation(model, recipe, images, seed):
    """As the tool of 2015 did, which measured behind activations that Caffe computes in place."""
    linear = [layer for layer in model.layers if linear_layers.is_linear(layer)]
    classifiers = {output._keras_history.operation.name for output in keras.tree.flatten(model.output)}
    measured = {layer.name: _activation(recipe) for layer in linear if layer.name not in classifiers}
    return initializers.lsuv(model, images, activation=measured, seed=seed)


def _activation(recipe):
    """Returns the activation of the network, a layer of its own for each place where it has weights."""
    name = recipe.activation or models.ARCHITECTURES[recipe.arch].blocks.activation or "linear"
    return models.ACTIVATIONS[name]() if name in models.ACTIVATIONS else name


def _weight_norm(model, recipe, images, seed):
    return initializers.weight_norm(model, images)


def _residual_weight_norm(model, recipe, images, seed):
    """Gains of 1 / N for the last layers of a stage's N units, and 1 for projections, as Arpit et al. have them."""
    names = [linear_layers.base(layer).name for layer in model.layers if linear_layers.normalized(layer)]
    units = [match for match in map(_UNIT.fullmatch, names) if match]
    gains = {}
    for stage in sorted({match[1] for match in units}):
        own = [match for match in units if match[1] == stage]
        last = max(match[3] for match in own if match[3].startswith("conv"))
        gains[f"stage{stage}_unit\\d+_{last}"] = 1 / len({match[2] for match in own})
    if any(match[3] == "projection" for match in units):
        gains["stage.*_projection"] = 1.0
    return initializers.residual_weight_norm(model, gains, seed)


_INITIALIZATIONS = {
    "orthonormal": _orthonormal,
    "lsuv": _lsuv,
    "lsuv_after_activation": _lsuv_after_activation,
    "weight_norm": _weight_norm,
    "residual_weight_norm": _residual_weight_norm,
}
