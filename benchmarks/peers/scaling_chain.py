"""Small networks: chains of convolutions with batch norm and ReLU."""

import functools

import keras

from keras_norms import models, recipes


def add(channels, layers):
    """Adds a chain to the networks `keras_norms.models.build` knows, and its recipe. Returns its name."""
    name = f"chain of {layers}, {channels} channels"
    resnet20 = models.ARCHITECTURES["resnet20"]
    models.ARCHITECTURES[name] = models.Architecture(
        network=functools.partial(_chain, channels=channels, layers=layers),
        blocks=resnet20.blocks,
        input_shape=resnet20.input_shape,
        classes=resnet20.classes,
        minimum_size=1,
        dropout={},
    )
    recipes.BASELINES[name] = recipes.Recipe(name, batch_size=96, learning_rate=1e-3)
    return name


def _chain(blocks, images, classes, dropout, channels, layers):
    x = images
    for number in range(layers):
        x = blocks.convolution(x, channels, 3, name=f"conv{number}")
    return blocks.classifier(keras.layers.GlobalAveragePooling2D(name="pool")(x), classes, name="classifier")
