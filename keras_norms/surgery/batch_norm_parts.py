"""What a batch normalization is made of, in our words, whether it is ours or Keras' own."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_norms.layers import batch_norm, moving_statistics
from keras_norms.surgery import batch_norm_family

_MOVING = moving_statistics.MovingStatistics
# Keras' words for our names.
_KERAS_WORDS = {"scale": "gamma", "bias": "beta"}


@dataclasses.dataclass(frozen=True)
class Learned:
    """A learned weight.

    Attributes:
        value: Array of shape `(channels,)`.
        trainable: Boolean.
        initializer, regularizer, constraint: Its objects, or None.
    """

    value: np.ndarray
    trainable: bool
    initializer: Any
    regularizer: Any
    constraint: Any

    def options(self, word):
        """Returns its objects as the options of a layer that calls it by this word."""
        kinds = ("initializer", "regularizer", "constraint")
        return {f"{word}_{kind}": getattr(self, kind) for kind in kinds}


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a layer is made of.

    Attributes:
        base: Dict, the name, dtype policy and trainable flag.
        input_shape: Tuple, with None for all but the channels.
        axis, momentum, epsilon, use_global_stats, synchronized: As in `BatchNorm`.
        learned: Dict from "scale" and "bias", as far as there are, to `Learned`.
        averages: Dict from the names of the moving statistics of `BatchNorm` to arrays, the totals and their weight.
        mean, variance: Arrays, the moving statistics as inference reads them.
    """

    base: dict
    input_shape: tuple
    axis: int
    momentum: float
    epsilon: float
    use_global_stats: bool | None
    synchronized: bool
    learned: dict
    averages: dict
    mean: np.ndarray
    variance: np.ndarray


def of(layer):
    """Returns the `Parts` of a built layer, `BatchNorm` or one derived of it, or Keras' `BatchNormalization`."""
    ours = batch_norm_family.is_ours(layer)
    words = {word: word for word in _KERAS_WORDS} if ours else _KERAS_WORDS
    mean, variance = map(_array, layer.statistics() if ours else (layer.moving_mean, layer.moving_variance))
    totals = [layer.moving_mean, layer.moving_variance, layer.moving_weight] if ours else [mean, variance, 1.0]
    return Parts(
        base={"name": layer.name, "dtype": layer.dtype_policy, "trainable": layer.trainable},
        input_shape=_input_shape(layer.input_spec),
        axis=layer.axis,
        momentum=layer.momentum,
        epsilon=layer.epsilon,
        use_global_stats=layer.use_global_stats if ours else None,
        synchronized=layer.synchronized,
        learned={name: _learned(layer, word) for name, word in words.items() if getattr(layer, word) is not None},
        averages=dict(zip(("moving_mean", "moving_variance", "moving_weight"), map(_array, totals), strict=True)),
        mean=mean,
        variance=variance,
    )


def ours(kind, parts, **options):
    """Returns a built layer of one of our classes with the parts that it has a place for.

    Args:
        kind: Class of a normalization.
        parts: `Parts`.
        **options: Arguments of the class, before those of the parts.
    """
    shared = ["momentum", "use_global_stats", "synchronized"] if issubclass(kind, _MOVING) else []
    shared += ["epsilon"] if issubclass(kind, batch_norm.BatchNorm) else []
    options = {**{name: getattr(parts, name) for name in shared}, **options}
    taken = {name: weight for name, weight in parts.learned.items() if name in kind.learned}
    for name in kind.learned:
        options.update({f"use_{name}": name in taken, **(taken[name].options(name) if name in taken else {})})
    layer = kind(**parts.base, axis=parts.axis, **options)
    _fill(layer, parts, {name: name for name in taken}, parts.averages)
    return layer


def keras_own(parts):
    """Returns a built `keras.layers.BatchNormalization` with the parts."""
    options = {}
    for name, word in _KERAS_WORDS.items():
        options.update(parts.learned[name].options(word) if name in parts.learned else {})
    layer = keras.layers.BatchNormalization(
        **parts.base,
        axis=parts.axis,
        momentum=parts.momentum,
        epsilon=parts.epsilon,
        scale="scale" in parts.learned,
        center="bias" in parts.learned,
        synchronized=parts.synchronized,
        **options,
    )
    words = {name: _KERAS_WORDS[name] for name in parts.learned}
    _fill(layer, parts, words, {"moving_mean": parts.mean, "moving_variance": parts.variance})
    return layer


def _fill(layer, parts, words, averages):
    layer.build(parts.input_shape)
    for name, word in words.items():
        variable = getattr(layer, word)
        variable.assign(parts.learned[name].value)
        variable.trainable = parts.learned[name].trainable
    for name, value in averages.items():
        if hasattr(layer, name):
            getattr(layer, name).assign(value)


def _learned(layer, word):
    variable = getattr(layer, word)
    return Learned(
        _array(variable),
        variable.trainable,
        *(getattr(layer, f"{word}_{kind}") for kind in ("initializer", "regularizer", "constraint")),
    )


def _input_shape(spec):
    shape = [None] * spec.ndim
    for axis, length in spec.axes.items():
        shape[axis] = length
    return tuple(shape)


def _array(values):
    return keras.ops.convert_to_numpy(values)
