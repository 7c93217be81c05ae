"""Residual networks for small images.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385, section 4.2. The other ways to end a unit are the
alternates of https://github.com/gcr/torch-residual-networks.
"""

import dataclasses

import keras

from keras_norms.models import blocks as network_blocks

# Uniform within 1 / sqrt(fan_in), Torch's default, in https://github.com/gcr/torch-residual-networks.
CLASSIFIER_INITIALIZER = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
STAGES = (16, 32, 64)


@dataclasses.dataclass(frozen=True)
class Unit:
    """What the residual units have in common.

    Attributes:
        shortcut: String, what a unit that changes the shape adds to its branch: "identity", every second pixel with
            zeros behind the channels (option A of He et al.), or "projection", a normalized convolution of 1 x 1 (B).
        normalized_sum: Boolean, whether the batch norm at the end of the branch stands behind the addition instead.
        activated_sum: Boolean, whether the unit ends in its activation.
    """

    shortcut: str = "identity"
    normalized_sum: bool = False
    activated_sum: bool = True


def resnet_cifar(blocks, images, classes, dropout, units, **options):
    """Returns the logits of a network with `6 * units + 2` weighted layers.

    Args:
        blocks: `Blocks`.
        images: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        dropout: Dict, the rate before the "classifier".
        units: Integer, the number of residual units in each of the three stages.
        **options: The attributes of `Unit`.
    """
    kind = Unit(**options)
    x = blocks.convolution(images, STAGES[0], 3, name="stem")
    for stage, filters in enumerate(STAGES, start=1):
        for unit in range(1, units + 1):
            strides = 2 if stage > 1 and unit == 1 else 1
            x = _residual_unit(blocks, kind, x, filters, strides, name=f"stage{stage}_unit{unit}")
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    x = network_blocks.dropout(x, dropout["classifier"], name="dropout")
    limit = STAGES[-1] ** -0.5
    classifier = dataclasses.replace(blocks, kernel_initializer=CLASSIFIER_INITIALIZER).classifier
    return classifier(x, classes, "classifier", bias_initializer=keras.initializers.RandomUniform(-limit, limit))


def _residual_unit(blocks, kind, x, filters, strides, name):
    # What follows the last convolution decides on its bias, wherever it stands.
    activate = kind.activated_sum and kind.normalized_sum
    residual = blocks.convolution(x, filters, 3, strides=strides, name=f"{name}_conv1")
    residual = blocks.convolution(
        residual, filters, 3, activate=activate, normalized_sum=kind.normalized_sum, name=f"{name}_conv2"
    )
    branches = [_shortcut(blocks, kind, x, filters, strides, name), residual]
    return blocks.add(branches, activate=kind.activated_sum, normalized_sum=kind.normalized_sum, name=name)


def _shortcut(blocks, kind, x, filters, strides, name):
    if kind.shortcut == "projection" and (strides > 1 or x.shape[-1] != filters):
        return blocks.convolution(x, filters, 1, strides=strides, activate=False, name=f"{name}_projection")
    if strides > 1:
        # Windows of one pixel: every second row and column, from the first.
        subsample = keras.layers.AveragePooling2D(1, strides, data_format="channels_last", name=f"{name}_subsample")
        x = subsample(x)
    missing = filters - x.shape[-1]
    if missing:
        # "channels_first" makes Keras pad the axes 2 and 3: here the width, by nothing, and the channels.
        pad = keras.layers.ZeroPadding2D(((0, 0), (0, missing)), data_format="channels_first", name=f"{name}_channels")
        x = pad(x)
    return x
