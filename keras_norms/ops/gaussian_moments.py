"""Moments of what an activation makes of a normal variable.

    mean = E f(scale * z),   variance = Var f(scale * z),   square_slope = E (d f(scale * z) / dz) ** 2,   z ~ N(0, 1)

Closed forms for what is linear or exponential in pieces and for the GELU; quadrature,
split at the corners, for everything else (SiLU, mish, tanh and sigmoid have no elementary
closed form). Computed in float64 with NumPy.
"""

import functools
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_norms.ops import gaussian_quadrature


class Moments(NamedTuple):
    """The moments of an activation.

    Attributes:
        mean: Float.
        variance: Float.
        square_slope: Float, the mean square of the derivative.
    """

    mean: float
    variance: float
    square_slope: float

    @property
    def deviation(self):
        """The standard deviation."""
        return math.sqrt(self.variance)

    @property
    def jacobian_scale(self):
        """The factor of the input at which the slope of `(f - mean) / deviation` has a mean square of about 1.

        At most 1 for a continuous f. Exact for moments at a scale of 1 and an f made of two straight lines.
        """
        return math.sqrt(self.variance / self.square_slope)


def of(activation, scale=1.0):
    """Returns the `Moments` of a function.

    Args:
        activation: Name of a Keras activation, or function of a tensor that acts on each element; `None` for the
            identity. The values of `keras.activations.glu` are those of independent halves.
        scale: Float above 0, what the normal variable is multiplied with.

    Example:
    >>> moments = keras_norms.ops.gaussian_moments.of("relu")
    >>> round(moments.mean, 10), round(moments.deviation, 10), round(1 / moments.jacobian_scale, 10)
    (0.3989422804, 0.5838193701, 1.2111738962)
    """
    function = keras.activations.get(activation)
    if function in _CLOSED_FORMS:
        return _CLOSED_FORMS[function](scale=scale)
    return by_quadrature(_IN_NUMPY.get(function, functools.partial(_of_elements, function)), scale)


def by_quadrature(function, scale=1.0):
    """Returns the `Moments` of a function of a NumPy array that acts on each element."""
    return _moments(*gaussian_quadrature.integrals(lambda z: function(scale * z)))


def rectifier(slope=0.0, square_slope=None, threshold=0.0, scale=1.0):
    """Returns the `Moments` of `x` above the threshold and `slope * (x - threshold) + threshold` elsewhere.

    ReLU: slope 0. Leaky ReLU, PReLU: their slope. RReLU: the mean of the slopes and of their squares. TReLU, TPReLU:
    with a threshold. Identity: slope 1. Absolute value: slope -1.

    Args:
        slope: Float.
        square_slope: Float, the mean of the squares of random slopes; `slope ** 2` if not given.
        threshold: Float.
        scale: Float above 0.
    """
    square_slope = slope**2 if square_slope is None else square_slope
    t = threshold / scale
    below, above, density = _below(t), _below(-t), _density(t)
    # Of f - t, so that the variance keeps its digits at large thresholds.
    mean = (1 - slope) * density - t * (above + slope * below)
    square = (1 + t**2) * (above + square_slope * below) - (1 - square_slope) * t * density
    return Moments(scale * (mean + t), scale**2 * (square - mean**2), scale**2 * (above + square_slope * below))


def clipped_relu(ceiling, scale=1.0):
    """Returns the `Moments` of `min(max(x, 0), ceiling)`; those of a ReLU6 for a ceiling of 6."""
    t = ceiling / scale
    inside = 0.5 - _below(-t)
    mean = _density(0.0) - _density(t) + t * _below(-t)
    square = inside - t * _density(t) + t**2 * _below(-t)
    return _moments(scale * mean, scale**2 * square, scale**2 * inside)


def elu(alpha=1.0, scale=1.0):
    """Returns the `Moments` of `x` above 0 and `alpha * (exp(x) - 1)` elsewhere."""
    once = math.exp(scale**2 / 2) * _below(-scale)  # E[exp(scale * z) where z < 0]
    twice = math.exp(2 * scale**2) * _below(-2 * scale)
    mean = scale * _density(0.0) + alpha * (once - 0.5)
    square = scale**2 / 2 + alpha**2 * (twice - 2 * once + 0.5)
    return _moments(mean, square, scale**2 * (0.5 + alpha**2 * twice))


