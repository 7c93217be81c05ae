"""In what the trainings of a study differ from the published ones."""

import dataclasses
import json

from keras_norms.reports import words


def of_row(row):
    """Returns the entries in which a row was run otherwise than published, a list of their name and the two values.

    Args:
        row: `results.Row`. Entries that its settings lack are not known to differ.
    """
    recipe = dataclasses.asdict(row.published.recipe)
    published, run = _counted(json.loads(json.dumps(recipe))), _counted(row.settings)
    return [
        (name, words.entry(value), words.entry(run[name]))
        for name, value in published.items()
        if name != "name" and name in run and run[name] != value
    ]


def defects(row):
    """Returns the sentences on what is wrong with the published results of a row, each once."""
    return list(dict.fromkeys(sentence for one in row.published.references for sentence in one.defects))


def grouped(by_row):
    """Returns what is said of rows, each thing once with the rows that it is said of.

    Args:
        by_row: Dict of iterables by row.

    Returns:
        List of pairs of a thing and a list of rows, in the order in which the rows first say it.
    """
    found = {}
    for row, things in by_row.items():
        for thing in things:
            found.setdefault(thing, []).append(row)
    return list(found.items())


def _counted(settings):
    """Returns settings without the number of epochs where that of steps takes its place."""
    return {**settings, "epochs": None} if settings.get("steps") and "epochs" in settings else settings
