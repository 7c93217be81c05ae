"""A profile of chosen steps of a run, for TensorBoard."""

import keras
import tensorflow as tf


class Profile(keras.callbacks.Callback):
    """Records what the devices do in some steps of a run.

    TensorBoard shows it with the plugin of the package `tensorboard-plugin-profile`. Steps are counted from 1 on, from
    `first_step` of the callback's `params`. The first two of a process trace and compile: choose later ones. Of a run
    that goes on amid the chosen steps, the rest is recorded.

    Args:
        folder: Path of TensorBoard's files.
        steps: Pair of integers, the first and the last step.
    """

    def __init__(self, folder, steps):
        super().__init__()
        if len(steps) != 2 or not 1 <= steps[0] <= steps[1]:
            raise ValueError(f"`profile` must be a first step, at least 1, and a last one. Received: profile={steps}.")
        self._folder, (self._first, self._last) = folder, steps
        self._trace = None

    def on_train_begin(self, logs=None):
        self._step = self.params["first_step"]
        self._recording = False

    def on_train_batch_begin(self, batch, logs=None):
        self._step += 1
        if not self._first <= self._step <= self._last:
            return
        if not self._recording:
            tf.profiler.experimental.start(str(self._folder))
            self._recording = True
        self._trace = tf.profiler.experimental.Trace("train", step_num=self._step, _r=1)
        self._trace.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        self._end_step()
        if self._step == self._last:
            self._stop()

    def on_train_end(self, logs=None):
        self._end_step()
        self._stop()

    def _end_step(self):
        if self._trace is not None:
            self._trace.__exit__(None, None, None)
            self._trace = None

    def _stop(self):
        if self._recording:
            tf.profiler.experimental.stop()
            self._recording = False
