"""What a run shows while it goes on: a bar on a terminal, a line an epoch elsewhere."""

import time

import keras
import rich.console
import rich.progress

_BAR = "epoch {epoch}/{epochs}  loss {loss:.4f}  accuracy {accuracy:.3f}  {rate:.0f} images/s"
_LINE = (
    "epoch {epoch}/{epochs}  loss {loss:.4f}  accuracy {accuracy:.3f}  test loss {val_loss:.4f}  "
    "test accuracy {val_accuracy:.3f}  {rate:.0f} images/s  {left} left"
)


class Progress(keras.callbacks.Callback):
    """Shows loss, accuracy, images per second and the time left.

    Args:
        total_steps, first_step: Integers, the length of the run and the steps made before.
        epochs: Integer.
        batch_size: Integer.
    """

    def __init__(self, total_steps, first_step, epochs, batch_size):
        super().__init__()
        self._epochs, self._batch_size = epochs, batch_size
        self._console = rich.console.Console(highlight=False)
        self._bar = rich.progress.Progress(
            rich.progress.BarColumn(20),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total_steps, completed=first_step)
        self._total, self._step, self._epoch = total_steps, first_step, 0
        self._seconds, self._images = 0.0, 0

    def on_train_begin(self, logs=None):
        self._bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._images or self.params["steps"] == 1 or batch > 0:  # the first step traces and compiles
            self._seconds += time.perf_counter() - self._started
            self._images += self._batch_size
        self._bar.update(self._task, completed=self._step, description=self._text(_BAR, logs))

    def on_epoch_end(self, epoch, logs=None):
        self._bar.console.print(self._text(_LINE, logs), soft_wrap=True)

    def on_train_end(self, logs=None):
        self._bar.stop()

    def _text(self, form, logs):
        rate = self._images / self._seconds if self._seconds else 0.0
        left = (self._total - self._step) * self._batch_size / rate if rate else 0.0
        clock = f"{left // 60:.0f}:{left % 60:02.0f}"
        return form.format(epoch=self._epoch + 1, epochs=self._epochs, rate=rate, left=clock, **logs)
