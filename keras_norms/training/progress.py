"""What a run shows while it goes on: two live lines on a terminal, a line an epoch elsewhere."""

import datetime

import keras
import rich.console
import rich.filesize
import rich.live
import rich.progress_bar
import rich.table

from keras_norms.training import memory

_LOGS = {
    "loss": "loss {:.4f}",
    "accuracy": "accuracy {:.3f}",
    "val_loss": "test loss {:.4f}",
    "val_accuracy": "test accuracy {:.3f}",
    "learning_rate": "learning rate {:.3g}",
}


class Progress(keras.callbacks.Callback):
    """Shows loss, accuracy, learning rate, images per second, the wait for data, the time left and the memory held.

    It fits 80 columns. What the logs lack is left out, and speed until a step has been measured.

    Args:
        total_steps, first_step: Integers, the length of the run and the steps made before.
        epochs: Integer.
        speed: `speed.Speed`, which measures the run.
    """

    def __init__(self, total_steps, first_step, epochs, speed):
        super().__init__()
        self._total, self._step, self._epochs, self._speed = total_steps, first_step, epochs, speed
        self._epoch, self._logs = 0, {}
        self._console = rich.console.Console(highlight=False)
        self._live = rich.live.Live(console=self._console, transient=True, get_renderable=self._lines)

    def on_train_begin(self, logs=None):
        if self._console.is_terminal:
            self._live.start()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        self._logs = logs or {}

    def on_epoch_end(self, epoch, logs=None):
        where = f"epoch {self._epoch}/{self._epochs}"
        self._console.print(_joined(where, *_told(logs), *self._rates(), *_held()), soft_wrap=True)

    def on_train_end(self, logs=None):
        self._live.stop()

    def _lines(self):
        first = rich.table.Table.grid(expand=True, padding=(0, 1))
        first.add_column(no_wrap=True)
        first.add_column(ratio=1)
        first.add_column(no_wrap=True)
        bar = rich.progress_bar.ProgressBar(self._total, self._step)
        steps = f"{self._step}/{self._total}"
        first.add_row(f"epoch {self._epoch}/{self._epochs}", bar, _joined(steps, *self._rates()))
        return rich.console.Group(first, _joined(*_told(self._logs), *_held()))

    def _rates(self):
        """Returns texts of what has been measured, and of the time left."""
        left = self._speed.seconds_left(self._total - self._step)
        if not self._speed.images_per_second or left is None:
            return []
        return [
            f"{self._speed.images_per_second:.0f} images/s",
            f"waiting {self._speed.waiting_share:.0%}",
            f"{datetime.timedelta(seconds=round(left))} left",
        ]


def _told(logs):
    return [form.format(logs[name]) for name, form in _LOGS.items() if name in logs]


def _held():
    """Returns texts of the memory that the process holds."""
    devices = memory.on_devices()
    on_devices = [f"{rich.filesize.decimal(devices)} on GPUs"] if devices else []
    return [rich.filesize.decimal(memory.resident()), *on_devices]


def _joined(*texts):
    return "  ".join(texts)
