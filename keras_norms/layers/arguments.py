"""What the arguments of layers must be. Each check returns the value, or says what was expected and what came."""

import math
import numbers


def boolean(name, value):
    """Returns `value` if it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")
    return value


def integer(name, value, minimum=-math.inf):
    """Returns `value` if it is an integer, at least `minimum`."""
    if not _is_integer(value) or value < minimum:
        bound = "" if minimum == -math.inf else f", at least {minimum}"
        raise ValueError(f"`{name}` must be an integer{bound}. Received: {name}={value!r}.")
    return int(value)


def number(name, value, minimum=-math.inf, maximum=math.inf):
    """Returns `value` if it is a number from `minimum` to `maximum`, both included."""
    if not _is_number(value) or not minimum <= value <= maximum:
        raise ValueError(f"`{name}` must be a number{_range(minimum, maximum)}. Received: {name}={value!r}.")
    return value


def positive(name, value):
    """Returns `value` if it is a number above 0."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be a number above 0. Received: {name}={value!r}.")
    return value


def momentum(value):
    """Returns `value` if it can be the weight that a moving average keeps."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(
            "`momentum` is the weight a moving average keeps, and must be at least 0 and below 1. "
            f"Received: momentum={value!r}."
        )
    return value


def unused(name, used, *options):
    """Refuses options of a weight that is not used."""
    if not used and any(option is not None for option in options):
        raise ValueError(
            f"`{name}_initializer`, `{name}_regularizer` and `{name}_constraint` need `use_{name}=True`. "
            f"Received: use_{name}={used}, {options}."
        )


def one_of(name, value, choices):
    """Returns `value` if it is one of the choices, of the same type."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        *most, last = map(repr, choices)
        raise ValueError(f"`{name}` must be {', '.join(most)} or {last}. Received: {name}={value!r}.")
    return value


def axes(value):
    """Returns the tuple of axes if `value` is an integer, a sequence of integers or None, which means none."""
    chosen = () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(_is_integer(axis) for axis in chosen):
        raise ValueError(f"`axis` must be an integer, a sequence of integers or None. Received: axis={value!r}.")
    return tuple(map(int, chosen))


def divides(name, value, channels):
    """Returns `value` if it divides the number of channels."""
    if channels % value:
        raise ValueError(f"`{name}` must divide the number of channels. Received: {name}={value}, channels={channels}.")
    return value


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def _range(minimum, maximum):
    if minimum == -math.inf and maximum == math.inf:
        return ""
    if maximum == math.inf:
        return f", at least {minimum}"
    return f" from {minimum} to {maximum}"
