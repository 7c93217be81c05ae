"""The published recipes by name."""

import difflib

from keras_norms.recipes import alexnet, caffenet_benchmark, residual_networks
from keras_norms.recipes.studies import STUDIES

PUBLISHED = {row.recipe.name: row for row in (*caffenet_benchmark.ROWS, *residual_networks.ROWS, *alexnet.ROWS)}


def published(name):
    """Returns the `Published` of a name.

    Raises:
        ValueError: There is none; the message has the nearest.
    """
    return PUBLISHED[_checked("recipe", name, PUBLISHED)]


def study_name(name):
    """Returns the name of a study, if it is one.

    Raises:
        ValueError: It is none; the message has the nearest, and all.
    """
    return _checked("study", name, STUDIES)


def told(recipe):
    """Returns what a recipe is: a published one as it is, one with differences, which it lists, or none of these."""
    if recipe.name not in PUBLISHED:
        return f"Settings for {recipe.arch} on any data, no published recipe"
    row = PUBLISHED[recipe.name]
    differences = row.recipe.differences(recipe)
    if not differences:
        return f"Recipe {recipe.name}, as published: {row.told()}"
    changed = (f"{name} {value!r} (published: {getattr(row.recipe, name)!r})" for name, value in differences.items())
    return f"Recipe {recipe.name} ({row.told()}) with differences, so not the published one:\n  " + "\n  ".join(changed)


def _checked(kind, name, names):
    if name not in names:
        nearest = difflib.get_close_matches(name or "", names, n=1, cutoff=0) if name else []
        hint = "".join(f"; the nearest is {one!r}" for one in nearest)
        raise ValueError(f"The {kind} must be one of {', '.join(names)}. Received: {name!r}{hint}.")
    return name
