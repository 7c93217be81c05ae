"""Translated rectifiers."""

import keras

from keras_norms.layers import arguments, learned_activation
from keras_norms.ops import trelu


@keras.saving.register_keras_serializable(package="keras_norms")
class TReLU(learned_activation.LearnedActivation):
    """Clips each channel from below at a threshold learned for it: `max(x, threshold)`.

    At its initial threshold of zero it is a ReLU. Use it after a layer with normalized weights and no bias, such as
    `WeightNormalization(layer, use_scale=False)`: the threshold does the work of the bias, and a network of such pairs
    with scale and bias on its last layer alone can compute all that a network with ReLUs can.

    Above the threshold the output is the input to the last bit. An input at the threshold counts as clipped.

    Args:
        axis: Integer, the channel axis. Defaults to `-1`.
        threshold_initializer: Initializer. Defaults to `"zeros"`.
        threshold_regularizer: Regularizer or `None`.
        threshold_constraint: Constraint or `None`.
        **kwargs: `name`, `dtype`, `trainable`.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        threshold: Shape `(channels,)`, trainable.

    Example:
    >>> layer = keras_norms.TReLU(threshold_initializer="ones")
    >>> keras.ops.convert_to_numpy(layer(np.array([[0.0, 1.0, 2.0]]))).tolist()
    [[1.0, 1.0, 2.0]]

    Reference: [Xiang and Li, 2017](https://arxiv.org/abs/1704.03971)
    """

    def __init__(
        self,
        axis=-1,
        threshold_initializer="zeros",
        threshold_regularizer=None,
        threshold_constraint=None,
        **kwargs,
    ):
        super().__init__(arguments.integer("axis", axis), **kwargs)
        self.learns("threshold", threshold_initializer, threshold_regularizer, threshold_constraint)

    def call(self, inputs):
        return trelu.translated_relu(self.as_floating(inputs), self.threshold, self.axis)


@keras.saving.register_keras_serializable(package="keras_norms")
class TPReLU(learned_activation.LearnedActivation):
    """Flattens each channel below a threshold learned for it: the leaky form of `TReLU`.

        y = x                                    where x > threshold
        y = slope * (x - threshold) + threshold  elsewhere

    Use it where `TReLU` loses too much: as in Xiang and Li's generators and critics, behind layers with normalized
    weights and no bias. A slope acts clamped to [0, 1]; outside it gets no gradient, and so stays where it is.

    Args:
        axis: Integer, the channel axis. Defaults to `-1`.
        threshold_initializer: Initializer. Defaults to `"zeros"`.
        slope_initializer: Initializer, `Constant(0.25)` if not given.
        threshold_regularizer, slope_regularizer: Regularizers or `None`.
        threshold_constraint, slope_constraint: Constraints or `None`.
        **kwargs: `name`, `dtype`, `trainable`.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights:
        threshold, slope: Shape `(channels,)`, trainable.

    Example:
    >>> layer = keras_norms.TPReLU(threshold_initializer="ones")
    >>> keras.ops.convert_to_numpy(layer(np.array([[-3.0, 1.0, 2.0]]))).tolist()
    [[0.0, 1.0, 2.0]]

    Reference: [Xiang and Li, 2017](https://arxiv.org/abs/1704.03971)
    """

    def __init__(
        self,
        axis=-1,
        threshold_initializer="zeros",
        slope_initializer=None,
        threshold_regularizer=None,
        slope_regularizer=None,
        threshold_constraint=None,
        slope_constraint=None,
        **kwargs,
    ):
        super().__init__(arguments.integer("axis", axis), **kwargs)
        self.learns("threshold", threshold_initializer, threshold_regularizer, threshold_constraint)
        # The start of the authors' PyTorch code.
        slope_initializer = slope_initializer or keras.initializers.Constant(0.25)
        self.learns("slope", slope_initializer, slope_regularizer, slope_constraint)

    def call(self, inputs):
        return trelu.translated_prelu(self.as_floating(inputs), self.threshold, self.slope, self.axis)
