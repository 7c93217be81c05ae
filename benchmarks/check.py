"""Compares fresh results with the tracked ones, and names what got worse by more than 15 %.

    python -m benchmarks.check runs/benchmarks

What is compared are the ratios of keras_norms to its peers in one run, case by case: seconds themselves change with the
machine. It ends with 1 where something got worse. Not part of continuous integration: other work on the machine may
move a ratio as far.
"""

import argparse
import pathlib
import sys

from benchmarks import table
from benchmarks.contest import options, results

TOLERATED = 1.15
# Of these units more is better; of the others less.
RATES = {"images/s"}
# Bandwidths are the seconds again, and shares so close to zero double by chance.
SKIPPED = {"B/s", "1"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fresh", type=pathlib.Path, help="the folder of the fresh results")
    parser.add_argument("--tracked", type=pathlib.Path, default=options.TRACKED)
    given = parser.parse_args()
    compared, worse, missing = compare(table.read_all(given.fresh), table.read_all(given.tracked))
    print(f"{compared} ratios compared.")
    print_all("Not compared:", missing)
    print_all(f"Worse by more than {TOLERATED - 1:.0%}:", worse)
    sys.exit(bool(worse) or not compared)


def print_all(title, lines):
    if lines:
        print(title, *lines, sep="\n  ")


def compare(fresh, tracked):
    """Compares the ratios of two dicts from stems of files to results.

    Returns:
        How many were compared, lines that say what got worse, and lines that say what could not be compared.
    """
    compared, worse, missing = 0, [], [f"{stem}: no fresh results" for stem in tracked if stem not in fresh]
    for stem, measured in fresh.items():
        if stem not in tracked:
            missing.append(f"{stem}: no tracked results")
            continue
        new, old = ratios(measured), ratios(tracked[stem])
        missing += [f"{stem}: {words(key)}: not in the tracked results" for key in new if key not in old]
        cases = {case for case, *_ in new}
        missing += [f"{stem}: {words(key)}: not measured now" for key in old if key[0] in cases and key not in new]
        missing += [f"{stem}: {name}: {reason}" for name, reason in measured["absent"].items()]
        for key in new.keys() & old.keys():
            compared += 1
            if new[key] > old[key] * TOLERATED:
                worse.append(f"{stem}: {words(key)}: {old[key]:.2f} before, {new[key]:.2f} now")
    return compared, sorted(worse), missing


def ratios(measured):
    """Returns a dict from (case, quantity, our entrant, peer) to the ratio of ours to the peer's; more is worse."""
    found = {}
    units = {(one["case"], one["quantity"]): one["unit"] for one in measured["measurements"]}
    for (case, quantity), unit in units.items():
        names = {one["entrant"] for one in measured["measurements"] if one["case"] == case}
        # On other backends, and there memory above all, three rounds vary by more than what is tolerated.
        for ours in (name for name in names if table.ours(name) and " on " not in name):
            for peer in names - set(filter(table.ours, names)):
                over, under = (peer, ours) if unit in RATES else (ours, peer)
                ratio = results.ratio(measured, case, quantity, over, under)
                if ratio is not None and unit not in SKIPPED:
                    found[case, quantity, ours, peer] = ratio
    return found


def words(key):
    case, quantity, ours, peer = key
    return f"{case}, {quantity}, {ours} over {peer}"


if __name__ == "__main__":
    main()
