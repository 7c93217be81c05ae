"""The history of a run: one row an epoch, in the checkpoint, as CSV and as a picture."""

import csv
import json
import math

import matplotlib.figure  # a figure made without pyplot needs no display
import tensorflow as tf

from keras_norms.training import run_folder

_ROLLING = 5
_MARKED = 40
_TRAINING = {"color": "0.55", "linestyle": "--", "marker": "s", "markerfacecolor": "white"}
_TEST = {"color": "black", "linestyle": "-", "marker": "o"}
_MEAN = {"color": "tab:blue", "linestyle": ":", "linewidth": 2.5}


class Rows(tf.train.experimental.PythonState):
    """The rows of a history, as part of a checkpoint: what they tell of the best epoch survives any break.

    A row is a dict of numbers: `epoch`, counted from 0; the logs of its end; `best_val_accuracy`, the highest so far;
    and `mean_val_accuracy`, the mean over the last five epochs, or as many as there are.

    Example:
    >>> from keras_norms.training import history
    >>> rows = history.Rows()
    >>> row = rows.append(0, {"loss": 2.0, "accuracy": 0.3, "val_loss": 2.5, "val_accuracy": 0.25})
    >>> row = rows.append(1, {"loss": 1.0, "accuracy": 0.6, "val_loss": 1.5, "val_accuracy": 0.5})
    >>> row["best_val_accuracy"], row["mean_val_accuracy"]
    (0.5, 0.375)
    """

    def __init__(self):
        self._rows = []

    def __len__(self):
        return len(self._rows)

    def __iter__(self):
        return iter(self._rows)

    def append(self, epoch, logs):
        """Adds the row of an epoch. Returns it.

        Args:
            epoch: Integer, the number of rows before.
            logs: Dict of numbers with `val_accuracy`, the same keys for each epoch. Times do not belong here: a run
                that was killed and one that was not have the same history.

        Raises:
            FloatingPointError: One of them is infinite or not a number.
        """
        if epoch != len(self):
            raise ValueError(f"`epoch` must be the number of rows, {len(self)}. Received: epoch={epoch}.")
        row = {"epoch": epoch, **{name: _number(value) for name, value in logs.items()}}
        for name, value in row.items():
            if not math.isfinite(value):
                raise FloatingPointError(f"`{name}` must be a finite number. Received: {value} in epoch {epoch + 1}.")
        accuracies = [*(before["val_accuracy"] for before in self), row["val_accuracy"]]
        row["best_val_accuracy"] = max(accuracies)
        last = accuracies[-_ROLLING:]
        row["mean_val_accuracy"] = math.fsum(last) / len(last)
        self._rows.append(row)
        return row

    def keep(self, epochs):
        """Forgets the rows after the first ones: of an epoch that was interrupted at its very end, and ends anew."""
        del self._rows[epochs:]

    @property
    def last(self):
        """The row of the last epoch."""
        return self._rows[-1]

    @property
    def best(self):
        """The row with the highest accuracy of the test, the first of equal ones."""
        return max(self, key=lambda row: row["val_accuracy"])

    def summary(self):
        """Returns what a result tells of the history: the last epoch, the best one, and the mean over the last five."""
        last, best = self.last, self.best
        return {
            "test_accuracy": last["val_accuracy"],
            "mean_test_accuracy": last["mean_val_accuracy"],
            "mean_of_epochs": min(len(self), _ROLLING),
            "best_test_accuracy": best["val_accuracy"],
            "best_epoch": best["epoch"],
            "test_loss": last["val_loss"],
            "train_accuracy": last["accuracy"],
            "train_loss": last["loss"],
            "epochs": len(self),
        }

    def serialize(self):
        """Returns the rows as a string that loses no bit of them."""
        return json.dumps(self._rows)

    def deserialize(self, string_value):
        """Takes up the rows of a string."""
        self._rows = json.loads(string_value)


def told(result):
    """Returns a line that tells of a result: the last test accuracy, and never the best one alone."""
    return (
        f"Test accuracy {result['test_accuracy']:.4f} after epoch {result['epochs']}; "
        f"mean of the last {result['mean_of_epochs']}: {result['mean_test_accuracy']:.4f}; "
        f"best: {result['best_test_accuracy']:.4f} after epoch {result['best_epoch'] + 1}."
    )


def write(rows, path):
    """Writes rows, dicts of numbers with the same keys, to a CSV file that is complete or as it was before."""
    rows = [{name: _text(value) for name, value in row.items()} for row in rows]

    def to(temporary):
        with open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    run_folder.replace(path, to)


def read(path):
    """Returns the rows of a file, each a dict of floats."""
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def draw(rows, path):
    """Draws the loss and the error of training and test, and the mean test error over the last five epochs.

    Lines differ in dashes and markers, also in black and white.

    Args:
        rows: Sequence of the rows of a history.
        path: Path of the PNG file to write.
    """
    rows = list(rows)
    figure = matplotlib.figure.Figure(figsize=(10, 4), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    for style, label, prefix in ((_TRAINING, "training", ""), (_TEST, "test", "val_")):
        _line(losses, [row[f"{prefix}loss"] for row in rows], label, style)
        _line(errors, [_error(row, f"{prefix}accuracy") for row in rows], label, style)
    _line(errors, [_error(row, "mean_val_accuracy") for row in rows], f"test, mean of {_ROLLING} epochs", _MEAN)
    told = (("last", ""), (f"mean of {_ROLLING}", "mean_"), ("best", "best_"))
    texts = [f"{name} {_error(rows[-1], f'{prefix}val_accuracy'):.2f}%" for name, prefix in told]
    errors.set_title(f"test error: {', '.join(texts)}", fontsize="medium")
    for axes, quantity in ((losses, "loss"), (errors, "error in %")):
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    run_folder.replace(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _line(axes, values, label, style):
    epochs = range(1, len(values) + 1)
    axes.plot(epochs, values, label=label, markersize=4, markevery=max(1, len(values) // _MARKED), **style)


def _error(row, accuracy):
    """Returns the error in percent."""
    return 100 - 100 * row[accuracy]


def _number(value):
    return value if isinstance(value, int) else float(value)


def _text(value):
    """Returns the shortest text that is read as the same float."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
