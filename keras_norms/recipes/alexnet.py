"""AlexNet on Fashion-MNIST, with and without batch norm.

A blog post, "BN - Batch normalization", with MXNet Gluon; settings of "Dive into Deep Learning", https://d2l.ai. The
two published networks differ in batch norm and in the width of their second dense layer; with two more rows there are
pairs that differ in one.

    python drivers/train.py --recipe alexnet_bn
"""

from keras_norms.recipes import recipe
from keras_norms.recipes.published import row

_SETTINGS = (
    "The settings are those of the book, which the curve of the network without batch norm follows; the post has none.",
    "The gradient of the last batch of an epoch, of 96 images, was divided by 128; here by 96.",
    "Images were resized from 28 pixels by MXNet, bilinearly; here by TensorFlow.",
)
_UNPUBLISHED = "Not published: the other half of a pair that differs in batch norm alone."

ALEXNET = recipe.Recipe(
    "alexnet",
    name="alexnet",
    dataset="fashion_mnist",
    normalization="none",
    margin=0,
    pixel_mean=(0.0,),
    pixel_deviation=(255.0,),
    crop=False,
    flip=False,
    batch_size=128,
    drop_remainder=False,
    epochs=40,
    learning_rate=0.01,
    schedule="constant",
    momentum=0.0,
    weight_decay=0.0,
)
_NARROW = (("fc2", 2048),)
_ROWS = (
    "epoch 40 (final)", "best test accuracy", "epoch 40 (final), loss", "epoch 1", "mean of epochs 31-40",
)  # fmt: skip


def _references(network):
    return [("alexnet_fashion_mnist", f"{network}, {result}") for result in _ROWS]


ROWS = (
    row(
        ALEXNET, "without BN (fc2 4096)", _references("without BN"), 46_764_746, 938.15,
        curve="alexnet_fashion_mnist_without_bn", unlike=_SETTINGS,
    ),
    row(
        ALEXNET.but(name="alexnet_bn_fc2_2048", normalization="batch_norm_before", options=_NARROW),
        "with BN (fc2 2048)", _references("with BN"), 38_368_650, 929.74,
        curve="alexnet_fashion_mnist_with_bn", unlike=_SETTINGS,
    ),
    row(
        ALEXNET.but(name="alexnet_bn", normalization="batch_norm_before"),
        "with BN, fc2 4096", (), 46_783_882, 938.15, unlike=(*_SETTINGS, _UNPUBLISHED),
    ),
    row(
        ALEXNET.but(name="alexnet_fc2_2048", options=_NARROW),
        "without BN, fc2 2048", (), 38_353_610, 929.74, unlike=(*_SETTINGS, _UNPUBLISHED),
    ),
)  # fmt: skip
