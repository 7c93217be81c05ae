"""The arguments that all benchmarks share."""

import argparse
import os
import pathlib

from benchmarks.contest import entrant

TRACKED = entrant.ROOT / "benchmarks" / "results"
# Quick results are compared with the tracked ones and never replace them; git ignores the folder.
FRESH = entrant.ROOT / "runs" / "benchmarks"


def parser(description):
    """Returns a parser of the arguments; the caller may add its own before it calls `parse`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="fewer cases and rounds: to see that nothing broke")
    made.add_argument("--out", type=pathlib.Path, help="the folder of results: benchmarks/results, or runs/benchmarks")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each entrant")
    made.add_argument("--cases", default="", help="only those whose name contains this")
    made.add_argument("--entrants", default="", help="only those whose name contains this")
    made.add_argument("--label", default="", help="a word for the name of the file: of another machine or dtype")
    return made


def parse(made, arguments=None):
    """Returns the parsed arguments, the folder of results filled in: a part of the cases never replaces the whole."""
    given = made.parse_args(arguments)
    if given.out is None:
        given.out = FRESH if given.quick or given.cases or given.entrants else TRACKED
    return given


def chosen(names, part):
    """Returns the names that contain a part."""
    return [name for name in names if part in name]
