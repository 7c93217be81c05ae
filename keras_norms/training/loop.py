"""The steps of a run, one after the other, each looked at before the next."""

import time

import numpy as np

from keras_norms.training import interruption


class BrokenStepError(FloatingPointError):
    """A step whose loss or statistics are no numbers.

    Attributes:
        number: Integer, the step, counted from 1.
    """

    def __init__(self, number, what):
        super().__init__(f"{what} in step {number}")
        self.number = number


class Loop:
    """Makes training steps, saves the state from time to time, and stops when it is told to.

    Args:
        step: See `steps.training_step`.
        batches: Distributed iterator of training batches, at the position of the state.
        state: `state.State`.
        speeds: `speed.Speed`.
        observers: Keras callbacks.
        save: Function that saves the state.
        minutes: Float, the longest time between two calls of it.
    """

    def __init__(self, step, batches, state, speeds, observers, save, minutes):
        self._step, self._batches, self._state = step, batches, state
        self._speeds, self._observers = speeds, observers
        self._save, self._seconds = save, 60 * minutes
        self.saved()

    def saved(self):
        """Tells that the state has just been saved."""
        self._saved_at = time.monotonic()

    def advance(self, first, last, request):
        """Makes steps from where the state is, up to one.

        Args:
            first: Integer, the first step of the epoch, for the callbacks.
            last: Integer.
            request: `interruption.Request`.

        Raises:
            BrokenStepError: Loss or statistics of a step are no numbers.
            Preempted: This worker or another was told to end; all of them stop after the same step.
            KeyboardInterrupt: This worker was interrupted.
        """
        position = self._state.position
        for number in range(int(position.step), last):
            self._observers.on_train_batch_begin(number - first)
            with self._speeds.waiting():
                batch = next(self._batches)
            with self._speeds.step():
                told = self._step(batch, float(request.made))
                sums, broken, stopping = (value.numpy() for value in told)
            if broken or not np.isfinite(sums[0]):
                raise BrokenStepError(number + 1, f"The {'statistics' if broken else 'loss'} became no number")
            self._observers.on_train_batch_end(number - first, self._logs(sums))
            if stopping:
                raise interruption.Preempted
            request.check()
            if time.monotonic() - self._saved_at > self._seconds:
                self._save()
                self.saved()

    def _logs(self, sums):
        return {**means(sums), "learning_rate": float(self._state.model.optimizer.learning_rate)}


def means(sums, prefix=""):
    """Returns the means of the sums that a step tells: loss and accuracy, by name."""
    loss, correct, examples = (float(value) for value in sums)
    return {f"{prefix}loss": loss / examples, f"{prefix}accuracy": correct / examples}
