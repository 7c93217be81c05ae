"""Compares fresh results with the tracked ones, and names what got worse by more than 15 %.

    python -m benchmarks.check runs/benchmarks

What is compared are the ratios of keras_norms to its peers in one run, case by case: seconds themselves change with the
machine. It names a ratio of medians that got worse by as much if each round of the fresh run shows it worse, and ends
with 1 then. Not part of continuous integration: other work on the machine may move a ratio as far.
"""

import argparse
import operator
import pathlib
import sys

from benchmarks import table
from benchmarks.contest import options, results

TOLERATED = 1.15
# Of these units more is better; of the others less.
RATES = {"images/s"}
# Bandwidths are the seconds again, and shares so close to zero double by chance. So do seconds that were taken once.
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
            (before, _), (now, mildest) = old[key], new[key]
            if now > before * TOLERATED and mildest > before:
                worse.append(f"{stem}: {words(key)}: {before:.2f} before, {now:.2f} now")
    return compared, sorted(worse), missing


def ratios(measured):
    """Returns a dict from (case, quantity, our entrant, peer) to a pair: the ratio of the median of ours to that of the
    peer, and the least ratio of a round. More is worse."""
    found = {}
    units = {(one["case"], one["quantity"]): one["unit"] for one in measured["measurements"]}
    for (case, quantity), unit in units.items():
        names = {one["entrant"] for one in measured["measurements"] if one["case"] == case}
        # On other backends, and there memory above all, three rounds vary by more than what is tolerated.
        for ours in (name for name in names if table.ours(name) and " on " not in name):
            for peer in names - set(filter(table.ours, names)):
                over, under = (peer, ours) if unit in RATES else (ours, peer)
                rounds = [results.values(measured, case, quantity, name) for name in (over, under)]
                if unit in SKIPPED or not all(rounds) or (unit == "s" and len(rounds[0]) == 1):
                    continue
                ratio = results.ratio(measured, case, quantity, over, under)
                found[case, quantity, ours, peer] = ratio, min(map(operator.truediv, *rounds))
    return found


def words(key):
    case, quantity, ours, peer = key
    return f"{case}, {quantity}, {ours} over {peer}"


if __name__ == "__main__":
    main()
