"""H9: averaged weights."""

import keras
import numpy as np

from keras_norms import layers, training
from tests.defects.sides import sides


def stock(momentum):
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=momentum)
    return keras.layers.BatchNormalization(momentum=0.5), optimizer, [keras.callbacks.SwapEMAWeights()]


def ours(momentum):
    return layers.BatchNorm(momentum=0.5), keras.optimizers.SGD(0.1), [training.WeightAverage(momentum)]


class LastMean(keras.callbacks.Callback):
    def __init__(self, norm):
        super().__init__()
        self._norm = norm

    def on_train_batch_end(self, batch, logs=None):
        self.mean = self._norm.moving_mean.numpy()


@sides("H9 averaged weights leave the moving statistics behind (timm#102, composer#624)", stock, ours)
def test_moving_statistics_are_averaged_with_the_weights(side):
    norm, optimizer, callbacks = side(momentum=0.5)
    last = LastMean(norm)
    model = keras.Sequential([keras.Input((1,)), norm])
    model.compile(optimizer, "mse", jit_compile=False)
    x = np.repeat([1.0, 2.0, 4.0], 8)[:, None]
    model.fit(x, np.ones((24, 1)), batch_size=8, shuffle=False, verbose=0, callbacks=[last, *callbacks])
    # All of them, or recomputed ones, but not those of the last raw weights.
    assert not np.allclose(norm.moving_mean.numpy(), last.mean)
