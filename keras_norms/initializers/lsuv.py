"""Layer-sequential unit variance."""

import dataclasses
import math

import keras

from keras_norms.initializers import calibration, linear_layers, report
from keras_norms.layers import arguments
from keras_norms.ops import weight_normalization

# A rescale leaves at most this part of the distance of log(variance) from 0, or it is taken back. It leaves 1/2 where
# the variance grows as slowly as the length, and all of it where an activation has saturated.
_LEFT = 0.9


def lsuv(model, batch, tolerance=0.02, iterations=20, activation=None, orthonormal=True, seed=None):
    """Initializes dense layers and convolutions so that the outputs of each have variance 1 on a batch.

    Use it for deep networks without normalization, and before training ones with it. One run through the model, each
    layer at its first use: its kernel becomes orthonormal (`Orthonormal`, with the axes of its kind of layer), then is
    divided by the standard deviation of the layer's whole output, until the variance is 1. The next layer sees the
    outputs of the corrected one: through residual adds, in nested, subclassed and multi-input models too.

    - The variance is one number, of all rows, places and channels, the mean removed. It is measured before an
      activation that is part of the layer, and without the bias, which stays as it is: it should be 0, or one number.
    - With `WeightNormalization` the scale takes the place of the kernel: v becomes orthonormal, the scale its length,
      and is divided. Of a separable convolution both kernels become orthonormal, the pointwise one is divided.
    - Dropout is off. Batch normalization normalizes with the statistics of the batch, as in training; its moving
      statistics stay as they are.
    - Reported and skipped: layers that are not trainable, with `use_scale=False`, in wrappers that decide on the
      length of the weights, or in a second wrapper. Reported as dead and not divided: layers whose outputs do not vary.
    - If anything fails, the model is what it was.

    A large batch serves better than many iterations: of centred inputs with variance 1.

    Args:
        model: Built Keras model, or layer.
        batch: What the model takes.
        tolerance: Float above 0, the distance of the variance from 1 that is good enough. Defaults to that of the
            authors' tool, 0.02.
        iterations: Integer, how often a layer is rescaled at most. Defaults to the 20 of the authors' tool. On the
            same batch the first one suffices, unless there is an activation. A rescale that brings the variance at
            most a tenth nearer to 1, as behind an activation that saturates, is taken back, and is the last.
        activation: Name of a Keras activation or callable, applied to what is measured: `"relu"` for variance 1
            behind a ReLU, as older versions of the tool had it. A dict from names of layers to activations measures
            the other layers without one. Defaults to None.
        orthonormal: Boolean, whether kernels become orthonormal first. Otherwise they keep their values.
        seed: Integer or `None`, of the orthonormal kernels.

    Returns:
        `Report`, the variance of each layer's output before anything and after it. Prints as a table.

    Example:
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(3)])
    >>> report = keras_norms.initializers.lsuv(model, np.random.default_rng(0).normal(size=(64, 8)))
    >>> [round(row.after, 4) for row in report.rows]
    [1.0, 1.0]

    Reference: [Mishkin and Matas, 2015](https://arxiv.org/abs/1511.06422), https://github.com/ducha-aiki/LSUVinit
    """
    calibration.check_model(model)
    arguments.positive("tolerance", tolerance)
    arguments.integer("iterations", iterations, minimum=0)
    arguments.boolean("orthonormal", orthonormal)
    layers = calibration.some(model, linear_layers.is_linear, "dense layer or convolution")
    activations = linear_layers.by_name("activation", activation, layers, None, keras.activations.get)
    draws = keras.random.SeedGenerator(seed) if orthonormal else None

    def calibrate(layer, args, kwargs):
        reason = linear_layers.obstacle(layer)
        if reason is not None:
            return calibration.skipped(layer, reason)
        before = _moments(layer, args, kwargs, activations[id(layer)]).variance
        if orthonormal:
            _make_orthonormal(layer, draws)
        return _rescale(layer, args, kwargs, activations[id(layer)], before, tolerance, iterations)

    return report.Report("variance", calibration.in_order(model, batch, layers, calibrate))


def _rescale(layer, args, kwargs, activation, before, tolerance, iterations):
    moments = _moments(layer, args, kwargs, activation)
    rescales, note = 0, f"variance not within {tolerance} of 1"
    scale = linear_layers.scale(layer)
    length = linear_layers.kernel(layer) if scale is None else scale
    while abs(moments.variance - 1) > tolerance and rescales < iterations:
        if math.sqrt(moments.variance) <= linear_layers.rounding(layer) * moments.largest:
            note = "dead"
            break
        own = linear_layers.read(length)
        length.assign(own / math.sqrt(moments.variance))
        rescaled = _moments(layer, args, kwargs, activation)
        if abs(rescaled.variance - 1) > tolerance and rescaled.distance() > _LEFT * moments.distance():
            length.assign(own)
            note += ", and another rescale brings it at most a tenth nearer"
            break
        moments, rescales = rescaled, rescales + 1
    note = note if abs(moments.variance - 1) > tolerance else ""
    path, shape = linear_layers.path(layer), tuple(linear_layers.kernel(layer).shape)
    return report.Row(path, shape, before, moments.variance, moments.mean, rescales, note)


@dataclasses.dataclass(frozen=True)
class _Moments:
    """Mean, variance and largest absolute value of all numbers of an output."""

    mean: float
    variance: float
    largest: float

    def distance(self):
        """Returns how far the variance is from 1, as a ratio: the same for 2 and 1/2."""
        return abs(math.log(self.variance)) if self.variance > 0 else math.inf


def _moments(layer, args, kwargs, activation):
    outputs = linear_layers.measured(layer, args, kwargs, activation, with_bias=False)
    return _Moments(float(outputs.mean()), float(outputs.var()), float(abs(outputs).max()))


def _make_orthonormal(layer, draws):
    linear = linear_layers.base(layer)
    for name in linear_layers.kernels(linear):
        variable = getattr(linear, name)
        linear_layers.make_orthonormal(linear, name, draws)
        wrapper, name = linear_layers.normalization(layer, variable)
        if wrapper is not None and name in wrapper.scales:
            norm = weight_normalization.norm(variable.value, wrapper.kept(name), wrapper.epsilon)
            wrapper.scales[name].assign(norm)
