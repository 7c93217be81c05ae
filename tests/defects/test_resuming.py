"""H10: going on after a break."""

import keras
import numpy as np

from keras_norms import training
from tests.defects.sides import sides
from tests.training.conftest import few_shapes, settings, tiny_architecture  # noqa: F401

STEPS, BREAK = 10, 5


class Steps(keras.callbacks.Callback):
    """Counts the steps, and interrupts as Ctrl-C does."""

    def __init__(self, interrupt_after=None):
        super().__init__()
        self.count, self._interrupt_after = 0, interrupt_after

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        if self.count == self._interrupt_after:
            raise KeyboardInterrupt


def fit_with_backup(settings, folder, observer):  # noqa: F811
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    x = np.random.default_rng(0).normal(size=(8 * STEPS, 4))
    backup = keras.callbacks.BackupAndRestore(folder / "backup", save_freq=2)
    model.fit(x, x[:, :1], batch_size=8, verbose=0, shuffle=False, callbacks=[backup, observer])
    return model.get_weights()


def our_run(settings, folder, observer):  # noqa: F811
    made = settings(str(folder), steps=STEPS, dropout=0.3)
    return training.Run(made).train([observer]).model.get_weights()


@sides("H10 BackupAndRestore forgets the position in the epoch (keras#19179, keras#22010)", fit_with_backup, our_run)
def test_broken_training_makes_the_rest_of_its_steps(side, settings, tmp_path):  # noqa: F811
    before, after = Steps(interrupt_after=BREAK), Steps()
    try:
        side(settings, tmp_path / "broken", before)
    except KeyboardInterrupt:
        broken = side(settings, tmp_path / "broken", after)
    assert before.count + after.count == STEPS
    for ours, theirs in zip(broken, side(settings, tmp_path / "whole", Steps()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
