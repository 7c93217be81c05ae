"""A network's activation: the name of a Keras one, a callable, or a Keras layer, of which every place gets its own."""

import keras


def checked(activation):
    """Returns `activation`, or None where it does nothing.

    Raises:
        ValueError: It is no activation.
    """
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
        "`activation` must be the name of a Keras activation such as 'relu' ('linear' for none), a callable or a "
        f"Keras layer. Received: activation={activation!r}."
    )
