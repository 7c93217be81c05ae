"""Layers chosen by what they are called."""

import re


def chosen(layers, patterns):
    """Returns the paths of the layers that are called as one of the patterns says.

    Args:
        layers: Dict from paths to layers.
        patterns: Regular expression, or sequence of them, for all of the name or the path of a layer. None chooses all.

    Returns:
        Set of paths.

    Raises:
        ValueError: A pattern chooses none.
    """
    if patterns is None:
        return set(layers)
    taken = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matching = {path for path in layers if any(re.fullmatch(pattern, name) for name in (path, layers[path].name))}
        if not matching:
            raise ValueError(
                f"`layers` must choose layers with moving statistics by their names or paths: {list(layers)}. "
                f"Received: {pattern!r}, which is none of them."
            )
        taken |= matching
    return taken
