"""CaffeNet at half resolution: AlexNet for images of 128 x 128, with smaller dense layers.

Mishkin, Sergievskiy and Matas, "Systematic evaluation of CNN advances on the
ImageNet", 2017, https://arxiv.org/abs/1606.02228; the network is
`caffenet128_lsuv_no_lrn` of https://github.com/ducha-aiki/caffenet-benchmark,
with maxout `caffenet128_BatchNormAfterMaxout_lsuv`.
"""

import dataclasses
import functools

import keras

from keras_norms.models import blocks as network_blocks
from keras_norms.models import pooling

CONVOLUTIONS = {
    "conv1": {"kernel_size": 11, "strides": 4, "padded": False},
    "conv2": {"kernel_size": 5, "groups": 2},
    "conv3": {"kernel_size": 3},
    "conv4": {"kernel_size": 3, "groups": 2},
    "conv5": {"kernel_size": 3, "groups": 2},
}
POOLS = {"conv1": "pool1", "conv2": "pool2", "conv5": "pool5"}
WIDTHS = {"conv1": 96, "conv2": 256, "conv3": 384, "conv4": 384, "conv5": 256, "fc6": 2048, "fc7": 2048}
# Of both pieces: about as many weights as without maxout.
MAXOUT_WIDTHS = {"conv1": 68, "conv2": 182, "conv3": 272, "conv4": 272, "conv5": 172, "fc6": 1448, "fc7": 1448}
DENSE_INITIALIZER = keras.initializers.RandomNormal(stddev=0.005)


def caffenet(blocks, images, classes, dropout):
    """Returns the logits.

    Args:
        blocks: `Blocks`.
        images: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        dropout: Dict, the rates after "fc6" and "fc7".
    """
    return _caffenet(_single, WIDTHS, blocks, images, classes, dropout)


def caffenet_maxout(blocks, images, classes, dropout):
    """Returns the logits of the network whose layers are the maximum of two pieces each.

    As published, the second pieces of "conv4" and "conv5" read the maximum of the layer before them as it is, all
    others read it normalized.

    Args:
        blocks, images, classes, dropout: As for `caffenet`.
    """
    return _caffenet(network_blocks.Blocks.maxout, MAXOUT_WIDTHS, blocks, images, classes, dropout)


def _caffenet(apply, widths, blocks, images, classes, dropout):
    x = unnormalized = images
    for name, geometry in CONVOLUTIONS.items():
        linear = functools.partial(network_blocks.Blocks.convolution, filters=widths[name], **geometry)
        x, unnormalized = apply(blocks, linear, [x, unnormalized], name)
        if name in POOLS:
            x = unnormalized = pooling.max_pool(x, name=POOLS[name])
    # Rows, columns, channels; Caffe's order is channels first, which matters when its weights are read.
    x = keras.layers.Flatten(data_format="channels_last", name="flatten")(x)
    hidden = dataclasses.replace(blocks, kernel_initializer=DENSE_INITIALIZER)
    for name in ("fc6", "fc7"):
        linear = functools.partial(network_blocks.Blocks.dense, units=widths[name])
        x, _ = apply(hidden, linear, [x, x], name)
        x = network_blocks.dropout(x, dropout[name], name=f"{name}_dropout")
    return blocks.classifier(x, classes, name="fc8")


def _single(blocks, linear, inputs, name):
    x = linear(blocks, inputs[0], name=name)
    return x, x
