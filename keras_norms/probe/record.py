"""The files of a probe: CSV, one block of lines a step, appended whole.

    probe.csv     step, depth, layer, weight, quantity, value: one line a `Reading`
    channels.csv  step, depth, layer, channel, mean, variance: one line a channel of an output

A run that is killed leaves readable files: of a line that was being written, what is
there is not counted. One that goes on at a step removes what is written for that step
and later ones, which it is about to write again.
"""

import contextlib
import csv
import io
import os

READINGS, CHANNELS = "probe.csv", "channels.csv"
_COLUMNS = {
    READINGS: ("step", "depth", "layer", "weight", "quantity", "value"),
    CHANNELS: ("step", "depth", "layer", "channel", "mean", "variance"),
}


class Record:
    """The record of a run, new or taken up.

    Args:
        folder: Path, made if it is not there.
        first_step: Integer, from which on steps are written.
    """

    def __init__(self, folder, first_step):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, columns in _COLUMNS.items():
            _take_up(folder / name, ",".join(columns) + "\n", first_step)

    def write(self, step, measurement):
        """Appends a `Measurement`."""
        self._append(
            READINGS,
            (
                (step, "" if depth is None else depth, layer, weight, quantity, f"{value:.9g}")
                for depth, layer, weight, quantity, value in measurement.readings
            ),
        )
        self._append(
            CHANNELS,
            (
                (step, depth, layer, channel, f"{mean:.9g}", f"{variance:.9g}")
                for depth, layer, means, variances in measurement.channels
                for channel, (mean, variance) in enumerate(zip(means, variances, strict=True))
            ),
        )

    def _append(self, name, rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with _writing(self._folder / name), open(self._folder / name, "a") as file:
            file.write(text.getvalue())


def read(path):
    """Returns the readings of a `probe.csv`, a list of dicts.

    Args:
        path: Path of the file.

    Returns:
        Per line its columns: `step` an integer, `depth` an integer or None, `value` a float, the others strings.
    """
    with open(path, newline="") as file:
        return [
            {
                **row,
                "step": int(row["step"]),
                "depth": int(row["depth"]) if row["depth"] else None,
                "value": float(row["value"]),
            }
            for row in csv.DictReader(_complete(file))
        ]


@contextlib.contextmanager
def _writing(path):
    """Names the file where one cannot be written: what Python raises at a full disk does not."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error}") from error


def _complete(lines):
    return (line for line in lines if line.endswith("\n"))


def _take_up(path, header, first_step):
    """Leaves in a file the header and the complete lines of earlier steps."""
    temporary = path.with_suffix(".tmp")
    with _writing(path), open(temporary, "w") as kept:
        kept.write(header)
        if path.exists():
            with open(path) as file:
                next(file, None)
                kept.writelines(line for line in _complete(file) if int(line.partition(",")[0]) < first_step)
    os.replace(temporary, path)
