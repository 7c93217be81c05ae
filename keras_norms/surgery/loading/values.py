"""What the variables of a layer become."""

import dataclasses

import keras
import numpy as np

from keras_norms.layers import arguments, moving_statistics, scale, weight_normalization
from keras_norms.surgery.loading import layouts, matching, source

# A variance below zero by more than float32 rounds is no variance.
_ROUNDING = 1e-7
# Weight of the averages of a Caffe net that has never been trained. They are 0 there, not 0 and 1 as ours without any
# weight; in training it is nothing beside the weight of the first batch.
_NEXT_TO_NOTHING = 1e-30
_NOTHING = {"scale": 1.0, "bias": 0.0}


@dataclasses.dataclass
class Loading:
    """What a layer takes from a module.

    Attributes:
        path: String, the layer's path.
        layer: Built Keras layer.
        module: `Module`.
        channels_first: Boolean, that of the source.
        order: Array of integers or None, see `flattening`.
        values: List of pairs of a variable and an array, so far.
        taken: List of the entries of the source that have been used.
        settings: Dict from attributes of the layer to their new values.
        notes: List of strings, what else is to be known.
    """

    path: str
    layer: keras.Layer
    module: source.Module
    channels_first: bool
    order: object = None
    values: list = dataclasses.field(default_factory=list)
    taken: list = dataclasses.field(default_factory=list)
    settings: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)

    def fill(self):
        """Finds the values of all variables, or raises a `ValueError` that says what does not fit."""
        if isinstance(self.layer, weight_normalization.WeightNormalization):
            self._weight_normalization()
        elif layouts.is_linear(self.layer):
            self._linear()
        elif matching.is_batch_norm(self.layer):
            self._batch_norm()
        elif isinstance(self.layer, scale.Scale):
            self._put("scale", self.layer.scale, self._vector("scale"))
        else:
            self._put("bias", self.layer.bias, self._vector("bias"))

    def _linear(self):
        if "direction" in self.module.parts:
            v, g = self._kernel(self.layer, "direction"), self._kernel(self.layer, "length")
            self._check_length(g, v)
            reduced = tuple(axis for axis, length in enumerate(g.shape) if length == 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                kernel = g * v / np.sqrt(np.sum(v**2, axis=reduced, keepdims=True))
            self.notes.append("the kernel is that which weight normalization computes there")
        else:
            kernel = self._kernel(self.layer, "kernel")
        self._put("kernel", self.layer.kernel, kernel)
        self._optional("bias", self.layer.bias)

    def _weight_normalization(self):
        wrapper, linear = self.layer, self.layer.layer
        if not wrapper.use_scale:
            raise ValueError(
                f"{self._at()} has no scale to take the lengths of kernels. Build it with `use_scale=True`."
            )
        kept = wrapper.kept("kernel")
        part = "direction" if "direction" in self.module.parts else "kernel"
        v = self._kernel(linear, part)
        g = self._length(linear, v, kept) if part == "direction" else self._norm(v, kept)
        self._put(part, wrapper.variable("kernel"), v)
        self._put("length", wrapper.scales["kernel"], g.reshape([v.shape[axis] for axis in kept]))
        self._optional("bias", linear.bias)

    def _length(self, linear, v, kept):
        g = self._kernel(linear, "length")
        expected = tuple(n if axis in kept else 1 for axis, n in enumerate(v.shape))
        if g.shape != expected:
            own = [axis for axis, n in enumerate(g.shape) if n != 1]
            raise ValueError(
                f"{self._at()} has a length for each element of the axes {kept} of its kernel, of shape {expected} "
                f"with axes of 1; {self._entry('length')!r} has them along the axes {own}, of shape {g.shape}. Build "
                f"it with `axis={own}`."
            )
        return g

    def _norm(self, v, kept):
        self.notes.append("its scale is the norm of the kernel: the source does not normalize it")
        return np.sqrt(np.sum(v**2, axis=tuple(axis for axis in range(v.ndim) if axis not in kept)))

    def _batch_norm(self):
        layer, ours = self.layer, isinstance(self.layer, moving_statistics.MovingStatistics)
        mean, variance, weight = self._averages()
        if ours:
            self._put("weight", layer.moving_weight, np.array(weight or _NEXT_TO_NOTHING))
        else:
            mean, variance = mean / (weight or 1.0), variance / (weight or 1.0)
        self._put("mean", layer.moving_mean, mean)
        self._put("variance", layer.moving_variance, variance)
        self._optional("scale", layer.scale if ours else layer.gamma)
        self._optional("bias", layer.bias if ours else layer.beta)
        if getattr(layer, "renorm", False):  # what training corrects towards is what inference uses
            deviation = np.sqrt(variance + self.module.epsilon)
            for name, value in (("moving_stddev", deviation), ("renorm_mean", mean), ("renorm_stddev", deviation)):
                self._put(name, getattr(layer, name), value)
        self._set("epsilon", arguments.positive("epsilon", self.module.epsilon))
        self._set("momentum", arguments.momentum(self.module.momentum))

    def _averages(self):
        """Returns moving mean and variance as they are kept here, not divided by their weight, and the weight."""
        mean, variance, weight = self._vector("mean"), self._vector("variance"), np.ones(())
        if "weight" in self.module.parts:
            weight = self._factor()
            # Caffe's sums have the weight 1 for a new value, our averages `1 - momentum`.
            mean, variance, weight = (total * (1 - self.module.momentum) for total in (mean, variance, weight))
        if variance.size and variance.min() < -_ROUNDING * weight:
            raise ValueError(
                f"{self._at()} needs a variance of at least 0. Received: {self._entry('variance')!r} with "
                f"{self.module.parts['variance'].array.min():.6g}."
            )
        if weight == 0:
            self.notes.append("never trained there: mean and variance 0, as there")
            mean, variance = np.zeros_like(mean), np.zeros_like(variance)
        return mean, variance, float(weight)

    def _factor(self):
        array = self._array("weight")
        if array.size != 1 or array.min() < 0:
            raise ValueError(
                f"{self._at()} needs a factor, one number of at least 0. Received: {self._entry('weight')!r} of shape "
                f"{array.shape} with {array.reshape(-1)[:1].tolist()}."
            )
        return array.reshape(())

    def _kernel(self, linear, part):
        array = self._array(part)
        if array.ndim == 0:  # PyTorch's `dim=None`: one length for all
            array = array.reshape([1] * len(linear.kernel.shape))
        if not self.channels_first:
            return array
        if self.order is not None:
            self.notes.append("inputs brought from (channels, height, width) into (height, width, channels)")
        return layouts.from_channels_first(linear, array, self.order)

    def _vector(self, part):
        array = self._array(part)
        if array.ndim > 1:
            raise ValueError(
                f"{self._at()} takes one number per channel, or one. Received: {self._entry(part)!r} of shape "
                f"{array.shape}."
            )
        return array if self.order is None or array.shape != self.order.shape else array[self.order]

    def _optional(self, part, variable):
        if variable is None:
            return
        if part in self.module.parts:
            self._put(part, variable, self._vector(part))
        else:
            self._put(part, variable, np.full(variable.shape, _NOTHING[part]))
            self.notes.append(f"{part} {_NOTHING[part]:g}: the source has none")

    def _array(self, part):
        if part not in self.module.parts:
            raise ValueError(
                f"{self._at()} needs a {part}, which the source has not got. Received: {self.module.name!r} with "
                f"{[f'{p.entry} of shape {p.array.shape}' for p in self.module.parts.values()]}."
            )
        array = self.module.parts[part].array
        if not np.isfinite(array).all():
            raise ValueError(
                f"{self._at()} needs finite numbers. Received: {self._entry(part)!r} with NaN or infinity."
            )
        self._take(part)
        return array

    def _entry(self, part):
        return self.module.parts[part].entry

    def _take(self, part):
        if self._entry(part) not in self.taken:
            self.taken.append(self._entry(part))

    def _check_length(self, g, v):
        if g.ndim != v.ndim or any(n not in (1, m) for n, m in zip(g.shape, v.shape, strict=True)):
            raise ValueError(
                f"{self._at()} needs lengths for the kernel vectors of {self._entry('direction')!r}, of shape "
                f"{v.shape} in the order of Keras. Received: {self._entry('length')!r} of shape {g.shape}."
            )

    def _put(self, part, variable, array):
        if not isinstance(variable, keras.Variable) or not keras.backend.is_float_dtype(variable.dtype):
            raise ValueError(f"{self._at()} has no {part} to load: it is quantized, or computed from other weights.")
        if tuple(variable.shape) != array.shape:
            there = self.module.parts.get(part)
            received = f"{there.entry!r} of shape {there.array.shape}" if there else part
            raise ValueError(
                f"{self._at()} needs a {part} of shape {tuple(variable.shape)}. Received: {received}, which is "
                f"{array.shape} in the order of Keras."
            )
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(keras.backend.standardize_dtype(variable.dtype))).all()
        if not finite:
            raise ValueError(
                f"{self._at()} gets a {part} that is not finite in {variable.dtype}: a vector of zeros, or "
                "numbers out of its range."
            )
        self.values.append((variable, array))

    def _set(self, name, value):
        before = getattr(self.layer, name)
        self.settings[name] = value
        self.notes.append(f"{name} {value:g}" if before == value else f"{name} {value:g} (was {before:g})")

    def _at(self):
        return f"The layer {self.path!r} ({type(self.layer).__name__}), from {self.module.name!r} of the source,"
