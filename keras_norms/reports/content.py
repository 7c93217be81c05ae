"""The report of a study, from its results: what is said, in which order."""

import itertools

from keras_norms.reports import (
    blocks,
    comparison,
    differences,
    layer_norms,
    origin,
    quantity,
    result_tables,
    results,
    statistics,
    training_curves,
    words,
)


def page(found, curve_of):
    """Returns the `blocks.Page` of a study.

    Args:
        found: `results.Results`.
        curve_of: Function of the name of a published curve that returns its points.
    """
    sections = (
        _opening(found),
        _section("Observations", [blocks.Notes(found.notes)] if found.notes else []),
        _section("Results", _results(found)),
        _section("Curves", _curves(found, curve_of)),
        _section("Inside the networks", layer_norms.pictures(found.rows)),
        _section("What differs from the published experiments", _differences(found)),
        _section("Published results", result_tables.published(found)),
        _section("How it was run", origin.parts(found)),
    )
    return blocks.Page(found.study.title, tuple(itertools.chain.from_iterable(sections)))


def _section(title, parts):
    return [blocks.Heading(title), *parts] if parts else []


def _opening(found):
    statuses = (results.ENDED, results.FAILED, results.UNFINISHED, results.MISSING)
    counts = {status: sum(run.status == status for run in found.runs) for status in statuses}
    told = words.listed([f"{count} {status}" for status, count in counts.items() if count])
    where = sorted({str(row.settings["dataset"]) for row in found.rows if "dataset" in row.settings})
    on = f" on {words.listed(where)}" if where else ""
    seconds = words.duration(sum(run.total_seconds for run in found.runs))
    rows, runs = words.counted(len(found.rows), "row"), words.counted(len(found.runs), "run")
    return [
        blocks.Paragraph(found.study.question),
        blocks.Paragraph(f"{rows}{on}, {runs}: {told}. The training took {seconds} in all."),
        blocks.Paragraph(f"Published in: {found.study.source}"),
    ]


def _results(found):
    shown = quantity.of([row.published for row in found.rows])
    compared = comparison.compare(found.rows, found.study.baseline, shown)
    return [
        result_tables.accuracy(found, shown, compared),
        *_other_data(found),
        blocks.Paragraph(comparison.summary(list(compared.values()), shown)),
        *_noise(found),
        result_tables.further(found),
        *result_tables.other_tests(found, shown),
    ]


def _other_data(found):
    """Returns what is to be said where the runs have other data than the published ones."""
    run = [row for row in found.rows if row.settings]
    other = [row for row in run if row.settings["dataset"] != row.published.recipe.dataset]
    if not other:
        return []
    whose = "The" if len(other) == len(run) else f"{len(other)} of the"
    return [
        blocks.Paragraph(
            f"{whose} rows were trained on other data than the published ones: only differences between rows can be "
            "compared, not the numbers themselves."
        )
    ]


def _noise(found):
    """Returns what the size of the test set alone makes uncertain."""
    ended = [run.result for row in found.rows for run in row.ended]
    if not ended:
        return []
    largest = max(statistics.binomial_error(told["test_accuracy"], told["test_examples"]) for told in ended)
    images = words.listed([f"{count:,}" for count in sorted({told["test_examples"] for told in ended})])
    return [
        blocks.Paragraph(
            f"A test has {images} images: they alone give an accuracy a binomial standard error of up to "
            f"{largest:.4f}, however many seeds there are."
        )
    ]


def _curves(found, curve_of):
    without = [row.label for row in found.rows if not row.drawn]
    missing = [blocks.Paragraph(f"Not one epoch to draw: {words.listed(without)}.")] if without else []
    return [
        *training_curves.pictures(found.rows),
        *missing,
        *training_curves.published_pictures(found.rows, curve_of),
    ]


def _differences(found):
    run = [row for row in found.rows if row.settings]
    changed = differences.grouped({row.label: differences.of_row(row) for row in run})
    unlike = differences.grouped({row.label: row.published.unlike for row in found.rows})
    defects = differences.grouped({row.label: differences.defects(row) for row in found.rows})
    return [
        *_changed(changed, len(run)),
        *_said_of("What the published experiments did and no recipe does:", unlike, len(found.rows)),
        *_said_of("What is known of the published results:", defects, len(found.rows)),
    ]


def _changed(entries, rows):
    if not entries:
        return []
    columns = tuple(blocks.Column(title, number=False) for title in ("Entry", "Published", "Run", "Rows"))
    lines = tuple((name, was, now, _those(of, rows)) for (name, was, now), of in entries)
    return [blocks.Table("Entries of the recipes that differ, in the rows that were run.", columns, lines)]


def _said_of(title, told, rows):
    items = tuple(f"{_those(of, rows)}: {sentence}" for sentence, of in told)
    return [blocks.Paragraph(title), blocks.Bullets(items)] if items else []


def _those(of, rows):
    """Returns the names of some rows of so many."""
    return "All rows" if len(of) == rows > 1 else "; ".join(of)
