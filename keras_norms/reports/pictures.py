"""Pictures of a page, drawn: one PNG file for Markdown, one SVG element a panel for HTML. Same input, same bytes."""

import html
import io
import math
import re

import matplotlib
import matplotlib.figure  # a figure made without pyplot needs no display
import matplotlib.lines

_INCHES, _SMALL_INCHES = (4.2, 3.0), (2.9, 2.1)
_LINE_INCHES = 0.19
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LONG_LABEL = 24
_MARKED = 10


def png(picture):
    """Returns the bytes of a PNG file with all panels of a `blocks.Picture` and one legend."""
    panels, columns = picture.panels, min(len(picture.panels), 3 if picture.small else 2)
    rows, (width, height) = math.ceil(len(panels) / columns), _SMALL_INCHES if picture.small else _INCHES
    lines = _labelled(panels)
    with _style(picture.name):
        legend_columns = columns if _short(lines) else 1
        size = (columns * width, rows * height + _LINE_INCHES * math.ceil(len(lines) / legend_columns) + 0.2)
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, panel in zip(grid, panels, strict=False):
            _draw(axes, panel)
        for axes in grid[len(panels) :]:
            axes.remove()
        _legend(figure, lines, legend_columns)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def svgs(picture):
    """Returns the panels of a `blocks.Picture` as SVG elements, each with its legend unless they are small."""
    return [_panel_svg(picture, place, panel) for place, panel in enumerate(picture.panels)]


def legend_svg(picture):
    """Returns the legend of a `blocks.Picture` as an SVG element."""
    lines = _labelled(picture.panels)
    columns = 2 if _short(lines) else 1
    with _style(f"{picture.name} legend"):
        height = _LINE_INCHES * math.ceil(len(lines) / columns) + 0.1
        figure = matplotlib.figure.Figure(figsize=(_SMALL_INCHES[0] * 1.2, height))
        _legend(figure, lines, columns, "center left")
        return _element(figure, f"Legend: {', '.join(line.label for line in lines)}")


def _panel_svg(picture, place, panel):
    width, height = _SMALL_INCHES if picture.small else _INCHES
    with _style(f"{picture.name} {place}"):
        if not picture.small:
            height += _LINE_INCHES * (math.ceil(len(panel.lines) / 2) if _short(panel.lines) else len(panel.lines))
        figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
        _draw(figure.subplots(), panel)
        if not picture.small:
            _legend(figure, panel.lines, 2 if _short(panel.lines) else 1)
        return _element(figure, _told(panel))


def _style(salt):
    return matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt})


def _draw(axes, panel):
    if panel.logarithmic:
        axes.set_yscale("log")
    for line in panel.lines:
        axes.plot(line.x, line.y, markevery=max(1, len(line.x) // _MARKED), **line.look)
        if line.low:
            axes.fill_between(line.x, line.low, line.high, color=line.look["color"], alpha=0.15, linewidth=0)
    axes.set_title(panel.title, parse_math=False, wrap=True)
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label, xlim=panel.x_limits, ylim=panel.y_limits)
    if panel.x_label in ("epoch", "step", "depth"):
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    axes.grid(alpha=0.3)


def _legend(figure, lines, columns, place="outside lower center"):
    if not lines:
        return
    handles = [matplotlib.lines.Line2D([], [], **line.look) for line in lines]
    labels = [line.label for line in lines]
    legend = figure.legend(handles, labels, loc=place, ncols=columns, frameon=False, handlelength=3.5)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _labelled(panels):
    """Returns a line for each label of some panels, in the order in which they first appear."""
    return list({line.label: line for panel in panels for line in panel.lines}.values())


def _short(lines):
    return all(len(line.label) <= _LONG_LABEL for line in lines)


def _told(panel):
    """Returns what a panel shows in words: its title, and where its lines end."""
    ends = [f"{line.label} {line.y[-1]:.3g}" for line in panel.lines]
    return f"{panel.title}; {panel.y_label} against {panel.x_label}. Where the lines end: {', '.join(ends)}."


def _element(figure, told):
    """Returns a figure as an SVG element: no prolog, no names that several of them would share."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = re.sub(r'<g id="[^"]*">', "<g>", text[text.index("<svg") :])
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    attributes = f'role="img" aria-label="{html.escape(told)}"'
    return re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', rf"<svg \1 {attributes}>", text, count=1).strip()
