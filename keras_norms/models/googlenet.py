"""GoogLeNet for images of 128 x 128, with its two auxiliary classifiers.

Szegedy et al., "Going Deeper with Convolutions", 2014, https://arxiv.org/abs/1409.4842,
as BVLC's Caffe model and, on smaller images and with global pooling, as
`googlenet128_linear` of https://github.com/ducha-aiki/caffenet-benchmark.
"""

import keras

from keras_norms.layers import local_response_norm
from keras_norms.models import blocks as network_blocks
from keras_norms.models import pooling

# Channels of 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(blocks, images, classes, dropout):
    """Returns the logits of the classifiers, a dict with the keys "main", "aux1" and "aux2".

    Args:
        blocks: `Blocks`.
        images: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        dropout: Dict, the rates before the classifiers, of "main" and of "aux".
    """
    x = _stem(blocks, images)
    x = _inceptions(blocks, x, "3a", "3b")
    x = pooling.max_pool(x, name="pool3")
    x = fourth_a = _inceptions(blocks, x, "4a")
    x = fourth_d = _inceptions(blocks, x, "4b", "4c", "4d")
    x = _inceptions(blocks, x, "4e")
    x = pooling.max_pool(x, name="pool4")
    x = _inceptions(blocks, x, "5a", "5b")
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool5")(x)
    x = network_blocks.dropout(x, dropout["main"], name="main_dropout")
    return {
        "main": blocks.classifier(x, classes, name="main_classifier"),
        "aux1": auxiliary(blocks, fourth_a, classes, dropout["aux"], name="aux1"),
        "aux2": auxiliary(blocks, fourth_d, classes, dropout["aux"], name="aux2"),
    }


def auxiliary(blocks, x, classes, rate, name, window=5):
    """Returns the logits of an auxiliary classifier.

    Args:
        blocks: `Blocks`.
        x: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        rate: Float, of the dropout before the logits.
        name: String; the layers are named after it.
        window: Integer or tuple of two, the sides of the windows pooled.
    """
    # On 8 x 8, as published, every window fits. Where one hangs over the edge it is left out, unlike in Caffe.
    x = keras.layers.AveragePooling2D(window, 3, "valid", data_format="channels_last", name=f"{name}_pool")(x)
    x = blocks.convolution(x, 128, 1, name=f"{name}_convolution")
    x = keras.layers.Flatten(data_format="channels_last", name=f"{name}_flatten")(x)
    x = blocks.dense(x, 1024, name=f"{name}_dense")
    x = network_blocks.dropout(x, rate, name=f"{name}_dropout")
    return blocks.classifier(x, classes, name=f"{name}_classifier")


def _stem(blocks, x):
    x = blocks.convolution(x, 64, 7, strides=2, name="conv1")
    x = pooling.max_pool(x, name="pool1")
    x = local_response_norm.LocalResponseNorm(name="lrn1")(x)
    x = blocks.convolution(x, 64, 1, name="conv2_reduce")
    x = blocks.convolution(x, 192, 3, name="conv2")
    x = local_response_norm.LocalResponseNorm(name="lrn2")(x)
    return pooling.max_pool(x, name="pool2")


def _inceptions(blocks, x, *names):
    for name in names:
        x = _inception(blocks, x, INCEPTIONS[name], name=f"inception_{name}")
    return x


def _inception(blocks, x, channels, name):
    one, three_reduced, three, five_reduced, five, projected = channels
    pooled = keras.layers.MaxPooling2D(3, 1, "same", data_format="channels_last", name=f"{name}_pool")(x)
    reduced_for_three = blocks.convolution(x, three_reduced, 1, name=f"{name}_3x3_reduce")
    reduced_for_five = blocks.convolution(x, five_reduced, 1, name=f"{name}_5x5_reduce")
    branches = [
        blocks.convolution(x, one, 1, name=f"{name}_1x1"),
        blocks.convolution(reduced_for_three, three, 3, name=f"{name}_3x3"),
        blocks.convolution(reduced_for_five, five, 5, name=f"{name}_5x5"),
        blocks.convolution(pooled, projected, 1, name=f"{name}_pool_projection"),
    ]
    return keras.layers.Concatenate(axis=-1, name=name)(branches)
