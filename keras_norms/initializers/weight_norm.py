"""Data-dependent initialization of weight-normalized layers."""

import dataclasses
import functools

import numpy as np

from keras_norms.initializers import calibration, linear_layers, report
from keras_norms.layers import arguments


def weight_norm(model, batch, scale=1.0):
    """Initializes `WeightNormalization` layers so that each output unit has mean 0 and a given deviation on a batch.

    Use it once, before training, on a batch of training data. One run through the model, each wrapped layer at its
    first use: with `t = v x / ||v||`, its scale becomes `s / deviation(t)` and its bias `-mean(t) s / deviation(t)`,
    for each unit (channel) over all rows and places. The next layer sees the outputs of the corrected one: through
    residual adds, in nested, subclassed and multi-input models too. v stays; a second run changes nothing.

    - Measured before an activation that is part of the wrapped layer.
    - Without a bias the mean stays, as in front of a `MeanOnlyBatchNorm`; so it does where the `bias_axes` of an
      `EinsumDense` are not those of its units.
    - A unit whose output does not vary is dead: it keeps its scale and bias, and is reported.
    - Dropout is off. Batch normalization, mean-only too, normalizes with the statistics of the batch, as in training;
      its moving statistics stay as they are.
    - Of a separable convolution the pointwise kernel is initialized. Reported and skipped: embeddings and recurrent
      layers, layers with `use_scale=False` or an `axis` of their own, layers that are not trainable, and those in a
      second wrapper.
    - If anything fails, the model is what it was.

    Means are 0 within 1e-4 of the deviation, unless float32 cannot hold such a bias: that of a unit whose mean is more
    than a thousand times its deviation. The report says so.

    It does not suffice for residual networks, whose activations grow from block to block: give the last layer of each
    branch a small scale, or use `residual_weight_norm`.

    Args:
        model: Built Keras model, or layer.
        batch: What the model takes.
        scale: Float, at least 0, the standard deviation s wanted. Or a dict from names of layers (wrappers or what
            they wrap) to floats, such as 0.1 or 0 for the last layer of a residual branch; 1 for those it leaves out.

    Returns:
        `Report`, the standard deviation of each layer's output before anything and after it (root mean square over
        the units), and the mean of the unit where it is farthest from 0. Prints as a table.

    Example:
    >>> x = np.random.default_rng(0).normal(3, 2, (64, 8)).astype("float32")
    >>> model = keras.Sequential([keras.Input((8,)), keras_norms.WeightNormalization(keras.layers.Dense(2))])
    >>> report = keras_norms.initializers.weight_norm(model, x)
    >>> keras.ops.convert_to_numpy(keras.ops.std(model(x), axis=0)).round(4).tolist()
    [1.0, 1.0]

    Reference: [Salimans and Kingma, 2016](https://arxiv.org/abs/1602.07868), section 3
    """
    calibration.check_model(model)
    layers = calibration.some(model, linear_layers.normalized, "`WeightNormalization` layer")
    check = functools.partial(arguments.number, "scale", minimum=0)
    scales = linear_layers.by_name("scale", scale, layers, 1.0, check)

    def calibrate(layer, args, kwargs):
        reason = linear_layers.scale_obstacle(layer)
        if reason is not None:
            return calibration.skipped(layer, reason)
        return _initialize(layer, args, kwargs, scales[id(layer)])

    return report.Report("deviation", calibration.in_order(model, batch, layers, calibrate))


def _initialize(layer, args, kwargs, wanted):
    units = _Units(layer, args, kwargs)
    before = units.statistics()
    own_scale, own_bias = units.scale(), units.bias()
    units.write(np.ones_like(own_scale), np.zeros_like(own_bias))
    directed = units.statistics()
    dead = directed.deviation <= linear_layers.rounding(layer) * directed.largest
    scale = np.where(dead, own_scale, wanted / np.where(dead, 1.0, directed.deviation))
    bias = -directed.mean * scale
    units.write(scale, bias)
    after = units.statistics()
    if units.has_bias:
        # Once more for the bias: the scale has been rounded, and with it the mean, which may be large.
        units.write(scale, np.where(dead, own_bias, bias - after.mean))
        after = units.statistics()
    # Numbers as large as those that the bias is added to are rounded by this much.
    rounded = linear_layers.rounding(layer) * abs(scale) * directed.largest
    note = _note(after, dead, wanted, rounded, units.has_bias)
    return _row(layer, before, after, int(not dead.all()), note)


def _note(after, dead, wanted, rounded, has_bias):
    notes = []
    if dead.any():
        notes.append("dead" if dead.all() else f"{dead.sum()} of {dead.size} units dead")
    if not has_bias:
        notes.append("mean stays")
    if _off(after, wanted, 0, has_bias)[~dead].any():
        unexplained = _off(after, wanted, rounded, has_bias)[~dead].any()
        notes.append("mean or deviation not reached" if unexplained else "as near as rounding allows")
    return ", ".join(notes)


def _off(after, wanted, rounded, has_bias):
    """Returns of each unit whether it misses what is wanted, by more than it may be rounded."""
    off = abs(after.deviation - wanted) > np.maximum(rounded, 1e-3 * wanted)
    return off | (abs(after.mean) > np.maximum(rounded, 1e-4 * wanted)) if has_bias else off


def _row(layer, before, after, rescales, note):
    return report.Row(
        linear_layers.path(layer),
        tuple(linear_layers.kernel(layer).shape),
        before=before.root_mean_square(),
        after=after.root_mean_square(),
        mean=float(after.mean.flat[abs(after.mean).argmax()]),
        rescales=rescales,
        note=note,
    )


@dataclasses.dataclass(frozen=True)
class _Statistics:
    """Mean, standard deviation and largest absolute value of each unit."""

    mean: np.ndarray
    deviation: np.ndarray
    largest: np.ndarray

    def root_mean_square(self):
        return float(np.sqrt(np.mean(self.deviation**2)))


class _Units:
    """The units of a layer in one of its calls. Arrays have the axes of the outputs that number the units."""

    def __init__(self, layer, args, kwargs):
        self._call = layer, args, kwargs
        self._scale = linear_layers.scale(layer)
        self._bias = linear_layers.bias(layer) if linear_layers.has_bias_of_units(layer) else None
        self._axes, self._order = linear_layers.units(layer)
        self.has_bias = self._bias is not None

    def statistics(self):
        """Returns the `_Statistics` of the units before the activation."""
        outputs = linear_layers.measured(*self._call)
        outputs = np.moveaxis(outputs, self._axes, range(len(self._axes)))
        rest = tuple(range(len(self._axes), outputs.ndim))
        return _Statistics(outputs.mean(rest), outputs.std(rest), abs(outputs).max(rest))

    def scale(self):
        """Returns the scale of each unit."""
        values = linear_layers.read(self._scale)
        # The kernel may split the one axis of the outputs.
        values = values.reshape(-1) if len(self._order) == 1 else values
        return values.transpose(np.argsort(self._order))

    def bias(self):
        """Returns the bias of each unit, 0 without one."""
        scale = self.scale()
        return linear_layers.read(self._bias).reshape(scale.shape) if self.has_bias else np.zeros_like(scale)

    def write(self, scale, bias):
        """Sets the scale, and the bias where there is one."""
        self._scale.assign(scale.transpose(self._order).reshape(self._scale.shape))
        if self.has_bias:
            self._bias.assign(bias.reshape(self._bias.shape))
