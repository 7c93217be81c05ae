"""What the networks are made of: linear layers, and what follows them.

A network asks for a convolution or a dense layer and gets it with its normalization
and activation. How a normalization enters is one row of `NORMALIZATIONS`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from keras_norms.layers import (
    batch_norm,
    batch_norm_placement,
    bias,
    grouped_convolution,
    mean_only_batch_norm,
    normprop,
    scale,
    trelu,
    weight_normalization,
)
from keras_norms.models import activations


def _activation(blocks, activation, name):
    return [] if activation is None else [activations.layer(activation, f"{name}_activation")]


def _activated(activation, name):
    return [activations.layer(activation, name)]


@dataclasses.dataclass(frozen=True)
class Normalization:
    """How a normalization enters a network.

    Attributes:
        linear: Function `(blocks, layer, activation)` of a plain convolution or dense layer. Returns the layer that
            takes its place.
        has_bias: Function `(blocks, activation)`. Returns whether the linear layer has a bias.
        after: Function `(blocks, activation, name)`. Returns the list of the layers that follow the linear one called
            `name`. The activation is None where there is none.
        add: Function `(name)`. Returns the layer that adds the two branches of a residual unit.
        after_add: Function `(activation, name)`. Returns the list of the layers that activate the sum.
        normalizes_activated: Boolean, whether the norm among what follows reads the activated outputs.
        normalizes_sums: Boolean, whether what follows the last linear layer of a branch can follow the addition
            instead.
    """

    linear: Callable
    has_bias: Callable
    after: Callable = _activation
    add: Callable = keras.layers.Add
    after_add: Callable = _activated
    normalizes_activated: bool = False
    normalizes_sums: bool = False


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The normalized layers of a network.

    Attributes:
        kernel_initializer: Keras initializer of all kernels. Each layer gets a copy, for an initializer draws the
            same numbers at each use.
        momentum: Float, the weight kept by the moving statistics.
        keeps_bias: Boolean, whether a linear layer has a bias also where the normalization cancels it.
        normalization: String, a key of `NORMALIZATIONS`.
        use_scale, use_bias: Booleans, whether the normalization has a learned scale and bias. Weight normalization has
            its scale in the weight and its bias in the linear layer; with TReLU it has neither.
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

    def convolution(
        self, x, filters, kernel_size, name, strides=1, groups=1, padded=True, activate=True, normalized_sum=False
    ):
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
            normalized_sum: Boolean, whether what follows is left to `add`, behind the addition.

        Returns:
            Keras tensor of shape `(batch, height, width, filters)`.
        """
        if padded and strides > 1 and kernel_size > 1:
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
        return layer(x) if normalized_sum else self._followed(x, layer, activation)

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

    def maxout(self, linear, inputs, name):
        """Applies the maximum of several linear layers, and what follows it.

        The maximum is an activation: a normalization before the activation normalizes the layers, one after it their
        maximum.

        Args:
            linear: Function `(blocks, x, name)`, `Blocks.convolution` or `Blocks.dense` with the other arguments.
            inputs: List of Keras tensors, what the layers read.
            name: String; the layers are called `name_piece1`, `name_piece2` and so on, what follows is named after it.

        Returns:
            Tuple: Keras tensor; the maximum, as it is.
        """
        pieces = dataclasses.replace(self, activation=None)
        follow = _activation
        if NORMALIZATIONS[self.normalization].normalizes_activated:
            pieces = dataclasses.replace(pieces, normalization="none")
            follow = NORMALIZATIONS[self.normalization].after
        outputs = [linear(pieces, x, name=f"{name}_piece{number}") for number, x in enumerate(inputs, start=1)]
        x = maximum = keras.layers.Maximum(name=f"{name}_maximum")(outputs)
        for following in follow(self, self.activation, name):
            x = following(x)
        return x, maximum

    def classifier(self, x, classes, name, bias_initializer="zeros"):
        """Applies the dense layer that returns the logits: with a bias, neither normalized nor activated."""
        return keras.layers.Dense(
            classes,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=bias_initializer,
            name=name,
        )(x)

    def add(self, branches, name, activate=True, normalized_sum=False):
        """Adds the branches of a residual unit and applies what follows the sum.

        Args:
            branches: List of Keras tensors of the same shape.
            name: String, the name of the unit.
            activate: Boolean, whether the activation of the network is applied.
            normalized_sum: Boolean, whether a branch ends in a convolution that left its normalization to the sum.

        Returns:
            Keras tensor of the shape of the branches.
        """
        normalization = NORMALIZATIONS[self.normalization]
        activation = self.activation if activate else None
        if normalized_sum and not normalization.normalizes_sums:
            raise ValueError(
                "`normalized_sum` moves batch norm behind the addition: `normalization` must be one of "
                f"{[name for name, row in NORMALIZATIONS.items() if row.normalizes_sums]}. "
                f"Received: normalization={self.normalization!r}."
            )
        x = normalization.add(name=f"{name}_add")(branches)
        for following in self._after_add(activation, name, normalized_sum):
            x = following(x)
        return x

    def _after_add(self, activation, name, normalized_sum):
        normalization = NORMALIZATIONS[self.normalization]
        if normalized_sum:
            return normalization.after(self, activation, name)
        return [] if activation is None else normalization.after_add(activation, f"{name}_activation")

    def _weights(self, activation):
        return {
            "use_bias": NORMALIZATIONS[self.normalization].has_bias(self, activation),
            "kernel_initializer": self.kernel_initializer.clone(),
        }

    def _followed(self, x, layer, activation):
        normalization = NORMALIZATIONS[self.normalization]
        x = normalization.linear(self, layer, activation)(x)
        for following in normalization.after(self, activation, layer.name):
            x = following(x)
        return x


