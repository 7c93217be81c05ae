"""GoogLeNet with batch norm and double 3 x 3 convolutions, for images of 128 x 128.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift", 2015, https://arxiv.org/abs/1502.03167, as
https://github.com/lim0606/caffe-googlenet-bn and, on smaller images,
`googlenet128_bn_lim0606` of https://github.com/ducha-aiki/caffenet-benchmark.
"""

import dataclasses

import keras

from keras_norms.models import blocks as network_blocks
from keras_norms.models import googlenet, pooling


@dataclasses.dataclass(frozen=True)
class Inception:
    """The channels of an inception's branches.

    Attributes:
        one: Integer, of the 1 x 1 convolution; 0 for none, and for strides of 2 in the other branches.
        three: Tuple of the 1 x 1 and the 3 x 3 convolution.
        double: Tuple of the 1 x 1 and the two 3 x 3 convolutions.
        projected: Integer, of the 1 x 1 convolution behind the pool; 0 for none.
        pool: String, "average" or "max".
    """

    one: int
    three: tuple[int, int]
    double: tuple[int, int, int]
    projected: int
    pool: str = "average"

    @property
    def strides(self):
        """The strides of the last convolutions and of the pool."""
        return 1 if self.one else 2


INCEPTIONS = {
    "3a": Inception(64, (64, 64), (64, 96, 96), 32),
    "3b": Inception(64, (64, 96), (64, 96, 96), 64),
    "3c": Inception(0, (128, 160), (64, 96, 96), 0, pool="max"),
    "4a": Inception(224, (64, 96), (96, 128, 128), 128),
    "4b": Inception(192, (96, 128), (96, 128, 128), 128),
    "4c": Inception(160, (128, 160), (128, 160, 160), 96),
    "4d": Inception(96, (128, 192), (160, 192, 192), 96),
    "4e": Inception(0, (128, 192), (192, 256, 256), 0, pool="max"),
    "5a": Inception(352, (192, 320), (160, 224, 224), 128),
    "5b": Inception(352, (192, 320), (192, 224, 224), 128, pool="max"),
}


def googlenet_bn(blocks, images, classes, dropout):
    """Returns the logits of the classifiers, a dict with the keys "main", "aux1" and "aux2".

    Args:
        blocks: `Blocks`.
        images: Keras tensor of shape `(batch, height, width, channels)`.
        classes: Integer.
        dropout: Dict, the rates before the classifiers, of "main" and of "aux".
    """
    x = blocks.convolution(images, 64, 7, strides=2, name="conv1")
    x = pooling.max_pool(x, name="pool1")
    x = blocks.convolution(x, 64, 1, name="conv2_reduce")
    x = blocks.convolution(x, 192, 3, name="conv2")
    x = pooling.max_pool(x, name="pool2")
    outputs = {}
    for name, channels in INCEPTIONS.items():
        x = outputs[name] = _inception(blocks, x, channels, name=f"inception_{name}")
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool5")(x)
    x = network_blocks.dropout(x, dropout["main"], name="main_dropout")
    return {
        "main": blocks.classifier(x, classes, name="main_classifier"),
        "aux1": _auxiliary(blocks, outputs["3c"], classes, dropout["aux"], name="aux1"),
        "aux2": _auxiliary(blocks, outputs["4e"], classes, dropout["aux"], name="aux2"),
    }


def _auxiliary(blocks, x, classes, rate, name):
    # On 4 x 4 Caffe clips the window of 5 x 5: one mean.
    window = tuple(min(5, side) for side in x.shape[1:3])
    return googlenet.auxiliary(blocks, x, classes, rate, name, window)


def _inception(blocks, x, channels, name):
    strides = channels.strides
    three = blocks.convolution(x, channels.three[0], 1, name=f"{name}_3x3_reduce")
    double = blocks.convolution(x, channels.double[0], 1, name=f"{name}_double_reduce")
    double = blocks.convolution(double, channels.double[1], 3, name=f"{name}_double_3x3a")
    branches = [
        blocks.convolution(three, channels.three[1], 3, strides=strides, name=f"{name}_3x3"),
        blocks.convolution(double, channels.double[2], 3, strides=strides, name=f"{name}_double_3x3b"),
        _pooled(blocks, x, channels, name),
    ]
    if channels.one:
        branches.insert(0, blocks.convolution(x, channels.one, 1, name=f"{name}_1x1"))
    return keras.layers.Concatenate(axis=-1, name=name)(branches)


def _pooled(blocks, x, channels, name):
    if channels.pool == "max":
        # On an odd side the windows are centred as those of the strided convolutions.
        pool = keras.layers.MaxPooling2D(3, channels.strides, "same", data_format="channels_last", name=f"{name}_pool")
        x = pool(x)
    else:
        # Caffe divides by 9 along the borders too, "same" by the number of pixels.
        x = keras.layers.ZeroPadding2D(1, data_format="channels_last", name=f"{name}_pool_padding")(x)
        x = keras.layers.AveragePooling2D(3, 1, "valid", data_format="channels_last", name=f"{name}_pool")(x)
    if channels.projected:
        x = blocks.convolution(x, channels.projected, 1, name=f"{name}_pool_projection")
    return x
