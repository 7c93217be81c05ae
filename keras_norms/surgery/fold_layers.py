"""The parts of each kind of layer, for folding: what the layer does in inference, in its order."""

import keras
import numpy as np
from keras import ops

from keras_norms import layers as ours
from keras_norms.surgery import fold_linear, fold_parts, fold_weights

_OTHER = "is neither linear nor lets it through"


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
    if type(layer) in fold_parts.LINEAR:
        return [_linear(layer)]
    kind = _KINDS.get(type(layer))
    return [fold_parts.Part(layer, _OTHER)] if kind is None else kind(layer)


def _linear(layer, plain=None):
    obstacle = _linear_obstacle(plain or layer)
    return fold_parts.Linear(layer, plain) if obstacle is None else fold_parts.Part(layer, obstacle, plain)


def _linear_obstacle(layer):
    if type(layer) not in fold_parts.LINEAR:
        return _OTHER
    if getattr(layer, "quantization_mode", None) is not None or getattr(layer, "lora_enabled", False):
        return "is quantized or has LoRA weights"
    if isinstance(layer, keras.layers.EinsumDense):
        return fold_linear.EinsumDense.obstacle(layer)
    return None


def _after_normprop(layer):
    deviation, mean = layer.moments.deviation, layer.moments.mean
    affine = fold_parts.Affine(layer, None, 1 / deviation, -mean / deviation)
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
    return fold_parts.Affine(layer, layer.axis, factor, shift, _batch_statistics(use_global_stats), _learns(layer))


def _of_mean_only_batch_norm(layer):
    shift = (0.0 if layer.bias is None else _array(layer.bias)) - _array(layer.statistics()[0])
    obstacle = _batch_statistics(layer.use_global_stats)
    return [fold_parts.Affine(layer, layer.axis, np.ones_like(shift), shift, obstacle, _learns(layer))]


def _of_batch_norm_before(layer):
    return [*_of_batch_norm(layer), *_of_activation_in(layer)]


def _of_batch_norm_after(layer):
    return [*_of_activation_in(layer), *_of_batch_norm(layer)]


def _of_activation_in(layer):
    return [] if fold_parts.is_identity(layer.activation) else [fold_parts.Activation(layer, layer.activation)]


def _of_scale(layer):
    return [_elementwise(layer, _array(layer.scale), 0.0)]


def _of_bias(layer):
    return [_elementwise(layer, 1.0, _array(layer.bias))]


def _elementwise(layer, scale, shift):
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    obstacle = None if len(axes) == 1 else "it has values along several axes"
    return fold_parts.Affine(layer, axes[0] if len(axes) == 1 else None, scale, shift, obstacle)


def _of_activation(layer):
    if fold_parts.is_identity(layer):
        return [fold_parts.Passing(layer)]
    return [fold_parts.Part(layer, "is not linear")]


def _of_up_sampling_2d(layer):
    if layer.interpolation not in ("nearest", "bilinear"):
        return [fold_parts.Part(layer, _OTHER)]
    return [fold_parts.Passing(layer, mixes=True)]


def _of_average_pooling(layer):
    if layer.padding != "valid":
        return [fold_parts.Part(layer, "averages over its padding")]
    return [fold_parts.Passing(layer, mixes=True)]


def _passing(**arguments):
    return lambda layer: [fold_parts.Passing(layer, **arguments)]


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
    keras.layers.Flatten: lambda layer: [fold_parts.Flatten(layer)],
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
