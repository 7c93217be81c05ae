"""The record of a probe as a picture: by depth and time."""

import os
import pathlib

import numpy as np

from keras_norms.probe import record

_MAPS = {
    "output_norm": "output norm",
    "variance": "variance",
    "dead": "dead channels",
    "gradient_norm": "gradient norm",
}
_LINES = 6
_MARKERS = "o^sDvx"
_NAMED_LAYERS = 40


def plot(readings, picture):
    """Draws output norms by depth, a line a step, and maps of depth and step.

    The maps show output norm, variance, dead channels and gradient norm (of all weights of a layer together). Where
    there is nothing to show, no weight or a zero on a logarithmic scale, they are hatched. Darker is more, also in
    black and white.

    Args:
        readings: Path of a `probe.csv`.
        picture: Path of the PNG file to write.

    Raises:
        ValueError: There are no readings.
    """
    import matplotlib.figure  # of the extra [train]; a figure made without pyplot needs no display

    rows = [row for row in record.read(readings) if row["depth"] is not None]
    if not rows:
        raise ValueError(f"`readings` must hold at least one step. Received: {readings}, which holds none.")
    names = {row["depth"]: row["layer"] for row in rows if row["quantity"] == "output_norm"}
    steps = sorted({row["step"] for row in rows})
    tables = {quantity: _table(rows, quantity, steps, len(names)) for quantity in _MAPS}
    figure = matplotlib.figure.Figure(figsize=(12, 11), layout="constrained")
    grid = figure.add_gridspec(3, 2)
    _draw_lines(figure.add_subplot(grid[0, :]), tables["output_norm"], steps, names)
    for place, (quantity, title) in enumerate(_MAPS.items()):
        axes = figure.add_subplot(grid[1 + place // 2, place % 2])
        _draw_map(axes, tables[quantity], steps, names, title, logarithmic=quantity != "dead")
    picture = pathlib.Path(picture)
    temporary = picture.with_suffix(".tmp")
    figure.savefig(temporary, format="png", dpi=120)
    os.replace(temporary, picture)


def _table(rows, quantity, steps, depths):
    """Returns the values by step and depth; of several weights the norm of all; NaN where there is none."""
    squares = np.full((len(steps), depths), np.nan)
    lines = {step: line for line, step in enumerate(steps)}
    for row in rows:
        if row["quantity"] == quantity:
            place = lines[row["step"]], row["depth"]
            squares[place] = np.nansum([squares[place], np.square(row["value"])])
    return np.sqrt(squares)


def _draw_lines(axes, table, steps, names):
    chosen = np.unique(np.linspace(0, len(steps) - 1, _LINES).round().astype(int))
    for shade, marker, line in zip(np.linspace(0.75, 0, len(chosen)), _MARKERS, chosen, strict=False):
        axes.plot(table[line], marker=marker, markersize=4, linewidth=1, color=str(shade), label=f"step {steps[line]}")
    axes.set(ylabel="output norm", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    _name_depths(axes, names)


def _draw_map(axes, table, steps, names, title, logarithmic):
    with np.errstate(divide="ignore"):
        shown = np.log10(table) if logarithmic else table
    axes.add_patch(_hatching(axes))
    image = axes.imshow(
        np.ma.masked_invalid(shown), aspect="auto", origin="lower", interpolation="nearest", cmap="cividis_r",
        vmin=None if logarithmic else 0, vmax=None if logarithmic else 1,
    )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, label=f"log10 of {title}" if logarithmic else title)
    ticks = np.unique(np.linspace(0, len(steps) - 1, 8).round().astype(int))
    axes.set_yticks(ticks, [steps[tick] for tick in ticks])
    axes.set(ylabel="step")
    _name_depths(axes, names)


def _hatching(axes):
    from matplotlib import patches

    return patches.Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, hatch="///", edgecolor="0.8", zorder=0)


def _name_depths(axes, names):
    if len(names) > _NAMED_LAYERS:
        axes.set(xlabel="depth")
        return
    axes.set_xticks(range(len(names)), [names[depth] for depth in range(len(names))], rotation=90, fontsize=7)
