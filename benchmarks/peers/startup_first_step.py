"""The first training step of a stock Keras network, built without ours before it."""

import keras

from benchmarks.contest.entrant import Workload
from benchmarks.peers import step_batch
from keras_norms import models
from keras_norms.models import blocks


def make_keras(arch, batch, size, classes):
    """Builds, compiles, and trains on one batch."""
    model = network(arch, size, classes)
    optimizer = keras.optimizers.SGD(step_batch.LEARNING_RATE, momentum=step_batch.MOMENTUM)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    images, labels = step_batch.fixed(batch, size, classes)
    return Workload(lambda: model.train_on_batch(images, labels))


def network(arch, size, classes):
    """Returns the network of stock layers alone: of one whose linear layers are Keras' own."""
    blocks.NORMALIZATIONS["keras"] = blocks.Normalization(
        linear=lambda blocks, layer, activation: layer, has_bias=lambda *_: False, after=_stock
    )
    try:
        return models.build(arch, input_shape=(size, size, 3), classes=classes, normalization="keras")
    finally:
        del blocks.NORMALIZATIONS["keras"]


def _stock(blocks, activation, name):
    norm = keras.layers.BatchNormalization(momentum=blocks.momentum, epsilon=1e-5)
    return [norm] if activation is None else [norm, keras.layers.Activation(activation)]
