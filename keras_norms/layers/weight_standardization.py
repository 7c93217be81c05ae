"""Weight standardization, plain and scaled."""

import keras

from keras_norms.layers import arguments, reparameterization
from keras_norms.ops import weight_standardization


@keras.saving.register_keras_serializable(package="keras_norms")
class WeightStandardization(reparameterization.Reparameterization):
    """Gives the weights of each output unit of a layer mean 0 and variance 1: `w = (v - mean) / deviation`.

    Wrap it around the convolutions of a network with `GroupNorm`, which it helps to match `BatchNorm` where batches
    are small. It costs nothing that grows with the batch, and behaves the same in training and in inference. There
    must be a normalization behind it: the outputs grow with the root of the fan-in. Without one take
    `ScaledWeightStandardization`.

    The wrapped layer's variable holds v. The effective weight is computed in each call, in float32 in mixed precision
    too, and never written to it. Equal weights give zeros and finite gradients. A unit with one weight, as in a
    depthwise convolution of size 1, has no spread and becomes zero: do not wrap it.

    Args:
        layer: Keras layer. A layer with several inputs must have been built.
        weight: String or sequence of strings, the attributes that hold the weights. See `WeightNormalization`.
        axis: Integer or sequence of integers, the axes of the weight that number its units, for all named weights; an
            empty sequence for one unit. By default those of `WeightNormalization`.
        epsilon: Float above 0, added to the variance. Defaults to `1e-6`, as in BiT and timm.
        **kwargs: `name`, `trainable`. The dtype is that of the wrapped layer.

    Input and output shape: Those of the wrapped layer.
    Weights: Those of the wrapped layer.

    Example:
    >>> layer = keras_norms.WeightStandardization(keras.layers.Dense(2))
    >>> layer.build((None, 8))
    >>> keras.ops.convert_to_numpy(keras.ops.std(layer.effective_weights()["kernel"], axis=0)).round(3).tolist()
    [1.0, 1.0]

    Reference: [Qiao et al., 2019](https://arxiv.org/abs/1903.10520)
    """

    def __init__(self, layer, weight="kernel", axis=None, epsilon=1e-6, **kwargs):
        super().__init__(layer, weight, axis, **kwargs)
        self.epsilon = arguments.positive("epsilon", epsilon)

    def effective(self, name, variable, kept):
        return weight_standardization.standardized(variable.value, kept, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="keras_norms")
class ScaledWeightStandardization(reparameterization.WithScale):
    """Standardizes the weights of each output unit and divides them by the root of the fan-in: `w` has norm `scale`.

    So a unit keeps the variance of independent inputs, and networks without any normalization of activations can be
    trained (normalizer-free ResNets). Wrap it around their linear layers; behind an activation the paper multiplies by
    a constant that restores its variance, 1.7129 for a ReLU.

    It differs from `WeightNormalization` in that the mean of the weights is taken off first.

    The wrapped layer's variable holds v. The effective weight is computed in each call, in float32 in mixed precision
    too, and never written to it. Equal weights give zeros and finite gradients.

    Args:
        layer: Keras layer. A layer with several inputs must have been built.
        weight: String or sequence of strings, the attributes that hold the weights. See `WeightNormalization`.
        axis: Integer or sequence of integers, the axes of the weight that number its units, for all named weights; an
            empty sequence for one unit. By default those of `WeightNormalization`.
        use_scale: Boolean, whether there is a learned factor per unit, the paper's gain. Otherwise it is 1.
        epsilon: Float above 0, the least that fan-in times variance counts as. Defaults to `1e-4`, as in the authors'
            code; timm adds 1e-6 to the variance.
        **kwargs: `scale_initializer` (`"ones"` if not given), `scale_regularizer`, `scale_constraint`; `name`,
            `trainable`. The dtype is that of the wrapped layer.

    Input and output shape: Those of the wrapped layer.
    Weights:
        Those of the wrapped layer, and for each weight named a scale in `scales`, with the lengths of the kept axes
        as its shape.

    Example:
    >>> layer = keras_norms.ScaledWeightStandardization(keras.layers.Dense(2))
    >>> layer.build((None, 8))
    >>> kernel = keras.ops.convert_to_numpy(layer.effective_weights()["kernel"])
    >>> np.linalg.norm(kernel, axis=0).round(3).tolist()
    [1.0, 1.0]

    Reference: [Brock, De and Smith, 2021](https://arxiv.org/abs/2101.08692)
    """

    def __init__(self, layer, weight="kernel", axis=None, use_scale=True, epsilon=1e-4, **kwargs):
        super().__init__(layer, weight, axis, use_scale, epsilon, **kwargs)

    def first_scale(self, variable, kept):
        return keras.initializers.Ones()

    def effective(self, name, variable, kept):
        return weight_standardization.scaled_standardized(variable.value, self.scales.get(name), kept, self.epsilon)
