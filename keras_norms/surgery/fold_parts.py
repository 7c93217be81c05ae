"""What the layers of a model are for folding: linear, one affine map per channel, let such a map through, or none."""

import keras
import numpy as np
from keras import ops

from keras_norms import layers as ours
from keras_norms.surgery import fold_linear, fold_weights, rebuild

_LINEAR = {
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


_OTHER = "is neither linear nor lets it through"


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
        self._own = _LINEAR[type(plain or layer)](plain or layer)
        self.weights = self._own

    @property
    def changed(self):
        """Whether something has been folded into it."""
        return self.weights is not self._own

    @property
    def activated(self):
        """Whether it has an activation of its own."""
        return not _is_identity(getattr(self.weights.layer, "activation", None))

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


def of(layer, name):
    """Returns the parts of a layer or operation, in the order in which they are applied.

    Args:
        layer: Keras layer or operation.
        name: String, the name of the plain layer in its place, where its weights are computed; None for that of the
            wrapped one.
    """
    if fold_weights.are_computed(layer):
        plain = fold_weights.plain(layer, name or fold_weights.base(layer).name)
        return [_linear(layer, plain), *(_after_normprop(layer) if isinstance(layer, ours.NormProp) else [])]
    if type(layer) in _LINEAR:
        return [_linear(layer)]
    kind = _KINDS.get(type(layer))
    return [Part(layer, _OTHER)] if kind is None else kind(layer)


def _linear(layer, plain=None):
    obstacle = _linear_obstacle(plain or layer)
    return Linear(layer, plain) if obstacle is None else Part(layer, obstacle, plain)


def _linear_obstacle(layer):
    if type(layer) not in _LINEAR:
        return _OTHER
    if getattr(layer, "quantization_mode", None) is not None or getattr(layer, "lora_enabled", False):
        return "is quantized or has LoRA weights"
    if isinstance(layer, keras.layers.EinsumDense):
        return fold_linear.EinsumDense.obstacle(layer)
    return None


def _after_normprop(layer):
    deviation, mean = layer.moments.deviation, layer.moments.mean
    affine = Affine(layer, None, 1 / deviation, -mean / deviation)
    return [*_of_activation_in(layer), *([] if (mean, deviation) == (0, 1) else [affine])]


def _of_batch_norm(layer):
    mean, variance = map(_array, layer.statistics())
    return [_batch_norm(layer, layer.scale, layer.bias, mean, variance, layer.use_global_stats)]


def _of_batch_norm_of_keras(layer):
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    return [_batch_norm(layer, layer.gamma, layer.beta, mean, variance, None)]


def _batch_norm(layer, scale, bias, mean, variance, use_global_stats):
    factor = (1.0 if scale is None else _array(scale)) / np.sqrt(variance + layer.epsilon)
    shift = (0.0 if bias is None else _array(bias)) - mean * factor
    return Affine(layer, layer.axis, factor, shift, _batch_statistics(use_global_stats), _learns(layer))


def _of_mean_only_batch_norm(layer):
    shift = (0.0 if layer.bias is None else _array(layer.bias)) - _array(layer.statistics()[0])
    obstacle = _batch_statistics(layer.use_global_stats)
    return [Affine(layer, layer.axis, np.ones_like(shift), shift, obstacle, _learns(layer))]


def _of_batch_norm_before(layer):
    return [*_of_batch_norm(layer), *_of_activation_in(layer)]


def _of_batch_norm_after(layer):
    return [*_of_activation_in(layer), *_of_batch_norm(layer)]


def _of_activation_in(layer):
    return [] if _is_identity(layer.activation) else [Activation(layer, layer.activation)]


def _of_scale(layer):
    return [_elementwise(layer, _array(layer.scale), 0.0)]


def _of_bias(layer):
    return [_elementwise(layer, 1.0, _array(layer.bias))]


def _elementwise(layer, scale, shift):
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    obstacle = None if len(axes) == 1 else "it has values along several axes"
    return Affine(layer, axes[0] if len(axes) == 1 else None, scale, shift, obstacle)


def _of_activation(layer):
    if _is_identity(layer):
        return [Passing(layer)]
    return [Part(layer, "is not linear")]


def _of_up_sampling_2d(layer):
    if layer.interpolation not in ("nearest", "bilinear"):
        return [Part(layer, _OTHER)]
    return [Passing(layer, mixes=True)]


def _of_average_pooling(layer):
    if layer.padding != "valid":
        return [Part(layer, "averages over its padding")]
    return [Passing(layer, mixes=True)]


def _passing(**arguments):
    return lambda layer: [Passing(layer, **arguments)]


def _is_identity(activation):
    if isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    return activation in (None, keras.activations.linear)


def _batch_statistics(use_global_stats):
    return "it uses the statistics of the batch in inference, too" if use_global_stats is False else None


def _learns(layer):
    return layer.trainable and getattr(layer, "use_global_stats", None) is not True


def _array(values):
    return np.asarray(ops.convert_to_numpy(values)).astype("float64")


def _named(pattern):
    """Returns the Keras layers of one, two and three dimensions."""
    return [getattr(keras.layers, pattern.format(rank)) for rank in (1, 2, 3)]


_KINDS = {
    ours.BatchNorm: _of_batch_norm,
    ours.GhostBatchNorm: _of_batch_norm,
    ours.BatchRenorm: _of_batch_norm,
    ours.BatchNormBefore: _of_batch_norm_before,
    ours.BatchNormAfter: _of_batch_norm_after,
    ours.MeanOnlyBatchNorm: _of_mean_only_batch_norm,
    ours.Scale: _of_scale,
    ours.Bias: _of_bias,
    keras.layers.BatchNormalization: _of_batch_norm_of_keras,
    keras.layers.Activation: _of_activation,
    keras.layers.Identity: _passing(),
    keras.layers.ActivityRegularization: _passing(),
    keras.layers.Dropout: _passing(learns=True),
    keras.layers.AlphaDropout: _passing(learns=True),
    keras.layers.GaussianDropout: _passing(learns=True),
    keras.layers.GaussianNoise: _passing(learns=True),
    keras.layers.Flatten: lambda layer: [Flatten(layer)],
    keras.layers.UpSampling1D: _passing(mixes=True),
    keras.layers.UpSampling2D: _of_up_sampling_2d,
    keras.layers.UpSampling3D: _passing(mixes=True),
    **dict.fromkeys(_named("SpatialDropout{}D"), _passing(learns=True)),
    **dict.fromkeys(_named("AveragePooling{}D"), _of_average_pooling),
    **dict.fromkeys(_named("GlobalAveragePooling{}D"), _passing(mixes=True)),
    **dict.fromkeys(_named("MaxPooling{}D"), _passing(mixes=True, needs="scale")),
    **dict.fromkeys(_named("GlobalMaxPooling{}D"), _passing(mixes=True, needs="scale")),
    **dict.fromkeys(_named("Cropping{}D"), _passing(mixes=True)),
    **dict.fromkeys(_named("ZeroPadding{}D"), _passing(mixes=True, needs="shift")),
}

# What a report has a row of.
FOLDABLE = (
    ours.BatchNorm,
    ours.MeanOnlyBatchNorm,
    ours.Scale,
    ours.Bias,
    keras.layers.BatchNormalization,
    ours.NormProp,
    ours.WeightNormalization,
    ours.WeightStandardization,
    ours.ScaledWeightStandardization,
    keras.layers.SpectralNormalization,
)
