"""Batch normalization before or after an activation, the pair as one layer."""

import keras
from keras import ops

from keras_norms.layers import batch_norm
from keras_norms.ops import batch_norm as batch_norm_ops


class _BatchNormWithActivation(batch_norm.BatchNorm):
    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        is_layer = isinstance(activation, keras.Layer)
        self.activation = activation if is_layer else keras.layers.Activation(activation, dtype=self.dtype_policy)

    def build(self, input_shape):
        super().build(input_shape)
        shape = tuple(self.activation.compute_output_shape(input_shape))
        if shape != tuple(input_shape):
            raise ValueError(
                "`activation` must keep the shape of its input: what changes it, as Maxout does, stands on its own. "
                f"Received: activation={self.activation}, from shape {tuple(input_shape)} to {shape}."
            )
        if not self.activation.built:  # a layer made from its config is built with it
            self.activation.build(input_shape)

    def get_config(self):
        return {**super().get_config(), "activation": keras.saving.serialize_keras_object(self.activation)}

    @classmethod
    def from_config(cls, config):
        if "activation" in config:
            config = {**config, "activation": _activation_from(config["activation"])}
        return super().from_config(config)


@keras.saving.register_keras_serializable(package="keras_norms")
class BatchNormBefore(_BatchNormWithActivation):
    """Normalizes, then activates: `activation(batch_norm(x))`, the place of the original paper.

    Use it after a linear layer, which then needs no bias of its own. See `BatchNormAfter` for the other order.

    Args:
        activation: Name of a Keras activation, function, Keras layer (with weights, if it has some), or `None`.
        **kwargs: The arguments of `BatchNorm`.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights: Those of `BatchNorm`, and those of the activation.

    Example:
    >>> layer = keras_norms.BatchNormBefore("relu")
    >>> outputs = layer(np.array([[1.0], [3.0]]), training=True)
    >>> keras.ops.convert_to_numpy(outputs).round(3).tolist()
    [[0.0], [1.0]]

    Reference: [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167)
    """

    def batch_normalized(self, inputs, mask):
        if _is_relu(self.activation):
            return batch_norm_ops.batch_normalized_relu(
                inputs, self.scale, self.bias, self.axis, self.epsilon, mask, self.synchronize()
            )
        outputs, moments = super().batch_normalized(inputs, mask)
        return self.activation(outputs), moments

    def normalized(self, inputs, mask):
        return self.activation(super().normalized(inputs, mask))


@keras.saving.register_keras_serializable(package="keras_norms")
class BatchNormAfter(_BatchNormWithActivation):
    """Activates, then normalizes: `batch_norm(activation(x))`.

    What follows reads inputs of mean 0 and variance 1. The linear layer before it keeps its bias, which the
    normalization does not cancel. In the caffenet-benchmark this place did better than the one before the ReLU
    (0.499 against 0.474 top-1, one run each).

    Args:
        activation: Name of a Keras activation, function, Keras layer (with weights, if it has some), or `None`.
        **kwargs: The arguments of `BatchNorm`.

    Input and output shape: `(batch, ..., channels)`, or as `axis` says.
    Weights: Those of `BatchNorm`, and those of the activation.

    Example:
    >>> layer = keras_norms.BatchNormAfter("relu")
    >>> outputs = layer(np.array([[-1.0], [3.0]]), training=True)
    >>> keras.ops.convert_to_numpy(outputs).round(3).tolist()
    [[-1.0], [1.0]]

    Reference: Mishkin, Sergievskiy and Matas,
    [Systematic evaluation of CNN advances on the ImageNet, 2017](https://arxiv.org/abs/1606.02228)
    """

    def call(self, inputs, training=None, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return super().call(self.activation(inputs), training=training, mask=mask)


def _is_relu(activation):
    if isinstance(activation, keras.layers.ReLU):
        return (activation.max_value, activation.negative_slope, activation.threshold) == (None, 0.0, 0.0)
    return isinstance(activation, keras.layers.Activation) and activation.activation is keras.activations.relu


def _activation_from(config):
    return keras.saving.deserialize_keras_object(config) if isinstance(config, dict) else config
