"""The plain layer in place of one whose weights are computed by wrappers around it."""

import keras

from keras_norms.layers import reparameterization
from keras_norms.surgery import rebuild

_WRAPPERS = (reparameterization.Reparameterization, keras.layers.SpectralNormalization)


def are_computed(layer):
    """Returns whether a layer is a wrapper that computes the weights of another."""
    return isinstance(layer, _WRAPPERS)


def base(layer):
    """Returns the innermost of wrapped layers."""
    while are_computed(layer):
        layer = layer.layer
    return layer


def learns(layer):
    """Returns whether a wrapper changes the weights in training, in each call."""
    while are_computed(layer):
        if isinstance(layer, keras.layers.SpectralNormalization):
            return True
        layer = layer.layer
    return False


def plain(layer, name):
    """Returns a new layer of the class of the innermost one, with the weights that the wrappers have it compute with.

    Args:
        layer: Built wrapper.
        name: String, the name of the new layer.
    """
    innermost = base(layer)
    new = rebuild.copied(innermost, name)
    for variable, value in _effective(layer):
        index = [id(weight) for weight in innermost.weights].index(id(variable))
        new.weights[index].assign(value)
    while layer is not innermost:
        if not layer.trainable:
            new.trainable = False
        layer = layer.layer
    return new


def _effective(layer):
    """Returns the pairs of the variables of the innermost layer and the values it computes with."""
    values = {}
    while are_computed(layer):
        # Of SpectralNormalization inference has the kernel as it is.
        if isinstance(layer, reparameterization.Reparameterization):
            # An inner wrapper computes from what the outer one has lent it.
            with keras.StatelessScope(list(values.values())):
                effective = layer.effective_weights()
            for name, value in effective.items():
                variable = layer.variable(name)
                values[id(variable)] = variable, value
        layer = layer.layer
    return list(values.values())
