"""The residual network of 50 layers for ImageNet.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
https://arxiv.org/abs/1512.03385, section 4.1, with projections where the shape
changes (option B). Version 1.5, with the strides in the 3 x 3 convolutions, is
that of Torch (https://github.com/facebookarchive/fb.resnet.torch).
"""

import keras

from keras_norms.models import blocks as network_blocks
from keras_norms.models import pooling

# The width of the bottlenecks and the number of units, conv2_x to conv5_x of the paper.
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
EXPANSION = 4


def resnet50(blocks, images, classes, dropout, version="v1"):
    """Returns the logits.

    Args:
        blocks: `Blocks`.
        images: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        dropout: Dict, the rate before the "classifier".
        version: String, which convolution of a unit has the stride: with "v1" the first one, of 1 x 1, with "v1.5" the
            second one, of 3 x 3.
    """
    x = blocks.convolution(images, 64, 7, strides=2, name="stem")
    x = pooling.max_pool(x, name="stem_pool")
    for stage, (width, units) in enumerate(STAGES, start=1):
        for unit in range(1, units + 1):
            strides = 2 if stage > 1 and unit == 1 else 1
            first, second = (strides, 1) if version == "v1" else (1, strides)
            x = _bottleneck(blocks, x, width, first, second, name=f"stage{stage}_unit{unit}")
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    x = network_blocks.dropout(x, dropout["classifier"], name="dropout")
    return blocks.classifier(x, classes, name="classifier")


def _bottleneck(blocks, x, width, first, second, name):
    channels = EXPANSION * width
    residual = blocks.convolution(x, width, 1, strides=first, name=f"{name}_conv1")
    residual = blocks.convolution(residual, width, 3, strides=second, name=f"{name}_conv2")
    residual = blocks.convolution(residual, channels, 1, activate=False, name=f"{name}_conv3")
    if x.shape[-1] != channels:
        x = blocks.convolution(x, channels, 1, strides=first * second, activate=False, name=f"{name}_projection")
    return blocks.add([x, residual], name=name)
