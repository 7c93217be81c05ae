"""Trains as drivers/train.py does, with its flags, a network of two convolutions on few images, and exports nothing.

A set of TensorFlow Datasets is read from its files while training, however small it is.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "drivers"))

import environment  # noqa: F401 (first, as in the drivers)
import keras
import options
import reporting
from absl import app

from keras_norms import models, training
from keras_norms.data import datasets, shapes
from keras_norms.recipes import BASELINES, Recipe


def network(blocks, images, classes, rates):
    x = blocks.convolution(images, 8, 3, name="conv1", strides=2)
    x = blocks.convolution(x, 8, 3, name="conv2", strides=2)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if rates["classifier"]:
        x = keras.layers.Dropout(rates["classifier"], name="dropout")(x)
    return blocks.classifier(x, classes, name="main")


def main(argv):
    with reporting.reported("small.py", argv):
        differences = options.overrides()
        run = training.Run(options.settings(options.baseline(None, differences), differences))
        print(run, flush=True)
        run.train()


if __name__ == "__main__":
    models.ARCHITECTURES["small"] = models.Architecture(
        network=network,
        blocks=models.ARCHITECTURES["resnet20"].blocks,
        input_shape=(16, 16, 3),
        classes=10,
        minimum_size=4,
        dropout={"classifier": 0.0},
    )
    BASELINES["small"] = Recipe("small", batch_size=32, learning_rate=0.1)
    shapes._SPLITS = {"train": 1300, "test": 130}
    datasets.HELD_BYTES = 0
    app.run(main)
