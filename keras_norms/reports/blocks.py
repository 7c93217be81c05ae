"""What a report consists of: blocks that Markdown and HTML render each in their way. Text is plain."""

import dataclasses
from typing import NamedTuple


class Label(NamedTuple):
    """A cell that names a row.

    Attributes:
        text: String, as its paper names it.
        code: String, the name of its recipe.
    """

    text: str
    code: str


@dataclasses.dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of strings."""

    items: tuple


@dataclasses.dataclass(frozen=True)
class Code:
    """A command."""

    text: str


@dataclasses.dataclass(frozen=True)
class Notes:
    """What a person has written, in simple Markdown."""

    text: str


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: String.
        number: Boolean, whether its cells are numbers, which stand at the right.
    """

    title: str
    number: bool = True


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: String.
        columns: Tuple of `Column`. The first one names the line.
        rows: Tuple of tuples of strings or `Label`.
    """

    caption: str
    columns: tuple
    rows: tuple


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        label: String.
        x, y: Tuples of floats; NaN where there is none.
        look: Dict, the look as matplotlib has it.
        low, high: Tuples of floats, the edges of a band around the line; None for no band.
    """

    label: str
    x: tuple
    y: tuple
    look: dict
    low: tuple | None = None
    high: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """A pair of axes with lines.

    Attributes:
        title, x_label, y_label: Strings.
        lines: Tuple of `Line`.
        x_limits, y_limits: Pairs of floats; None for what the lines need.
        logarithmic: Boolean, whether the vertical scale is.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple
    x_limits: tuple | None = None
    y_limits: tuple | None = None
    logarithmic: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """Panels side by side.

    Attributes:
        name: String, the stem of its file.
        caption: String.
        panels: Tuple of `Panel`. A label has the same look in all of them.
        small: Boolean, whether they are many small ones that share a legend.
    """

    name: str
    caption: str
    panels: tuple
    small: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: String.
        blocks: Tuple of blocks.
    """

    title: str
    blocks: tuple
