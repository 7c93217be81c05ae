"""Writes the results of the benchmarks as one page of tables.

python -m benchmarks.table
"""

import argparse
import pathlib
import statistics

from benchmarks import targets
from benchmarks.contest import options, results

# Of a unit: the factor, the digits, the unit printed.
PRINTED = {
    "s": (1e3, 3, "ms"),
    "B": (1e-6, 3, "MB"),
    "B/s": (1e-9, 3, "GB/s"),
    "images/s": (1, 4, "images/s"),
    "1": (100, 2, "%"),
}
ORDER = ["layers", "step", "training", "inference", "startup", "scaling"]
EXPLANATION = """\
# Results of the benchmarks

Made by `python -m benchmarks.table` from the JSON files beside it, which `make bench` writes.

A cell has the median, the smallest and the largest value in brackets, and how many times that of `keras_norms` it is.
All entrants of a row were measured in turns, with equal threads.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=options.TRACKED, help="of the results")
    folder = parser.parse_args().folder
    path = folder / "README.md"
    path.write_text(page(read_all(folder)))
    print(path)


def read_all(folder):
    """Returns the results in a folder by the stems of their files, in the order of the benchmarks."""
    found = {path.stem: results.read(path) for path in folder.glob("*.json")}
    known = {name: number for number, name in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (known.get(item[1]["benchmark"], len(ORDER)), item[0])))


def page(all_results):
    """Returns the page as Markdown.

    Args:
        all_results: Dict from the stem of a file to its results.
    """
    parts = [EXPLANATION, machines(all_results), "## The figures to reach\n", target_table(all_results)]
    for stem, measured in all_results.items():
        parts += [f"## {stem}\n", origin(measured), *quantity_tables(measured), absences(measured)]
    return "\n".join(part for part in parts if part)


def machines(all_results):
    """Returns a line for each machine, with the files that are of it."""
    files = {}
    for stem, measured in all_results.items():
        files.setdefault(machine_words(measured["machine"]), []).append(stem)
    return "".join(f"- {', '.join(stems)}: {words}\n" for words, stems in files.items())


def machine_words(machine):
    onednn = {True: "oneDNN on by default", False: "oneDNN off by default", None: "no TensorFlow"}
    words = [
        *machine["gpus"],
        f"{machine['processor']}, {machine['cores']} cores ({' '.join(machine['flags'])})",
        f"{machine['memory'] / 2**30:.0f} GiB",
        machine["system"],
        onednn[machine["onednn by default"]],
    ]
    return ", ".join(words)


def origin(measured):
    """Returns when, how and with what the results of a file were measured."""
    machine = measured["machine"]
    versions = {name: version for found in measured["versions"].values() for name, version in found.items()}
    copies = [("Copy bandwidth", machine["copy bandwidth"]), ("on the GPU", machine["gpu copy bandwidth"])]
    copied = ", ".join(f"{words} {number / 1e9:.1f} GB/s" for words, number in copies if number)
    return (
        f"`{measured['command']}`, commit {measured['commit']}, {measured['date']}, {measured['threads']} threads. "
        f"{copied}. {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}.\n"
    )


def target_table(all_results):
    """Returns the table of the figures to reach, those of labelled results left out: they are of other machines."""
    rows = []
    for target in targets.TARGETS:
        measured = all_results.get(target.benchmark)
        values = target.values(measured) if measured else {}
        limit = f"{'≥' if target.at_least else '≤'} {target.limit:.2f}"
        if values:
            worst = target.worst(values)
            reached = "yes" if target.reached(values) else "**no**"
            numbers = [f"{values[worst]:.2f}", worst, f"{statistics.median(values.values()):.2f}", reached]
        else:
            numbers = ["", "", "", "not measured"]
        rows.append([target.words, limit, *numbers])
    return markdown(["figure", "limit", "worst", "where", "median", "reached"], rows)


def quantity_tables(measured):
    """Yields a table for each quantity of a benchmark."""
    for quantity in dict.fromkeys(found["quantity"] for found in measured["measurements"]):
        of_quantity = [found for found in measured["measurements"] if found["quantity"] == quantity]
        cases = dict.fromkeys(found["case"] for found in of_quantity)
        names = sorted(dict.fromkeys(found["entrant"] for found in of_quantity), key=lambda name: not ours(name))
        unit = PRINTED.get(of_quantity[0]["unit"], (1, 3, of_quantity[0]["unit"]))
        rows = [[case, *(cell(measured, case, quantity, name, names[0], unit) for name in names)] for case in cases]
        yield f"### {quantity}, {unit[2]}\n"
        yield markdown(["", *names], rows)


def ours(name):
    return name.startswith("keras_norms")


def cell(measured, case, quantity, name, first, unit):
    """Returns the median, the spread and the ratio to the first entrant of a row."""
    values = results.values(measured, case, quantity, name)
    if not values:
        return ""
    factor, digits, _ = unit
    words = number(statistics.median(values) * factor, digits)
    if len(values) > 1:
        words += f" ({number(min(values) * factor, digits)}–{number(max(values) * factor, digits)})"
    ratio = results.ratio(measured, case, quantity, name, first)
    return words if ratio is None or name == first else f"{words} ×{ratio:.2f}"


def number(value, digits):
    """Returns a number with so many digits, or with all it has before the point."""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def absences(measured):
    """Returns who is missing and why."""
    return "".join(f"- {name} is missing. {reason}\n" for name, reason in measured["absent"].items())


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
