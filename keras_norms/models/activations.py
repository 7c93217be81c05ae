"""A network's activation: a name, a callable, or a Keras layer, of which every place gets its own."""

import functools

import keras

from keras_norms.layers import prelu, rrelu, trelu, vlrelu

# Ours by name, with their default arguments or those of the caffenet-benchmark. `Maxout` is none of them: it changes
# the number of channels.
ACTIVATIONS = {
    "prelu": prelu.PReLU,
    "prelu_0.3": functools.partial(prelu.PReLU, slope_initializer=keras.initializers.Constant(0.3)),
    "rrelu": rrelu.RReLU,
    "rrelu_10_30": functools.partial(rrelu.DivisorRReLU.with_mean_slope, 10, 30),
    "divisor_rrelu": rrelu.DivisorRReLU,
    "vlrelu": vlrelu.VLReLU,
    "trelu": trelu.TReLU,
    "tprelu": trelu.TPReLU,
}


def checked(activation):
    """Returns `activation`, the layer it is the name of, or None where it does nothing.

    Raises:
        ValueError: It is no activation.
    """
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]()
    if isinstance(activation, str):
        return None if _function(activation) is keras.activations.linear else activation
    if callable(activation) and not isinstance(activation, type):
        return None if activation is keras.activations.linear else activation
    raise _error(activation)


def fresh(activation, name):
    """Returns `activation` for one more place: a layer is made anew, with weights of its own."""
    if not isinstance(activation, keras.Layer):
        return activation
    return type(activation).from_config({**activation.get_config(), "name": name})


def layer(activation, name):
    """Returns a new layer that applies `activation`."""
    if isinstance(activation, keras.Layer):
        return fresh(activation, name)
    return keras.layers.Activation(activation, name=name)


def _function(name):
    try:
        return keras.activations.get(name)
    except ValueError:
        raise _error(name) from None


def _error(activation):
    return ValueError(
        "`activation` must be the name of a Keras activation such as 'relu' ('linear' for none), one of "
        f"{list(ACTIVATIONS)}, a callable or a Keras layer. Received: activation={activation!r}."
    )
