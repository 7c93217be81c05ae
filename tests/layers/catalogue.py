"""How to make each public layer, and the shape of an input: every entry goes through test_contract.py."""

import dataclasses
from collections.abc import Callable

import keras

from keras_norms import layers

# Only TensorFlow has the collective that synchronization needs.
TENSORFLOW = keras.backend.backend() == "tensorflow"
IMAGES, CHANNELS_FIRST, ROWS = (4, 5, 6, 3), (4, 3, 5, 6), (8, 3)


@dataclasses.dataclass(frozen=True)
class Entry:
    layer: type
    make: Callable
    input_shape: tuple

    @property
    def name(self):
        return f"{self.layer.__name__}-{'x'.join(map(str, self.input_shape))}"


def _entries():
    for use_scale in (False, True):
        for use_bias in (False, True):
            yield (
                layers.BatchNorm,
                lambda s=use_scale, b=use_bias: layers.BatchNorm(use_scale=s, use_bias=b, epsilon=1e-3),
                IMAGES,
            )
    yield layers.BatchNorm, lambda: layers.BatchNorm(axis=1, momentum=0.5), CHANNELS_FIRST
    yield layers.BatchNorm, lambda: layers.BatchNorm(use_global_stats=True), ROWS
    yield layers.BatchNorm, lambda: layers.BatchNorm(use_global_stats=False), (4, 5, 3)
    yield layers.BatchNorm, lambda: layers.BatchNorm(synchronized=TENSORFLOW), (2, 3, 4, 5, 3)
    yield (
        layers.BatchNorm,
        lambda: layers.BatchNorm(
            scale_initializer=keras.initializers.RandomUniform(seed=1),
            bias_initializer="ones",
            scale_regularizer=keras.regularizers.L2(0.1),
            bias_constraint=keras.constraints.NonNeg(),
        ),
        ROWS,
    )
    for placed in (layers.BatchNormBefore, layers.BatchNormAfter):
        yield placed, lambda p=placed: p("relu"), IMAGES
        yield placed, lambda p=placed: p(None, axis=1), CHANNELS_FIRST
        yield placed, lambda p=placed: p(keras.layers.PReLU("ones", shared_axes=[1, 2]), use_scale=False), IMAGES
    for elementwise in (layers.Scale, layers.Bias):
        yield elementwise, elementwise, IMAGES
        yield elementwise, lambda e=elementwise: e(axis=1, initializer="random_normal"), CHANNELS_FIRST
        yield elementwise, lambda e=elementwise: e(axis=None, regularizer="l2"), ROWS
        yield elementwise, lambda e=elementwise: e(axis=(3, 1)), IMAGES
    yield layers.LocalResponseNorm, lambda: layers.LocalResponseNorm(alpha=0.1, beta=0.5, k=2.0), IMAGES
    yield layers.LocalResponseNorm, lambda: layers.LocalResponseNorm(size=3, alpha=0.1, axis=1), CHANNELS_FIRST
    yield layers.GroupedConv2D, lambda: layers.GroupedConv2D(3, 3, padding="same", groups=3), IMAGES


ENTRIES = [Entry(*entry) for entry in _entries()]
