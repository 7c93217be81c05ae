"""The activation of normalization propagation, alone."""

import keras
from keras import ops

from keras_norms.layers import activation_moments
from keras_norms.ops import normprop


@keras.saving.register_keras_serializable(package="keras_norms")
class NormPropActivation(keras.Layer):
    """Activates inputs of mean 0 and variance 1, and returns outputs of mean 0 and variance 1.

        y = (f(x) - mean) / deviation

    with the moments of f for a normal variable. Use it where no linear layer stands right before the activation: behind
    `NormPropAdd` in residual networks. `NormProp` has the linear layer and this in one.

    Args:
        activation: Name of a Keras activation, function of each element, or Keras layer (with weights, if it has some;
            the moments are those of its weights as they start). Defaults to `"relu"`.
        **kwargs: `name`, `dtype`, `trainable`.

    Input shape: Any with a batch axis. Output shape: That of the activation.
    Weights: Those of the activation.

    Example:
    >>> layer = keras_norms.NormPropActivation("relu")
    >>> print(keras.ops.convert_to_numpy(layer(np.array([[-3.0, 0.0, 1.0]]))))
    [[-0.6833317 -0.6833317  1.0295268]]

    Reference: [Arpit et al., 2016](https://arxiv.org/abs/1603.01431)
    """

    def __init__(self, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.activation = checked(activation)
        self.moments = activation_moments.of(self.activation)
        self.supports_masking = True

    def build(self, input_shape):
        if isinstance(self.activation, keras.Layer) and not self.activation.built:
            self.activation.build(input_shape)

    def call(self, inputs):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return normprop.standardized(self.activation(inputs), self.moments.mean, self.moments.deviation)

    def compute_output_shape(self, input_shape):
        return output_shape(self.activation, input_shape)

    def get_config(self):
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


def checked(activation):
    """Returns an activation as a function or Keras layer."""
    if isinstance(activation, type):
        raise ValueError(f"`activation` must be an object, not a class. Received: activation={activation}.")
    return keras.activations.get(activation)


def output_shape(activation, shape):
    """Returns the shape of what an activation makes of a tensor of a shape: some merge channels."""
    if isinstance(activation, keras.Layer):
        return activation.compute_output_shape(shape)
    return (*shape[:-1], shape[-1] // 2) if activation is keras.activations.glu else tuple(shape)
