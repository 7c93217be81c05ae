"""The repeats of benchmarks/training.py: which steps of them count, and what is written down of those."""

import itertools
import json
import pathlib

# What was fetched ahead while others ran is used up by then.
AHEAD = 4
# As many repeats as a process makes before it is measured.
WARM_UP = 2


def repeat(advance, steps, path):
    """Returns the repeat of an entrant, which appends what is known of the steps that count to a file.

    Args:
        advance: Function that makes so many steps and returns what is known of them, a dict of JSON numbers.
        steps: Integer, how many count in a repeat.
        path: String, the file. It gets a line of JSON for each repeat but those that warm up.
    """
    repeats = itertools.count()

    def made():
        advance(AHEAD)
        if next(repeats) >= WARM_UP:
            with open(path, "a") as file:
                print(json.dumps(advance(steps)), file=file)

    return made


def read(path):
    """Returns what a file has of an entrant: a dict from quantities to their values, one a repeat."""
    path = pathlib.Path(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {quantity: [row[quantity] for row in rows] for quantity in (rows[0] if rows else ())}
