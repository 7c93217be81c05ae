"""What a part of a layer is for folding: linear, one affine map per channel, lets such a map through, or none of it."""

import keras
import numpy as np

from keras_norms import layers as ours
from keras_norms.surgery import fold_linear, fold_weights, rebuild

LINEAR = {
    keras.layers.Dense: fold_linear.Dense,
    keras.layers.EinsumDense: fold_linear.EinsumDense,
    keras.layers.Conv1D: fold_linear.Linear,
    keras.layers.Conv2D: fold_linear.Linear,
    keras.layers.Conv3D: fold_linear.Linear,
    ours.GroupedConv2D: fold_linear.Linear,
    keras.layers.DepthwiseConv1D: fold_linear.Depthwise,
    keras.layers.DepthwiseConv2D: fold_linear.Depthwise,
    keras.layers.SeparableConv1D: fold_linear.Separable,
    keras.layers.SeparableConv2D: fold_linear.Separable,
    keras.layers.Conv1DTranspose: fold_linear.Transposed,
    keras.layers.Conv2DTranspose: fold_linear.Transposed,
    keras.layers.Conv3DTranspose: fold_linear.Transposed,
}


class Part:
    """What nothing is folded into or through.

    Attributes:
        layer: Keras layer it is the whole or a part of, or operation.
        does: String, what it does, for the report.
        plain: Keras layer, the plain one in its place, where its weights are computed; None otherwise.
    """

    def __init__(self, layer, does, plain=None):
        self.layer = layer
        self.does = does
        self.plain = plain

    @property
    def learns(self):
        """Whether it is something else in training."""
        return self.plain is not None and fold_weights.learns(self.layer)

    def output_shape(self, input_shape):
        """Returns the shape of its outputs."""
        return tuple(input_shape)

    def made(self):
        """Returns the new layers in its place."""
        return [self.plain]


class Linear(Part):
    """A dense layer or a convolution.

    Attributes:
        weights: `fold_linear.Linear`. Another one once something is folded into it.
    """

    def __init__(self, layer, plain=None):
        super().__init__(layer, "is linear", plain)
        self._own = LINEAR[type(plain or layer)](plain or layer)
        self.weights = self._own

    @property
    def changed(self):
        """Whether something has been folded into it."""
        return self.weights is not self._own

    @property
    def activated(self):
        """Whether it has an activation of its own."""
        return not is_identity(getattr(self.weights.layer, "activation", None))

    def output_shape(self, input_shape):
        return tuple(self.weights.layer.compute_output_shape(input_shape))

    def made(self):
        return [self.weights.made()]


class Affine(Part):
    """`scale * x + shift`, with one value of each per channel.

    Attributes:
        axis: Integer, the channel axis; None for one value for all.
        scale, shift: float64 arrays.
        obstacle: String, why it is no such map; None if it is.
        folded_into: List of `Linear`s, once it is folded.
    """

    def __init__(self, layer, axis, scale, shift, obstacle=None, learns=False):
        super().__init__(layer, "is not folded")
        self.axis = axis
        self.scale = np.asarray(scale, "float64")
        self.shift = np.asarray(shift, "float64")
        self.obstacle = obstacle
        self._learns = learns
        self.folded_into = []

    @property
    def learns(self):
        return self._learns

    def along(self, rank):
        """Returns the axis from 0 of an input of some rank."""
        return None if self.axis is None else self.axis % rank

    def made(self):
        if self.folded_into:
            return []
        name = f"{self.layer.name}_standardization"
        dtype = fold_weights.base(self.layer).dtype_policy
        return [keras.layers.Rescaling(float(self.scale), float(self.shift), name=name, dtype=dtype)]


class Activation(Part):
    """The activation of a layer that does more.

    Args:
        activation: Keras layer or function.
    """

    def __init__(self, layer, activation):
        super().__init__(layer, "is not linear")
        self.activation = activation

    def output_shape(self, input_shape):
        if isinstance(self.activation, keras.Layer):
            return tuple(self.activation.compute_output_shape(input_shape))
        return super().output_shape(input_shape)

    def made(self):
        name = self.layer.name
        if isinstance(self.activation, keras.Layer):
            return [rebuild.copied(self.activation, name)]
        return [keras.layers.Activation(self.activation, name=name, dtype=fold_weights.base(self.layer).dtype_policy)]


class Passing(Part):
    """What gives the same before and behind an affine map per channel, in inference.

    Args:
        layer: Keras layer.
        mixes: Boolean, whether it computes from several positions of a channel; each element for itself otherwise.
        needs: String, what it needs of the map: "scale" at least 0, "shift" of 0; None for nothing.
        learns: Boolean, whether it does something else in training.
    """

    def __init__(self, layer, mixes=False, needs=None, learns=False):
        super().__init__(layer, "")
        self.mixes = mixes
        self._needs = needs
        self._learns = learns

    @property
    def learns(self):
        return self._learns

    def obstacle(self, scale, shift):
        """Returns why it does not let the map through, or None."""
        if self._needs == "scale" and np.any(scale < 0):
            return "takes the largest, where scales are negative"
        if self._needs == "shift" and np.any(shift != 0):
            return "adds zeros"
        return None

    def forward(self, axis, scale, shift, step):
        """Returns axis, scale and shift behind it, or None if the axis is none it keeps."""
        new = self._other_axis(axis, len(step.inputs[0].shape), len(step.outputs[0].shape))
        return None if new == "none" else (new, scale, shift)

    def backward(self, axis, step):
        """Returns the axis before it that is `axis` behind it; "none" if there is none."""
        return self._other_axis(axis, len(step.outputs[0].shape), len(step.inputs[0].shape))

    def _other_axis(self, axis, rank, other_rank):
        if axis is None or not self.mixes:
            return axis
        last = getattr(self.layer, "data_format", "channels_last") == "channels_last"
        return (other_rank - 1 if last else 1) if axis == (rank - 1 if last else 1) else "none"


class Flatten(Passing):
    """Makes one axis of all but the first."""

    def forward(self, axis, scale, shift, step):
        shape = step.inputs[0].shape[1:]
        if axis is None:
            return None, scale, shift
        if None in shape or axis == 0 or (self.layer.data_format != "channels_last" and len(shape) > 1):
            return None
        along = [-1 if i == axis - 1 else 1 for i in range(len(shape))]
        return 1, *(np.broadcast_to(np.reshape(values, along), shape).ravel() for values in (scale, shift))

    def backward(self, axis, step):
        return None if axis is None else "none"


def is_identity(activation):
    """Returns whether an activation, function, layer or None, changes nothing."""
    if isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    return activation in (None, keras.activations.linear)
