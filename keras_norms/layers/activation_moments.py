"""Moments of what an activation, given as a name, function or layer, makes of a normal variable."""

import math

import keras
from keras import ops

from keras_norms.layers import maxout, prelu, rrelu, trelu, vlrelu
from keras_norms.ops import gaussian_moments


def of(activation, scale=1.0):
    """Returns the `gaussian_moments.Moments` of an activation of `scale * z`, for a standard normal z.

    A layer has those of the values it learns as they start, which must be alike in all channels; a randomized
    rectifier those of training.

    Args:
        activation: Name of a Keras activation, function, Keras layer, or `None` for the identity.
        scale: Float above 0.
    """
    if not isinstance(activation, keras.Layer):
        return gaussian_moments.of(activation, scale)
    parameters = _RECTIFIERS.get(type(activation))
    if parameters:
        return gaussian_moments.rectifier(*parameters(activation), scale=scale)
    if isinstance(activation, keras.layers.Activation):
        return of(activation.activation, scale)
    if isinstance(activation, keras.layers.ELU):
        return gaussian_moments.elu(activation.alpha, scale)
    if isinstance(activation, maxout.Maxout):
        return gaussian_moments.maximum_of(activation.pieces, scale=scale)
    return gaussian_moments.of(_in_float64(activation), scale)


def _in_float64(layer):
    config = layer.get_config()
    return type(layer).from_config({**config, "dtype": "float64"} if "dtype" in config else config)


def _start(initializer):
    first, second = ops.convert_to_numpy(initializer((2,), "float32"))
    if first != second:
        raise ValueError(
            "The values of `activation` must start alike in all channels: the moments are constants. "
            f"Received: {initializer.__class__.__name__}, which starts at {first}, {second}."
        )
    return float(first)


def _slope(slope):
    return slope, slope**2, 0.0


def _random_slopes(layer):
    lower, upper = layer.lower, layer.upper
    return (lower + upper) / 2, (lower**2 + lower * upper + upper**2) / 3, 0.0


def _random_divisors(layer):
    lower, upper = layer.lower, layer.upper
    # log1p(x) / x, which keeps its digits where the bounds are close.
    spread = (upper - lower) / lower
    return (math.log1p(spread) / spread if spread else 1.0) / lower, 1 / (lower * upper), 0.0


def _translated(layer):
    slope = min(max(_start(layer.slope_initializer), 0.0), 1.0) if isinstance(layer, trelu.TPReLU) else 0.0
    return slope, slope**2, _start(layer.threshold_initializer)


# Slope, mean square of the slope and threshold, of layers that are two straight lines.
_RECTIFIERS = {
    keras.layers.LeakyReLU: lambda layer: _slope(layer.negative_slope),
    vlrelu.VLReLU: lambda layer: _slope(layer.negative_slope),
    keras.layers.PReLU: lambda layer: _slope(_start(layer.alpha_initializer)),
    prelu.PReLU: lambda layer: _slope(_start(layer.slope_initializer)),
    rrelu.RReLU: _random_slopes,
    rrelu.DivisorRReLU: _random_divisors,
    trelu.TReLU: _translated,
    trelu.TPReLU: _translated,
}
