"""Measures how long things take that are done once: the import, the first training step, the export.

    python -m benchmarks.startup
    python -m benchmarks.startup --quick --cases import

`import`: a fresh Python that imports and ends. `first step`: from a process in which everything is imported to the end
of the first step of resnet20, with building, tracing and compiling. `export`: our SavedModel of resnet20, folded and
verified in two fresh processes, beside what `keras.Model.export` writes and does not verify.
"""

import subprocess
import time

from benchmarks.contest import entrant, interleaved, options, process, results

ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "1"}
RESNET20 = {"arch": "resnet20", "batch": 128, "size": 32, "classes": 10}
IMPORTED = ("keras_norms", "keras", "tensorflow")
FIRST_STEPS = [
    entrant.Entrant(
        "keras_norms",
        "benchmarks.peers.step_tensorflow:make_keras_norms",
        {**RESNET20, "normalization": "batch_norm_before"},
        ONEDNN,
    ),
    entrant.Entrant("keras", "benchmarks.peers.startup_first_step:make_keras", RESNET20, ONEDNN),
]
EXPORTS = [
    entrant.Entrant(name, f"benchmarks.peers.startup_export:make_{name}", {"arch": "resnet20", "size": 32}, ONEDNN)
    for name in ("keras_norms", "keras")
]


def main(arguments=None):
    given = options.parse(options.parser(__doc__), arguments)
    record = results.new("startup", given)
    cases = [case for case in CASES if not (given.quick and case == LONGEST)]
    for case in options.chosen(cases, given.cases):
        CASES[case](record, case, given)
        print(results.line(record, case, case.rpartition(", ")[2]), flush=True)
    print(results.write(record, given.out))


def measure_imports(record, case, given):
    """Adds the seconds of fresh processes. The first of each reads its files from the disk and does not count."""
    seconds = {name: [] for name in options.chosen(IMPORTED, given.entrants)}
    for names in interleaved.turns(list(seconds), 2 if given.quick else 4):
        for name in names:
            seconds[name].append(imported(name, given.threads))
    for name, (_, *counted) in seconds.items():
        results.add(record, case, name, "import", "s", counted)


def imported(name, threads):
    """Returns the seconds of a fresh Python that imports a package."""
    command = [entrant.interpreter("tensorflow"), "-c", f"import {name}"]
    started = time.perf_counter()
    subprocess.run(
        command, env=process.surroundings("tensorflow", threads), check=True, capture_output=True, cwd=entrant.ROOT
    )
    return time.perf_counter() - started


def measure_first_steps(record, case, given):
    """Adds the seconds until the first step of fresh processes is done."""
    seconds = {chosen.name: [] for chosen in FIRST_STEPS if given.entrants in chosen.name}
    for _ in range(1 if given.quick else 2):
        entrants = [chosen for chosen in FIRST_STEPS if chosen.name in seconds]
        for name, measured in interleaved.measure(entrants, 0, threads=given.threads).items():
            if measured.failed:
                results.absent(record, case, name, measured.failed)
            else:
                seconds[name].append(measured.first_seconds)
    for name, counted in seconds.items():
        results.add(record, case, name, "first step", "s", counted)


def measure_exports(record, case, given):
    """Adds the seconds of an export."""
    entrants = [chosen for chosen in EXPORTS if given.entrants in chosen.name]
    for name, measured in interleaved.measure(entrants, 2, threads=given.threads).items():
        results.add_measured(record, case, name, measured, "export")


CASES = {
    "import": measure_imports,
    "resnet20, first step": measure_first_steps,
    "resnet20, export": measure_exports,
}
LONGEST = "resnet20, export"  # which the quick run leaves out


if __name__ == "__main__":
    main()
