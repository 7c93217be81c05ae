"""What the probe has seen inside the networks of a study, as small pictures on one scale, a panel a row."""

import math

from keras_norms.reports import blocks, looks, results

_TIMES = ("at the start", "after 1/4", "after 1/2", "after 3/4", "at the end")
_FIRST_OF_ALL = (0, 4, 2, 1, 3)
_LAYERS = ("first layer", "middle layer", "last layer")


def pictures(rows):
    """Returns the pictures of output norms by depth and by step, and of gradient norms by depth.

    Args:
        rows: Sequence of `results.Row`.
    """
    tables = {}
    for row in rows:
        run = next((run for run in row.runs if run.probe), None)
        readings = results.readings(run.probe) if run else []
        if readings:
            title = row.label + ("" if run.status == results.ENDED else f" ({run.status})")
            tables[title] = {name: _table(readings, name) for name in ("output_norm", "gradient_norm")}
    if not tables:
        return []
    seen = "Seen by a probe in the run with the first seed; the same logarithmic scale for all rows."
    by_depth = "at several times of the training: later is darker"
    drawn = (
        ("norms_by_depth", "output_norm", _by_depth, f"Norm of the outputs of each layer by depth, {by_depth}."),
        ("norms_by_step", "output_norm", _by_step, "Norm of the outputs of three layers while they are trained."),
        ("gradients_by_depth", "gradient_norm", _by_depth, f"Norm of each layer's gradient by depth, {by_depth}."),
    )
    return [
        _picture(name, f"{caption} {seen}", {title: table[quantity] for title, table in tables.items()}, panel)
        for name, quantity, panel, caption in drawn
        if any(table[quantity] for table in tables.values())
    ]


def _picture(name, caption, tables, panel):
    panels = [panel(title, table) for title, table in tables.items() if table]
    values = [value for one in panels for line in one.lines for value in line.y if value > 0]
    limits = (min(values) / 1.5, max(values) * 1.5) if values else None
    return blocks.Picture(
        name,
        caption,
        tuple(blocks.Panel(one.title, one.x_label, one.y_label, one.lines, None, limits, True) for one in panels),
        small=True,
    )


def _table(readings, quantity):
    """Returns a dict by step of dicts by depth: the value, of several weights the norm of all."""
    squares = {}
    for row in readings:
        if row["quantity"] == quantity:
            line = squares.setdefault(row["step"], {})
            line[row["depth"]] = line.get(row["depth"], 0.0) + row["value"] ** 2
    return {step: {depth: _drawable(math.sqrt(value)) for depth, value in sorted(line.items())}
            for step, line in sorted(squares.items())}  # fmt: skip


def _drawable(value):
    """Returns a value, or NaN where a logarithmic scale has no place for it."""
    return value if 0 < value < math.inf else math.nan


def _by_depth(title, table):
    lines = (
        blocks.Line(_TIMES[when], tuple(line), tuple(line.values()), looks.in_order(when, len(_TIMES)))
        for when, line in ((when, table[step]) for step, when in _moments(list(table)))
    )
    return blocks.Panel(title, "depth", "norm", tuple(lines))


def _moments(steps):
    """Returns pairs of a step and a place in `_TIMES`, in order; where steps are few, each once."""
    found = {}
    for when in _FIRST_OF_ALL:
        wanted = steps[0] + when / (len(_TIMES) - 1) * (steps[-1] - steps[0])
        found.setdefault(min(steps, key=lambda step, wanted=wanted: abs(step - wanted)), when)
    return sorted(found.items())


def _by_step(title, table):
    depths = sorted({depth for line in table.values() for depth in line})
    chosen = {0: 0, len(depths) // 2: 1, len(depths) - 1: 2}
    lines = (
        blocks.Line(
            _LAYERS[which],
            tuple(table),
            tuple(line.get(depths[place], math.nan) for line in table.values()),
            looks.of_row(which),
        )
        for place, which in chosen.items()
    )
    return blocks.Panel(title, "step", "norm", tuple(lines))
