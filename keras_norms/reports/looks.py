"""How lines look: told apart by dashes, markers and shades, also in black and white."""

_COLOURS = ("black", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#8c510a", "#666666")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1)), (0, (1, 3)))
_MARKERS = "os^Dvx+*"

ROWS = len(_MARKERS)
PUBLISHED = {"color": "0.65", "linestyle": "-", "linewidth": 3.0}
MEASURED = {"color": "black", "linestyle": "-", "linewidth": 1.2, "marker": "o", "markersize": 3}


def of_row(place):
    """Returns the look of one of at most `ROWS` lines."""
    return {
        "color": _COLOURS[place],
        "linestyle": _DASHES[place],
        "linewidth": 1.2,
        "marker": _MARKERS[place],
        "markersize": 4,
    }


def in_order(place, number):
    """Returns the look of one of several lines that have an order: later is darker."""
    shade = 0.75 * (1 - place / (number - 1)) if number > 1 else 0
    return {"color": f"{shade:.2f}", "linewidth": 1.2, "marker": _MARKERS[place], "markersize": 4}
