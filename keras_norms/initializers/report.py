"""What an initializer has done, layer by layer."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """What an initializer has done to a layer.

    Attributes:
        layer: String, the layer's path; that of the innermost one for wrapped layers, but for a second wrapper around
            the same layer its own.
        shape: Tuple of integers, the shape of its weight; None where it has no single one.
        before: Float, the statistic of the report before; None for a layer that has been skipped.
        after: Float, the statistic after.
        mean: Float, the mean of the output after: of the whole output, or of the channel where it is farthest from 0.
        rescales: Integer, how often the weight has been rescaled.
        note: String, what else is to be known: `"dead"`, `"skipped: ..."`.
    """

    layer: str
    shape: tuple | None = None
    before: float | None = None
    after: float | None = None
    mean: float | None = None
    rescales: int = 0
    note: str = ""


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """What an initializer has done to a model. Prints as a table.

    Attributes:
        statistic: String, what `before` and `after` are.
        rows: Tuple of `Row`, in the order of execution if a batch has been run.
    """

    statistic: str
    rows: tuple

    def __getitem__(self, name):
        """Returns the row of the layer with this name, or of the layer in a wrapper with this name."""
        for row in self.rows:
            if name == row.layer or name in row.layer.split("/"):
                return row
        raise KeyError(f"No row of a layer {name!r}. There are: {[row.layer for row in self.rows]}.")

    def __repr__(self):
        head = ("layer", "weight", f"{self.statistic} before", "after", "mean", "rescales", "note")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cells(row):
    shape = "" if row.shape is None else " x ".join(map(str, row.shape))
    numbers = ["" if x is None else f"{x:.4g}" for x in (row.before, row.after, row.mean)]
    return row.layer, shape, *numbers, str(row.rescales), row.note
