"""The parametric rectifier."""

import keras

from keras_norms.layers import learned_activation
from keras_norms.ops import axes, leaky_relu


@keras.saving.register_keras_serializable(package="keras_norms")
class PReLU(learned_activation.LearnedActivation):
    """Multiplies what is not above zero by a slope learned for its channel.

    One object serves convolutions and dense layers alike: there is one slope per channel whatever the rank.
    `keras.layers.PReLU` has one per pixel and channel unless told which axes share (`shared_axes`), and starts as a
    ReLU; this one starts at 0.25, as in the paper and in Caffe. `axis=None` is PyTorch's default, one slope for all.

    The paper decays weights, not slopes; the caffenet-benchmark decays both: give a `slope_regularizer` for that.

    Args:
        axis: Integer, the channel axis; `None` for one slope that all channels share. Defaults to `-1`.
        slope_initializer: Initializer, `Constant(0.25)` if not given.
        slope_regularizer: Regularizer or `None`.
        slope_constraint: Constraint or `None`.
        **kwargs: `name`, `dtype`, `trainable`.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says; any for `axis=None`.
    Weights:
        slope: Shape `(channels,)`, or `()`; trainable.

    Example:
    >>> layer = keras_norms.PReLU()
    >>> keras.ops.convert_to_numpy(layer(np.array([[-4.0, 0.0, 2.0]]))).tolist()
    [[-1.0, 0.0, 2.0]]

    Reference: [He et al., 2015](https://arxiv.org/abs/1502.01852)
    """

    def __init__(self, axis=-1, slope_initializer=None, slope_regularizer=None, slope_constraint=None, **kwargs):
        super().__init__(axis, **kwargs)
        slope_initializer = slope_initializer or keras.initializers.Constant(0.25)
        self.learns("slope", slope_initializer, slope_regularizer, slope_constraint)

    def call(self, inputs):
        inputs = self.as_floating(inputs)
        chosen = () if self.axis is None else (self.axis,)
        return leaky_relu.leaky_relu(inputs, axes.along(self.slope, inputs, chosen))
