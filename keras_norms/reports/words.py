"""Numbers as text."""

import math

from keras_norms.reports import statistics

NONE = "–"


def number(value, digits=4):
    """Returns a number with so many digits behind the point; a dash for None."""
    if value is None:
        return NONE
    return f"{value:.{digits}f}" if math.isfinite(value) else "not a number"


def printed(value, digits=3):
    """Returns a published number with the digits it was published with, at least so many behind the point."""
    if value is None:
        return NONE
    value = round(value, 9)
    short = f"{value:.{digits}f}"
    return short if float(short) == value else str(value)


def signed(value):
    """Returns a difference with its sign."""
    return NONE if value is None else f"{value:+.4f}".replace("-", "−")


def spread(values, digits=4):
    """Returns the mean of values and their standard deviation where there are several."""
    middle, deviation = statistics.mean(values), statistics.deviation(values)
    if deviation is None or not math.isfinite(middle):
        return number(middle, digits)
    return f"{number(middle, digits)} ± {number(deviation, digits)}"


def probability(p):
    """Returns a p-value."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds):
    """Returns a time in the unit that suits it."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def entry(value):
    """Returns the value of an entry of a recipe, as JSON has it."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, list | tuple):
        parts = [" ".join(map(entry, part)) if isinstance(part, list | tuple) else entry(part) for part in value]
        return ", ".join(parts) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def counted(number, noun):
    """Returns a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(items):
    """Returns strings as a list in a sentence."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
