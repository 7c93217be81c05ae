"""A network small enough to be trained in a test, and its run."""

import keras
import pytest

from keras_norms import models, training
from keras_norms.data import shapes
from keras_norms.recipes import Recipe


def tiny(blocks, images, classes, rates):
    x = blocks.convolution(images, 8, 3, name="conv1", strides=2)
    x = blocks.convolution(x, 8, 3, name="conv2", strides=2)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if rates["classifier"]:
        x = keras.layers.Dropout(rates["classifier"], name="dropout")(x)
    logits = {name: blocks.classifier(x, classes, name=name) for name in ("main", "aux")}
    return logits


@pytest.fixture(autouse=True)
def tiny_architecture(monkeypatch):
    """Adds an architecture "tiny" with an auxiliary head, for inputs of 16 pixels."""
    resnet = models.ARCHITECTURES["resnet20"]
    architecture = models.Architecture(
        network=tiny,
        blocks=resnet.blocks,
        input_shape=(16, 16, 3),
        classes=10,
        minimum_size=4,
        dropout={"classifier": 0.0},
        loss_weights={"main": 1.0, "aux": 0.3},
    )
    monkeypatch.setitem(models.ARCHITECTURES, "tiny", architecture)


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    """An epoch of 10 batches of 50, and a test that makes no full number of batches."""
    monkeypatch.setattr(shapes, "_SPLITS", {"train": 500, "test": 130})


@pytest.fixture
def settings(tmp_path):
    """Returns a function of what differs from a short training of the tiny network."""

    def make(workdir="run", **differences):
        own = {name: differences.pop(name) for name in ("seed", "replicas", "xla", "precision") if name in differences}
        recipe = Recipe("tiny", batch_size=50, learning_rate=0.1, steps=6, schedule="linear").but(**differences)
        return training.Settings(recipe, workdir=str(tmp_path / workdir), **own)

    return make