def dropout(x, rate, name):
    """Applies dropout, or nothing where the rate is 0."""
    return keras.layers.Dropout(rate, name=name)(x) if rate else x


def _plain(blocks, layer, activation):
    return layer


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
            return [batch_norm.BatchNorm(**arguments)]
        return [placement(activations.fresh(activation, f"{name}_activation"), **arguments)]

    return after


def _scalar(blocks, activation, name):
    """A scale and a bias for all channels together, as Caffe's Scale layer with `num_axes: 0`."""
    norm = batch_norm.BatchNorm(
        momentum=blocks.momentum,
        use_scale=False,
        use_bias=False,
        synchronized=blocks.synchronized,
        name=f"{name}_batch_norm",
    )
    learned = [scale.Scale(axis=None, name=f"{name}_scale")] if blocks.use_scale else []
    learned += [bias.Bias(axis=None, name=f"{name}_bias")] if blocks.use_bias else []
    return [norm, *learned, *_activation(blocks, activation, name)]


def _weight_normalized(blocks, layer, activation):
    return weight_normalization.WeightNormalization(layer, use_scale=blocks.use_scale, name=f"{layer.name}_weight_norm")


def _centred(blocks, activation, name):
    centre = mean_only_batch_norm.MeanOnlyBatchNorm(
        momentum=blocks.momentum,
        use_bias=blocks.use_bias,
        synchronized=blocks.synchronized,
        name=f"{name}_mean_only_batch_norm",
    )
    return [centre, *_activation(blocks, activation, name)]


def _strict(blocks, layer, activation):
    return weight_normalization.WeightNormalization(layer, use_scale=False, name=f"{layer.name}_weight_norm")


def _threshold(activation, name):
    if isinstance(activation, trelu.TReLU):
        return activations.fresh(activation, name)
    if activation not in ("relu", keras.activations.relu):
        raise ValueError(
            "`weight_norm_trelu` has TReLUs in place of ReLUs: `activation` must be 'relu', 'trelu' or 'linear'. "
            f"Received: activation={activation!r}."
        )
    return trelu.TReLU(name=name)


def _after_threshold(blocks, activation, name):
    return [] if activation is None else [_threshold(activation, f"{name}_activation")]


def _propagated(blocks, layer, activation):
    activation = activations.fresh(activation, f"{layer.name}_activation")
    return normprop.NormProp(layer, activation, use_scale=blocks.use_scale, name=f"{layer.name}_normprop")


def _threshold_of_sum(activation, name):
    return [_threshold(activation, name)]


def _nothing(*_):
    return []


def _never(blocks, activation):
    return False


def _always(blocks, activation):
    return True


def _if_kept(blocks, activation):
    return blocks.keeps_bias


def _if_kept_or_activated(blocks, activation):
    return blocks.keeps_bias or activation is not None


def _if_used(blocks, activation):
    return blocks.use_bias


NORMALIZATIONS = {
    "none": Normalization(_plain, _always),
    "batch_norm_before": Normalization(
        _plain, _if_kept, _batch_norm(batch_norm_placement.BatchNormBefore), normalizes_sums=True
    ),
    "batch_norm_before_scalar": Normalization(_plain, _if_kept, _scalar, normalizes_sums=True),
    "batch_norm_after": Normalization(
        _plain,
        _if_kept_or_activated,
        _batch_norm(batch_norm_placement.BatchNormAfter),
        normalizes_activated=True,
        normalizes_sums=True,
    ),
    "weight_norm": Normalization(_weight_normalized, _if_used),
    "weight_norm_mean_only_batch_norm": Normalization(_weight_normalized, _never, _centred),
    "weight_norm_trelu": Normalization(_strict, _never, _after_threshold, after_add=_threshold_of_sum),
    # Nothing behind the sum: each activation on the way of the shortcut would stretch what is positive by 1.2.
    "normprop": Normalization(_propagated, _if_used, _nothing, add=normprop.NormPropAdd, after_add=_nothing),
}
