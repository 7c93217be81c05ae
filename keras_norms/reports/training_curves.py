"""How the rows of a study were trained: the curves of their histories, and the published ones behind them."""

import numpy as np

from keras_norms.reports import blocks, looks, words

_QUANTITIES = {"test_accuracy": ("val_accuracy", "test accuracy"), "train_loss": ("loss", "training loss")}
_UNITS = {"hours": 3600, "minutes": 60, "seconds": 1}
# A training that diverges would flatten all other curves.
_HIGHEST_LOSS = 3


def pictures(rows):
    """Returns the pictures of the training loss and the test accuracy against epochs and against time, for some rows
    each.

    Args:
        rows: Sequence of `results.Row`.
    """
    drawn = [row for row in rows if row.drawn]
    groups = _grouped(drawn)
    unit = _unit(max((seconds[-1] for seconds in map(_seconds, drawn) if seconds), default=0))
    ceiling = _ceiling(drawn)
    return [
        blocks.Picture(
            "curves" if not place else f"curves_{place + 1}",
            "Training loss and test accuracy against epochs and against the time of training, tests included. Lines: "
            "mean over the seeds; bands: from the lowest to the highest seed."
            + (f" Losses above {ceiling:.3g} are cut off." if ceiling else ""),
            tuple(
                _panel(group, name, title, unit if timed else None, ceiling)
                for timed in (False, True)
                for name, title in reversed(_QUANTITIES.values())
            ),
        )
        for place, group in enumerate(groups)
    ]


def published_pictures(rows, curve_of):
    """Returns the pictures of measured curves with the published ones behind them, a panel a row.

    Args:
        rows: Sequence of `results.Row`.
        curve_of: Function of the name of a published curve that returns its points.
    """
    known = [row for row in rows if row.drawn and row.published.curve]
    curves = {row.recipe: curve_of(row.published.curve) for row in known}
    same_data = all(row.settings.get("dataset") == row.published.recipe.dataset for row in known)
    same_length = all(len(row.drawn[0].history) == round(curves[row.recipe][-1]["epoch"]) for row in known)
    found = []
    for quantity, (_, title) in _QUANTITIES.items():
        with_values = [row for row in known if any(point[quantity] is not None for point in curves[row.recipe])]
        if with_values and (same_data or quantity == "test_accuracy"):  # a loss depends on the number of classes
            panels = tuple(_published_panel(row, curves[row.recipe], quantity, same_length) for row in with_values)
            caption = _published_caption(title, with_values, same_data, same_length)
            found.append(blocks.Picture(f"published_{quantity}", caption, panels, small=True))
    return found


def _grouped(rows):
    """Returns rows in groups of about the same size, none of which has more than a panel holds."""
    groups = -(-len(rows) // looks.ROWS)
    return [rows[len(rows) * group // groups : len(rows) * (group + 1) // groups] for group in range(groups)]


def _panel(rows, name, title, unit, ceiling):
    """Returns a panel with a line a row, against epochs, or against time in a unit."""
    lines = []
    for place, row in enumerate(rows):
        x = [second / _UNITS[unit] for second in _seconds(row)] if unit else _epochs(row)
        if x:
            lines.append(_line(row, row.title, x, name, looks.of_row(place)))
    x_label, by = (f"time in {unit}", "time") if unit else ("epoch", "epoch")
    limits = (0, ceiling) if ceiling and name == "loss" else None
    return blocks.Panel(f"{title.capitalize()} by {by}", x_label, title, tuple(lines), y_limits=limits)


def _line(row, label, x, name, look):
    values = np.array([[epoch[name] for epoch in run.history[: len(x)]] for run in row.drawn])
    several = len(values) > 1
    return blocks.Line(
        label,
        tuple(x),
        tuple(values.mean(0).tolist()),
        look,
        tuple(values.min(0).tolist()) if several else None,
        tuple(values.max(0).tolist()) if several else None,
    )


def _epochs(row):
    """Returns the numbers of the epochs that all runs of a row have, from 1 on."""
    return list(range(1, min(len(run.history) for run in row.drawn) + 1))


def _parts(row):
    """Returns the part of the whole training that each of these epochs ends, at most 1."""
    settings, history = row.settings, row.drawn[0].history
    steps = settings.get("steps") or settings["epochs"] * history[0]["step"]
    return [epoch["step"] / steps for epoch in history[: len(_epochs(row))]]


def _seconds(row):
    """Returns the time at the end of each of these epochs, mean over the runs; an empty list where it is not known."""
    each = [run.seconds[: len(_epochs(row))] for run in row.drawn]
    if any(second is None for seconds in each for second in seconds):
        return []
    return np.cumsum(each, 1).mean(0).tolist()


def _unit(seconds):
    return next(unit for unit, length in _UNITS.items() if seconds >= 2 * length or length == 1)


def _ceiling(rows):
    """Returns the loss above which curves are cut off, or None if none is so high."""
    losses = [epoch["loss"] for row in rows for run in row.drawn for epoch in run.history]
    if not losses:
        return None
    ceiling = _HIGHEST_LOSS * float(np.median([run.history[0]["loss"] for row in rows for run in row.drawn]))
    return ceiling if max(losses) > ceiling else None


def _published_panel(row, curve, quantity, same_length):
    name, title = _QUANTITIES[quantity]
    points = [point for point in curve if point[quantity] is not None]
    whole = curve[-1]["epoch"]
    shown = [point["epoch"] if same_length else point["epoch"] / whole for point in points]
    own = _epochs(row) if same_length else _parts(row)
    lines = (
        blocks.Line("published", tuple(shown), tuple(point[quantity] for point in points), looks.PUBLISHED),
        _line(row, "measured", own, name, looks.MEASURED),
    )
    return blocks.Panel(
        row.title,
        "epoch" if same_length else "part of the training",
        title,
        lines,
        y_limits=(0, 1) if quantity == "test_accuracy" else None,
    )


def _published_caption(title, rows, same_data, same_length):
    caption = f"{title.capitalize()}: measured (black, with points) and published (grey, behind)."
    if not same_data:
        there = sorted({one.dataset for row in rows for one in row.published.references[:1]})
        here = sorted({row.settings.get("dataset", "another data set") for row in rows})
        caption += (
            f" Published on {words.listed(there) if there else 'another data set'}, measured on {words.listed(here)}: "
            "compare the shapes, not the heights."
        )
    if not same_length:
        whole = [row for row in rows if row.ended] or rows
        lengths = words.listed([str(length) for length in sorted({len(row.drawn[0].history) for row in whole})])
        caption += (
            f" The published trainings were longer or shorter than these of {lengths} "
            "epochs: each curve runs from 0 to 1, the whole of its training."
        )
    return caption
