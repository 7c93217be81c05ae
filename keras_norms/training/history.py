"""The history of a run: one row an epoch, as CSV and as a picture."""

import csv

import keras
import matplotlib.figure  # a figure made without pyplot needs no display

from keras_norms.training import run_folder


def read(path):
    """Returns the rows of a history, each a dict of floats."""
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def forget(path, first_epoch):
    """Removes the rows from an epoch on, which are about to be written again."""
    if not path.exists():
        return
    rows = path.read_text().splitlines(keepends=True)
    kept = [row for row in rows[1:] if int(row.partition(",")[0]) < first_epoch]
    run_folder.replace(path, lambda temporary: temporary.write_text("".join(rows[:1] + kept)))


class Curves(keras.callbacks.Callback):
    """Draws the history after each epoch: loss and accuracy, of training and test.

    Args:
        history: Path of the CSV file to read.
        picture: Path of the PNG file to write.
    """

    def __init__(self, history, picture):
        super().__init__()
        self._history, self._picture = history, picture

    def on_epoch_end(self, epoch, logs=None):
        rows = read(self._history)
        epochs = [row["epoch"] + 1 for row in rows]
        figure = matplotlib.figure.Figure(figsize=(9, 3.5), layout="constrained")
        for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for name, style, label in ((quantity, "o--", "training"), (f"val_{quantity}", "o-", "test")):
                axes.plot(epochs, [row[name] for row in rows], style, markersize=3, label=label)
            axes.set(xlabel="epoch", ylabel=quantity)
            axes.grid(alpha=0.3)
            axes.legend()
        run_folder.replace(self._picture, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