def selu(scale=1.0):
    """Returns the `Moments` of the self-normalizing ELU: mean 0 and variance 1 at a scale of 1."""
    factor, alpha = 1.0507009873554805, 1.6732632423543772
    mean, variance, square_slope = elu(alpha, scale)
    return Moments(factor * mean, factor**2 * variance, factor**2 * square_slope)


def gelu(scale=1.0):
    """Returns the `Moments` of `x * P(z < x)`, the GELU with the error function."""
    square = scale**2
    # E[P(z' < scale * z) ** 2], E[2 * scale * z * density(scale * z) * P(z' < scale * z)], E[(z * density) ** 2]
    squared = 0.25 + math.asin(square / (1 + square)) / (2 * math.pi)
    crossed = square / (math.pi * (1 + square) * math.sqrt(1 + 2 * square))
    density = (1 + 2 * square) ** -1.5 / (2 * math.pi)
    mean = square * _density(0.0) / math.sqrt(1 + square)
    return _moments(mean, square * (squared + crossed), square * (squared + crossed + square * density))


def glu(scale=1.0):
    """Returns the `Moments` of `x * sigmoid(y)` for independent x and y; the slope is the length of the gradient."""
    gate = by_quadrature(_sigmoid, scale)
    square = gate.variance + gate.mean**2
    return Moments(0.0, scale**2 * square, scale**2 * (square + gate.square_slope))


def maximum_of(count, function=None, scale=1.0):
    """Returns the `Moments` of the largest of independent variables: of a Maxout unit, or of max-pooling.

    Pixels of a map are no independent variables: for pooling this is a bound.

    Args:
        count: Integer, the number of variables.
        function: Nondecreasing function of a NumPy array that all variables go through; None for the identity.
        scale: Float above 0.
    """
    if function is None and count in _LARGEST:
        mean, variance = _LARGEST[count]
        return Moments(scale * mean, scale**2 * variance, scale**2)
    function = function or (lambda x: x)
    below = np.vectorize(_below)
    return _moments(
        *gaussian_quadrature.integrals(lambda z: function(scale * z), lambda z: count * below(z) ** (count - 1))
    )


def _moments(mean, square, square_slope):
    variance = square - mean**2
    if variance <= 1e-12 * square:
        raise ValueError(
            f"The activation must not be constant, but for rounding. Received: mean {mean}, variance {variance}."
        )
    return Moments(float(mean), float(variance), float(square_slope))


def _of_elements(function, z):
    """Returns what a function of tensors makes of an array. Equal columns must stay equal, whatever is beside them."""
    columns = ops.convert_to_tensor(np.stack([z, z, z[::-1]], axis=1))
    values = np.asarray(ops.convert_to_numpy(function(columns)))
    alone = values.shape == columns.shape and all(
        np.array_equal(values[:, 0], other, equal_nan=True) for other in (values[:, 1], values[::-1, 2])
    )
    if not alone:
        raise ValueError(
            f"`activation` must act on each element, and on all channels alike. Received: activation={function}."
        )
    return values[:, 0]


def _density(z):
    return math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _below(z):
    return math.erfc(-z / math.sqrt(2)) / 2


def _sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2


def _softplus(x):
    return np.logaddexp(0.0, x)


# Mean and variance of the largest of so many standard normal variables.
_LARGEST = {
    1: (0.0, 1.0),
    2: (1 / math.sqrt(math.pi), 1 - 1 / math.pi),
    3: (1.5 / math.sqrt(math.pi), 1 + math.sqrt(3) / (2 * math.pi) - 9 / (4 * math.pi)),
}

_CLOSED_FORMS = {
    keras.activations.linear: functools.partial(rectifier, 1.0),
    keras.activations.relu: rectifier,
    keras.activations.relu6: functools.partial(clipped_relu, 6.0),
    keras.activations.leaky_relu: functools.partial(rectifier, 0.2),
    keras.activations.elu: elu,
    keras.activations.selu: selu,
    keras.activations.gelu: gelu,
    keras.activations.glu: glu,
    ops.abs: functools.partial(rectifier, -1.0),
}

# Where Keras computes in float32 (JAX), these keep the digits of float64.
_IN_NUMPY = {
    keras.activations.silu: lambda x: x * _sigmoid(x),
    keras.activations.hard_silu: lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
    keras.activations.mish: lambda x: x * np.tanh(_softplus(x)),
    keras.activations.tanh: np.tanh,
    keras.activations.sigmoid: _sigmoid,
    keras.activations.softplus: _softplus,
    keras.activations.softsign: lambda x: x / (1 + np.abs(x)),
}
