"""What entrants run in these tests: counting, no framework."""

import os
import pathlib

from benchmarks.contest.entrant import Workload


def writing(letter, path):
    """Adds a letter to a file at each repeat."""

    def repeat():
        with pathlib.Path(path).open("a") as file:
            file.write(letter)

    print("Words of a framework.")
    return Workload(repeat, {"made": 1})


def surrounded():
    """Knows its environment."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "PATIENCE")
    facts = {name: os.environ.get(name) for name in names}
    facts |= {"process": os.getpid(), "processors": len(os.sched_getaffinity(0))}
    return Workload(lambda: None, facts)


def holding(held_bytes):
    """Holds memory."""
    held = []
    return Workload(lambda: held or held.append(b"x" * held_bytes))


def refusing():
    raise ValueError("no such layer\nIt has never been written.")


def failing(at):
    """Raises in one of its repeats."""
    repeats = iter(range(at))

    def repeat():
        if next(repeats, None) is None:
            raise RuntimeError("not once more")

    return Workload(repeat)


def dying():
    os.write(2, b"Killed by itself.\n")
    os._exit(1)
