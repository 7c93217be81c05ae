"""CaffeNet at half resolution: AlexNet for images of 128 x 128, with smaller dense layers.

Mishkin, Sergievskiy and Matas, "Systematic evaluation of CNN advances on the
ImageNet", 2017, https://arxiv.org/abs/1606.02228; the network is
`caffenet128_lsuv_no_lrn` of https://github.com/ducha-aiki/caffenet-benchmark.
"""

import dataclasses

import keras

from keras_norms.models import blocks as network_blocks
from keras_norms.models import pooling

DENSE_INITIALIZER = keras.initializers.RandomNormal(stddev=0.005)


def caffenet(blocks, images, classes, dropout):
    """Returns the logits.

    Args:
        blocks: `Blocks`.
        images: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        dropout: Dict, the rates after "fc6" and "fc7".
    """
    x = blocks.convolution(images, 96, 11, strides=4, padded=False, name="conv1")
    x = pooling.max_pool(x, name="pool1")
    x = blocks.convolution(x, 256, 5, groups=2, name="conv2")
    x = pooling.max_pool(x, name="pool2")
    x = blocks.convolution(x, 384, 3, name="conv3")
    x = blocks.convolution(x, 384, 3, groups=2, name="conv4")
    x = blocks.convolution(x, 256, 3, groups=2, name="conv5")
    x = pooling.max_pool(x, name="pool5")
    # Rows, columns, channels; Caffe's order is channels first, which matters when its weights are read.
    x = keras.layers.Flatten(data_format="channels_last", name="flatten")(x)
    hidden = dataclasses.replace(blocks, kernel_initializer=DENSE_INITIALIZER)
    for name in ("fc6", "fc7"):
        x = hidden.dense(x, 2048, name=name)
        x = network_blocks.dropout(x, dropout[name], name=f"{name}_dropout")
    return blocks.classifier(x, classes, name="fc8")
