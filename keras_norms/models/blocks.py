"""What the networks are made of: linear layers, and what follows them.

A network asks for a convolution or a dense layer and gets it with its normalization
and activation. How a normalization enters is one row of `NORMALIZATIONS`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from keras_norms.layers import batch_norm, batch_norm_placement, grouped_convolution
from keras_norms.models import activations


@dataclasses.dataclass(frozen=True)
class Normalization:
    """How a normalization enters a network.

    Attributes:
        linear: Function of a plain convolution or dense layer. Returns the layer that takes its place.
        after: Function `(blocks, activation, name)`. Returns the layer that follows the linear one called `name`,
            or None where nothing follows. The activation is None where there is none.
        cancels_bias: Function of the activation. Returns whether a bias of the linear layer is lost in what follows.
    """

    linear: Callable
    after: Callable
    cancels_bias: Callable


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The normalized layers of a network.

    Attributes:
        kernel_initializer: Keras initializer of all kernels. Each layer gets a copy, for an initializer draws the
            same numbers at each use.
        momentum: Float, the weight kept by the moving statistics.
        keeps_bias: Boolean, whether a linear layer has a bias also where the normalization cancels it.
        normalization: String, a key of `NORMALIZATIONS`.
        use_scale, use_bias: Booleans, whether the normalization has a learned scale and bias.
        activation: Name of a Keras activation, callable or Keras layer; None for no activation.
        synchronized: Boolean, whether the statistics of the normalization are those of all replicas together.
    """

    kernel_initializer: keras.initializers.Initializer
    momentum: float
    keeps_bias: bool
    normalization: str = "none"
    use_scale: bool = True
    use_bias: bool = True
    activation: Any = "relu"
    synchronized: bool = False

    def __post_init__(self):
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {list(NORMALIZATIONS)}. "
                f"Received: normalization={self.normalization!r}."
            )

    def convolution(self, x, filters, kernel_size, name, strides=1, groups=1, padded=True, activate=True):
        """Applies a square convolution and what follows it.

        Args:
            x: Keras tensor of shape `(batch, height, width, channels)`.
            filters: Integer, the number of output channels.
            kernel_size: Integer, odd.
            name: String, the name of the convolution; what follows is named after it.
            strides: Integer.
            groups: Integer, the number of groups of channels that are convolved apart.
            padded: Boolean, whether `kernel_size // 2` zeros are added on each side. The kernels are then centred on
                every `strides`-th pixel from the first.
            activate: Boolean, whether the activation of the network is applied.

        Returns:
            Keras tensor of shape `(batch, height, width, filters)`.
        """
        if padded and strides > 1:
            # Keras' "same" adds zeros at the far end first, and so centres on the second pixel where a side is even.
            x = keras.layers.ZeroPadding2D(kernel_size // 2, data_format="channels_last", name=f"{name}_padding")(x)
        convolution = keras.layers.Conv2D if groups == 1 else grouped_convolution.GroupedConv2D
        activation = self.activation if activate else None
        layer = convolution(
            filters,
            kernel_size,
            strides=strides,
            groups=groups,
            padding="same" if padded and strides == 1 else "valid",
            data_format="channels_last",
            **self._weights(activation),
            name=name,
        )
        return self._followed(x, layer, activation)

    def dense(self, x, units, name):
        """Applies a dense layer with its normalization and activation.

        Args:
            x: Keras tensor of shape `(batch, features)`.
            units: Integer, the number of outputs.
            name: String, the name of the dense layer; what follows is named after it.

        Returns:
            Keras tensor of shape `(batch, units)`.
        """
        layer = keras.layers.Dense(units, **self._weights(self.activation), name=name)
        return self._followed(x, layer, self.activation)

    def classifier(self, x, classes, name, bias_initializer="zeros"):
        """Applies the dense layer that returns the logits: with a bias, neither normalized nor activated."""
        return keras.layers.Dense(
            classes,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=bias_initializer,
            name=name,
        )(x)

    def activated(self, x, name):
        """Applies the activation of the network alone."""
        return x if self.activation is None else activations.layer(self.activation, name)(x)

    def _weights(self, activation):
        cancelled = NORMALIZATIONS[self.normalization].cancels_bias(activation)
        return {
            "use_bias": self.keeps_bias or not cancelled,
            "kernel_initializer": self.kernel_initializer.clone(),
        }

    def _followed(self, x, layer, activation):
        normalization = NORMALIZATIONS[self.normalization]
        x = normalization.linear(layer)(x)
        after = normalization.after(self, activation, layer.name)
        return x if after is None else after(x)


def dropout(x, rate, name):
    """Applies dropout, or nothing where the rate is 0."""
    return keras.layers.Dropout(rate, name=name)(x) if rate else x


def _plain(layer):
    return layer


def _activation(blocks, activation, name):
    return None if activation is None else activations.layer(activation, f"{name}_activation")


def _batch_norm(placement):
    def after(blocks, activation, name):
        arguments = {
            "momentum": blocks.momentum,
            "use_scale": blocks.use_scale,
            "use_bias": blocks.use_bias,
            "synchronized": blocks.synchronized,
            "name": f"{name}_batch_norm",
        }
        if activation is None:
            return batch_norm.BatchNorm(**arguments)
        return placement(activations.fresh(activation, f"{name}_activation"), **arguments)

    return after


def _always(activation):
    return True


def _never(activation):
    return False


def _without_activation(activation):
    return activation is None


NORMALIZATIONS = {
    "none": Normalization(_plain, _activation, _never),
    "batch_norm_before": Normalization(_plain, _batch_norm(batch_norm_placement.BatchNormBefore), _always),
    "batch_norm_after": Normalization(_plain, _batch_norm(batch_norm_placement.BatchNormAfter), _without_activation),
}
