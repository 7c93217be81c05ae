"""The rows of a study against its baseline, seed by seed."""

import dataclasses

from keras_norms.reports import statistics

LEVEL = 0.05
BASELINE, TOO_FEW = "baseline", "one seed: cannot be told"
SAME, HIGHER, LOWER = "cannot be told apart", "higher", "lower"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row against the baseline.

    Attributes:
        published: Float, the published difference; None where one of the two is not published.
        measured: Float, the mean difference over the seeds that both rows have; None without any.
        seeds: Integer, the number of these seeds.
        p: Float, as in `statistics.paired`.
        corrected: Float, by Holm over the rows of the study.
        verdict: String.
    """

    published: float | None
    measured: float | None
    seeds: int
    p: float | None
    corrected: float | None
    verdict: str


def compare(rows, baseline, quantity):
    """Returns the `Comparison` of each row, a dict by recipe.

    Args:
        rows: Sequence of `results.Row`.
        baseline: String, the recipe that others are compared with.
        quantity: `quantity.Quantity`.
    """
    values = {row.recipe: row.by_seed("test_accuracy") for row in rows}
    printed = {row.recipe: quantity.published(row.published) for row in rows}
    pairs = {name: _pairs(values[name], values[baseline], quantity) for name in values}
    tested = [None if name == baseline else statistics.paired(*pair) for name, pair in pairs.items()]
    corrected = statistics.holm(tested)
    return {
        name: _comparison(name == baseline, _difference(printed[name], printed[baseline]), *pair, p, by_holm)
        for (name, pair), p, by_holm in zip(pairs.items(), tested, corrected, strict=True)
    }


def summary(comparisons, quantity):
    """Returns sentences on which rows can be told from the baseline.

    Args:
        comparisons: Sequence of `Comparison`.
        quantity: `quantity.Quantity`.
    """
    others = [found for found in comparisons if found.verdict != BASELINE]
    seeds = [found.seeds for found in others if found.seeds > 1]
    if not seeds:
        return "No row shares two seeds with the baseline: no difference between rows can be told from chance."
    told = sum(found.verdict in (HIGHER, LOWER) for found in others)
    fewest, most = min(seeds), max(seeds)
    number = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return (
        f"With {number} seeds {'only ' if 0 < told < len(seeds) else ''}{told} of {len(seeds)} differences in "
        f"{quantity.name} from the baseline {'is' if told == 1 else 'are'} significant at {LEVEL:.0%} (paired t-test, "
        f"Holm). With {fewest} seeds a difference must be {statistics.needed(fewest, LEVEL):.1f} times its standard "
        "error to count, before any correction."
    )


def _pairs(values, others, quantity):
    seeds = sorted(values.keys() & others.keys())
    return [quantity.of(values[seed]) for seed in seeds], [quantity.of(others[seed]) for seed in seeds]


def _comparison(is_baseline, published, values, others, p, corrected):
    if is_baseline:
        return Comparison(None, None, len(values), None, None, BASELINE)
    measured = statistics.mean([value - other for value, other in zip(values, others, strict=True)])
    return Comparison(published, measured, len(values), p, corrected, _verdict(measured, len(values), corrected))


def _verdict(measured, seeds, corrected):
    if seeds < 2:
        return TOO_FEW if seeds else "no seed to compare"
    if corrected is None:
        return "the same difference with each seed: no test"
    if corrected >= LEVEL:
        return SAME
    return HIGHER if measured > 0 else LOWER


def _difference(value, other):
    return None if value is None or other is None else value - other
