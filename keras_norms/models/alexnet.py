"""AlexNet for images of 224 x 224 with one channel.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional
Neural Networks", 2012, as in "Dive into Deep Learning" (https://d2l.ai, AlexNet on
Fashion-MNIST): no groups, no response normalization, pools that fit.
"""

import keras

from keras_norms.models import blocks as network_blocks


def alexnet(blocks, images, classes, dropout, fc2=4096):
    """Returns the logits.

    Args:
        blocks: `Blocks`.
        images: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        dropout: Dict, the rates after "fc1" and "fc2".
        fc2: Integer, the number of units of "fc2".
    """
    x = blocks.convolution(images, 96, 11, strides=4, padded=False, name="conv1")
    x = _pool(x, name="pool1")
    x = blocks.convolution(x, 256, 5, name="conv2")
    x = _pool(x, name="pool2")
    x = blocks.convolution(x, 384, 3, name="conv3")
    x = blocks.convolution(x, 384, 3, name="conv4")
    x = blocks.convolution(x, 256, 3, name="conv5")
    x = _pool(x, name="pool5")
    x = keras.layers.Flatten(data_format="channels_last", name="flatten")(x)
    for name, units in (("fc1", 4096), ("fc2", fc2)):
        x = blocks.dense(x, units, name=name)
        x = network_blocks.dropout(x, dropout[name], name=f"{name}_dropout")
    return blocks.classifier(x, classes, name="fc3")


def _pool(x, name):
    return keras.layers.MaxPooling2D(3, 2, "valid", data_format="channels_last", name=name)(x)
