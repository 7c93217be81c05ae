"""What a procedure has done to a model, and what it has left, and why."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """What a procedure has done to a layer.

    Attributes:
        layer: String, the layer's path in the model that was given.
        done: String, what has been done; empty for a layer that has been left as it is.
        reason: String, why it has been left; what else is to be known of what has been done.
    """

    layer: str
    done: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """What a procedure has done to a model, layer by layer. Prints as a table.

    Attributes:
        rows: Tuple of `Row`, in the order of the model's layers.
    """

    rows: tuple

    @property
    def done(self):
        """The rows of the layers to which something has been done."""
        return tuple(row for row in self.rows if row.done)

    @property
    def left(self):
        """The rows of the layers that have been left as they are."""
        return tuple(row for row in self.rows if not row.done)

    def __getitem__(self, name):
        """Returns the row of the layer with this path or name."""
        for row in self.rows:
            if name in (row.layer, row.layer.rpartition("/")[2]):
                return row
        raise KeyError(f"No row of a layer {name!r}. There are: {[row.layer for row in self.rows]}.")

    def __repr__(self):
        lines = [("layer", "done", "reason"), *((row.layer, row.done or "left", row.reason) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
