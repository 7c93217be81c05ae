"""The record of a benchmark: JSON that says what was measured, where, when and of which code."""

import datetime
import json
import shlex
import statistics
import subprocess
import sys

from benchmarks.contest import entrant, machine

PACKAGES = ("keras", "tensorflow", "torch", "jax", "flax", "numpy", "openvino", "onnxruntime")
VERSIONS = f"""
import importlib.metadata, json, platform
found = {{d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}}
print(json.dumps({{"python": platform.python_version()}} | {{n: found[n] for n in {PACKAGES} if n in found}}))
"""


def new(benchmark, options):
    """Returns the record of a benchmark with nothing measured yet.

    Args:
        benchmark: Its name, the stem of the file.
        options: What `benchmarks.contest.options` parsed.
    """
    return {
        "benchmark": benchmark,
        "label": options.label,
        "command": shlex.join(["python", "-m", f"benchmarks.{benchmark}", *sys.argv[1:]]),
        "quick": options.quick,
        "machine": machine.describe(options.threads),
        "versions": {name: json.loads(machine.said(name, VERSIONS) or "{}") for name in entrant.ENVIRONMENTS},
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "threads": options.threads,
        "measurements": [],
        "absent": {},
    }


def commit():
    """Returns the commit of the code, with a plus sign where the code differs from it, or `None` outside git."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    ended = subprocess.run(command, cwd=entrant.ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.strip() or None


def add(results, case, name, quantity, unit, values):
    """Records the values of a quantity of an entrant in a case."""
    values = [float(value) for value in values]
    results["measurements"].append(
        {"case": case, "entrant": name, "quantity": quantity, "unit": unit, "values": values}
    )


def add_measured(results, case, name, measured, quantity):
    """Records an entrant's seconds under a quantity, its peak memory, and why it failed if it did."""
    if measured.seconds:
        add(results, case, name, quantity, "s", measured.seconds)
        add(results, case, name, "peak memory", "B", [measured.peak_memory])
    if measured.failed:
        absent(results, case, name, measured.failed)


def absent(results, case, name, reason):
    """Records why an entrant is missing: what is not installed is missing in all cases."""
    reason = reason if reason.startswith("not installed") else f"{case}: {reason}"
    known = results["absent"].get(name, "")
    if reason not in known:
        results["absent"][name] = "; ".join(filter(None, [known, reason]))


def line(results, case, quantity):
    """Returns the medians of a case on a line, as they are printed while measuring."""
    names = dict.fromkeys(found["entrant"] for found in results["measurements"] if found["case"] == case)
    medians = {name: median(results, case, quantity, name) for name in names}
    return f"{case}, {quantity}: " + ", ".join(f"{name} {value:.4g}" for name, value in medians.items() if value)


def write(results, folder):
    """Writes the record into a folder, and returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{'_'.join(filter(None, [results['benchmark'], results['label']]))}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path


def read(path):
    return json.loads(path.read_text())


def values(results, case, quantity, name):
    """Returns what was measured of an entrant in a case, all of it, or an empty list."""
    wanted = {"case": case, "quantity": quantity, "entrant": name}
    return [value for found in results["measurements"] if wanted.items() <= found.items() for value in found["values"]]


def median(results, case, quantity, name):
    """Returns the median of what was measured of an entrant in a case, or `None`."""
    found = values(results, case, quantity, name)
    return statistics.median(found) if found else None


def ratio(results, case, quantity, name, other):
    """Returns the median of an entrant over that of another, or `None` where one was not measured."""
    over, under = (median(results, case, quantity, who) for who in (name, other))
    return over / under if over is not None and under else None
