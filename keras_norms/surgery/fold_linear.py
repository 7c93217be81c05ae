"""Linear layers as arrays: what a factor and a summand per channel, before or behind them, do to their weights."""

import copy

import numpy as np
from keras import ops

# The largest numbers; float64 holds what is computed here.
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028e38}


class Linear:
    """A convolution whose kernel has the axes (..., inputs of a group, outputs). Its weights are float64 arrays.

    Args:
        layer: Built Keras layer.
    """

    kernels = ("kernel",)
    # What it does that makes an equal summand in all inputs unequal in its outputs, where `adds_zeros`.
    adds = "pads with zeros"

    def __init__(self, layer):
        self.layer = layer
        self.weights = {kernel: _array(getattr(layer, kernel)) for kernel in self.kernels}
        self.bias = None if layer.bias is None else _array(layer.bias)

    @property
    def inputs(self):
        """The number of channels of the inputs."""
        return self.weights["kernel"].shape[-2] * self.layer.groups

    @property
    def outputs(self):
        """The number of channels of the outputs."""
        return self.weights["kernel"].shape[-1]

    @property
    def adds_zeros(self):
        """Whether it may multiply zeros that are no part of its input."""
        return self.layer.padding != "valid" and any(size > 1 for size in self.layer.kernel_size)

    def input_channel(self, axis, rank):
        """Returns what names the channels along an axis of its inputs, or None where they are not channels.

        Args:
            axis: Integer from 0; None for all elements.
            rank: Integer, the rank of the inputs.
        """
        channels_last = getattr(self.layer, "data_format", "channels_last") == "channels_last"
        return "channels" if axis in (None, rank - 1 if channels_last else 1) else None

    def output_channel(self, axis, rank):
        """Returns what names the channels along an axis of its outputs, or None where they are not channels."""
        return self.input_channel(axis, rank)

    def scaled_outputs(self, channel, scale, shift):
        """Returns the layer that computes `scale * y + shift` where this one computes y.

        Args:
            channel: What `output_channel` has returned.
            scale, shift: Arrays with a value per channel, or one for all.
        """
        new = self._copy()
        new.scale_outputs(channel, scale, shift)
        return new

    def scaled_inputs(self, channel, scale, shift):
        """Returns the layer that computes of x what this one computes of `scale * x + shift`. See `scaled_outputs`."""
        new = self._copy()
        new.scale_inputs(channel, scale, shift)
        return new

    def scale_outputs(self, channel, scale, shift):
        self.weights["kernel"] = self.weights["kernel"] * scale
        self.set_bias(self.full_bias() * scale + shift)

    def scale_inputs(self, channel, scale, shift):
        kernel = self.weights["kernel"]
        scale, shift = self._along_kernel(scale), self._along_kernel(shift)
        self.weights["kernel"] = kernel * scale
        self.set_bias(self.full_bias() + (_over_taps(kernel) * shift).sum(0))

    def full_bias(self):
        """Returns the bias, zeros where there is none."""
        return np.zeros(self.outputs) if self.bias is None else self.bias

    def set_bias(self, bias):
        """Takes the bias, where there is or has to be one."""
        self.bias = None if self.bias is None and not np.any(bias) else bias

    def fits(self):
        """Returns whether the dtype of the layer's variables has room for the weights."""
        largest = _LARGEST.get(self.layer.variable_dtype, np.inf)
        return all(np.all(np.abs(value) < largest) for value in [*self.weights.values(), self.full_bias()])

    def made(self):
        """Returns a new built layer with these weights, and the name and flags of the layer."""
        new = type(self.layer).from_config({**self.layer.get_config(), **self.bias_config()})
        new.build_from_config(self.layer.get_build_config())
        for kernel in self.kernels:
            getattr(new, kernel).assign(self.weights[kernel])
        if self.bias is not None:
            new.bias.assign(self.bias.reshape(new.bias.shape))
        for weight in (*self.kernels, *([] if self.layer.bias is None else ["bias"])):
            getattr(new, weight).trainable = getattr(self.layer, weight).trainable
        return new

    def bias_config(self):
        """Returns the arguments of the layer that decide on its bias."""
        return {"use_bias": self.bias is not None}

    def _along_kernel(self, values):
        """Returns one value per channel of the inputs where the kernel has it: (inputs of a group, outputs)."""
        of_groups = np.broadcast_to(values, self.inputs).reshape(self.layer.groups, -1)
        return np.repeat(of_groups, self.outputs // self.layer.groups, axis=0).T

    def _copy(self):
        new = copy.copy(self)
        new.weights = dict(self.weights)
        return new


class Dense(Linear):
    """A dense layer, whose kernel has the axes (inputs, outputs)."""

    adds_zeros = False

    @property
    def inputs(self):
        return self.weights["kernel"].shape[0]

    def _along_kernel(self, values):
        return np.broadcast_to(values, self.inputs)[:, None]


class Transposed(Linear):
    """A transposed convolution, whose kernel has the axes (..., outputs, inputs)."""

    adds_zeros = True
    adds = "reads more inputs for some of its outputs than for others"

    @property
    def inputs(self):
        return self.weights["kernel"].shape[-1]

    @property
    def outputs(self):
        return self.weights["kernel"].shape[-2]

    def scale_outputs(self, channel, scale, shift):
        self.weights["kernel"] = self.weights["kernel"] * np.broadcast_to(scale, self.outputs)[:, None]
        self.set_bias(self.full_bias() * scale + shift)

    def scale_inputs(self, channel, scale, shift):
        self.weights["kernel"] = self.weights["kernel"] * scale


class Depthwise(Linear):
    """A depthwise convolution, whose kernel has the axes (..., inputs, multiplier)."""

    @property
    def inputs(self):
        return self.weights["kernel"].shape[-2]

    @property
    def outputs(self):
        return self.inputs * self.weights["kernel"].shape[-1]

    def scale_outputs(self, channel, scale, shift):
        kernel = self.weights["kernel"]
        self.weights["kernel"] = kernel * np.broadcast_to(scale, self.outputs).reshape(kernel.shape[-2:])
        self.set_bias(self.full_bias() * scale + shift)

    def scale_inputs(self, channel, scale, shift):
        kernel = self.weights["kernel"]
        scale, shift = (np.broadcast_to(values, self.inputs)[:, None] for values in (scale, shift))
        self.weights["kernel"] = kernel * scale
        self.set_bias(self.full_bias() + (_over_taps(kernel) * shift).ravel())


class Separable(Linear):
    """A depthwise convolution and one of size 1 behind it."""

    kernels = ("depthwise_kernel", "pointwise_kernel")

    @property
    def inputs(self):
        return self.weights["depthwise_kernel"].shape[-2]

    @property
    def outputs(self):
        return self.weights["pointwise_kernel"].shape[-1]

    def scale_outputs(self, channel, scale, shift):
        self.weights["pointwise_kernel"] = self.weights["pointwise_kernel"] * scale
        self.set_bias(self.full_bias() * scale + shift)

    def scale_inputs(self, channel, scale, shift):
        kernel = self.weights["depthwise_kernel"]
        scale, shift = (np.broadcast_to(values, self.inputs)[:, None] for values in (scale, shift))
        self.weights["depthwise_kernel"] = kernel * scale
        between = (_over_taps(kernel) * shift).ravel()
        self.set_bias(self.full_bias() + between @ _over_taps(self.weights["pointwise_kernel"]))


class EinsumDense(Linear):
    """An `EinsumDense` whose bias, if it has one, has axes of units alone. Its channels are letters of the equation."""

    adds_zeros = False

    def __init__(self, layer):
        super().__init__(layer)
        operands, self._results = layer.equation.replace(" ", "").split("->")
        self._operands, self._kernel = operands.split(",")
        # What a bias may have a value for, in the order of the outputs.
        self._units = [letter for letter in self._results if letter in self._kernel]
        if self.bias is not None:
            self.bias = self.bias.reshape([self._length(c) if c in layer.bias_axes else 1 for c in self._units])

    @staticmethod
    def obstacle(layer):
        """Returns why the layer cannot be taken, or None."""
        operands, results = layer.equation.replace(" ", "").split("->")
        inputs, kernel = operands.split(",")
        if any("..." in term[1:] for term in (inputs, results)):
            return "its equation has axes in front of an ellipsis"
        if set(layer.bias_axes or "") - set(kernel):
            return "its bias has an axis that its kernel does not have"
        if set(inputs) - set(kernel) - set(results):
            return "its equation sums over an axis that its kernel does not have"
        return None

    @property
    def outputs(self):
        return tuple(map(self._length, self._units))

    def input_channel(self, axis, rank):
        return self._letter(axis, rank, self._operands)

    def output_channel(self, axis, rank):
        return self._letter(axis, rank, self._results)

    def scale_outputs(self, channel, scale, shift):
        self.weights["kernel"] = self.weights["kernel"] * _along(scale, self._kernel, channel)
        scale, shift = _along(scale, self._units, channel), _along(shift, self._units, channel)
        self.set_bias(self.full_bias() * scale + shift)

    def scale_inputs(self, channel, scale, shift):
        kernel = self.weights["kernel"]
        self.weights["kernel"] = kernel * _along(scale, self._kernel, channel)
        added = np.einsum(f"{self._kernel}->{''.join(self._units)}", kernel * _along(shift, self._kernel, channel))
        self.set_bias(self.full_bias() + added)

    def full_bias(self):
        return np.broadcast_to(super().full_bias(), self.outputs)

    def bias_config(self):
        if self.bias is None:
            return {"bias_axes": None}
        axes = "".join(self._units) if self.bias.shape == self.outputs else self.layer.bias_axes
        return {"bias_axes": axes}

    def _length(self, letter):
        return self.weights["kernel"].shape[self._kernel.index(letter)]

    def _letter(self, axis, rank, side):
        if axis is None:
            return ""
        letters = side.replace("...", "")
        letter = letters[axis - rank] if axis >= rank - len(letters) else None
        return letter if letter is not None and letter in self._kernel else None


def _array(variable):
    return np.asarray(ops.convert_to_numpy(variable)).astype("float64")


def _over_taps(kernel):
    """Returns the sum of a kernel over all axes but the last two."""
    return kernel.reshape(-1, *kernel.shape[-2:]).sum(0)


def _along(values, letters, letter):
    return np.reshape(values, [-1 if other == letter else 1 for other in letters])
