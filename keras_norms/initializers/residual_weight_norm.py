"""Initialization of weight-normalized residual networks."""

import math
import re
from collections.abc import Mapping

import keras
import numpy as np

from keras_norms.initializers import calibration, linear_layers, report
from keras_norms.layers import arguments

# Of layers in front of a ReLU.
_GAIN = 2.0


def residual_weight_norm(model, gains, seed=None):
    """Initializes `WeightNormalization` layers so that the activations of a residual network keep their length.

    Use it for residual networks in place of `weight_norm`: it needs no data, and activations do not grow from block
    to block. Directions are orthonormal, biases 0, and all units of a layer have the scale

        sqrt(gain * (input channels / groups) / output channels)

    with a gain that depends on the layer's role: 2 in front of a ReLU; 1 for the first convolution, if no ReLU
    follows it, and for the convolutions of shortcuts; 1 / N for the last layer of each block, N being the number of
    blocks of the stage. The final dense layer is a plain one. The authors start with a warm-up of the learning rate.

    It keeps the squared length of the vector of all channels, not the variance of each: where channels double, the
    variance halves. Layers in several groups follow the published formula, too, which shrinks them by the number of
    groups; give them a gain that is larger by it, if they shall not.

    Args:
        model: Built Keras model.
        gains: Dict from regular expressions to gains, floats of at least 0. The first that matches the whole name of
            a layer, wrapper or wrapped, holds; layers that none matches have a gain of 2. `{}` for 2 everywhere.
        seed: Integer or `None`, of the directions.

    Returns:
        `Report`, the scale of each layer before (mean over the units) and after. Prints as a table.

    Example:
    >>> x = inputs = keras.Input((8, 8, 16))
    >>> for block in ("block1", "block2"):
    ...     y = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name=f"{block}_conv1")
    ...     z = keras.layers.Conv2D(16, 3, padding="same", name=f"{block}_conv2")
    ...     x = x + keras_norms.WeightNormalization(z)(keras_norms.WeightNormalization(y)(x))
    >>> model = keras.Model(inputs, x)
    >>> report = keras_norms.initializers.residual_weight_norm(model, {"block._conv2": 1 / 2})
    >>> [round(row.after, 3) for row in report.rows]
    [1.414, 0.707, 1.414, 0.707]

    Reference: [Arpit, Campos and Bengio, 2019](https://arxiv.org/abs/1906.02341),
    https://github.com/victorcampos7/weightnorm-init
    """
    calibration.check_model(model)
    layers = calibration.some(model, linear_layers.normalized, "`WeightNormalization` layer")
    gain_of = _gains(gains, layers)
    draws = keras.random.SeedGenerator(seed)
    rows = []
    with calibration.Restoring() as safe:
        for layer in layers:
            reason = _obstacle(layer)
            if reason is None:
                safe.keep(layer.variables)
                rows.append(_initialize(layer, gain_of[id(layer)], draws))
            else:
                rows.append(calibration.skipped(layer, reason))
    return report.Report("scale", tuple(rows))


def _obstacle(layer):
    linear = linear_layers.base(layer)
    if linear_layers.is_linear(layer) and len(linear_layers.kernels(linear)) > 1:
        return f"{type(linear).__name__} has two kernels"
    return linear_layers.scale_obstacle(layer)


def _initialize(layer, gain, draws):
    linear, kernel, scale = linear_layers.base(layer), linear_layers.kernel(layer), linear_layers.scale(layer)
    before = float(linear_layers.read(scale).mean())
    linear_layers.make_orthonormal(linear, "kernel", draws)
    units = math.prod(kernel.shape[axis] for axis in linear_layers.kept(layer))
    inputs = math.prod(kernel.shape) / units / math.prod(getattr(linear, "kernel_size", ()))
    after = math.sqrt(gain * inputs / units)
    scale.assign(np.full(scale.shape, after))
    if linear_layers.bias(layer) is not None:
        linear_layers.bias(layer).assign(np.zeros(linear_layers.bias(layer).shape))
    return report.Row(linear_layers.path(layer), tuple(kernel.shape), before, after)


def _gains(gains, layers):
    if not isinstance(gains, Mapping):
        raise ValueError(f"`gains` must be a dict from regular expressions to gains. Received: gains={gains!r}.")
    names = {id(layer): [part.name for part in linear_layers.chain(layer)] for layer in layers}
    found = {}
    for pattern, gain in gains.items():
        arguments.number(f"gains[{pattern!r}]", gain, minimum=0)
        matched = [key for key, parts in names.items() if any(re.fullmatch(pattern, part) for part in parts)]
        if not matched:
            raise ValueError(
                f"`gains` must match names among {[parts[-1] for parts in names.values()]}. Received: {pattern!r}."
            )
        for key in matched:
            found.setdefault(key, gain)
    return {key: found.get(key, _GAIN) for key in names}
