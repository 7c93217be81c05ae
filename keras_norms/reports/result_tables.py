"""The results of a study as tables: accuracy, what else was measured, other tests, what was published."""

from keras_norms.reports import blocks, results, statistics, words

_ROW = blocks.Column("Row", number=False)
_PUBLISHED_LOSS = "Published log-loss"


def accuracy(found, shown, compared):
    """Returns the main table.

    Args:
        found: `results.Results`.
        shown: `quantity.Quantity`.
        compared: Dict of `comparison.Comparison` by recipe.
    """
    titles = (
        f"Published {shown.name}", f"Measured {shown.name}", "Seeds", "Measured − published",
        "Published, against baseline", "Measured, against baseline", "p", "p (Holm)",
    )  # fmt: skip
    columns = (_ROW, *map(blocks.Column, titles), blocks.Column("Against the baseline", number=False))
    (baseline,) = (row.label for row in found.rows if row.recipe == found.study.baseline)
    return blocks.Table(
        f"Test {shown.name} after the last epoch: mean ± standard deviation over the seeds. Baseline: {baseline}. "
        "p: paired t-test over the seeds that both rows have.",
        columns,
        tuple(_accuracy_line(row, shown, compared[row.recipe]) for row in found.rows),
    )


def further(found):
    """Returns the table of what else was measured of each row."""
    titles = (
        "Training loss", "Training accuracy", "Test log-loss", _PUBLISHED_LOSS, "Best epoch's accuracy",
        "Seconds per epoch", "Milliseconds per step", "Trainable parameters",
    )  # fmt: skip
    lines = [_further_line(row) for row in found.rows]
    kept = [
        place
        for place, title in enumerate(("Row", *titles))
        if title != _PUBLISHED_LOSS or any(line[place] != words.NONE for line in lines)
    ]
    columns = (_ROW, *map(blocks.Column, titles))
    return blocks.Table(
        "Also measured, means over the seeds, after the last epoch. The best epoch was chosen by the test itself and "
        "is too good. Times are medians over the epochs, which have their test and checkpoint in them.",
        tuple(columns[place] for place in kept),
        tuple(tuple(line[place] for place in kept) for line in lines),
    )


def other_tests(found, shown):
    """Returns a table of tests by other protocols in a list, which is empty where there were none."""
    lines = tuple(line for row in found.rows for line in _other_lines(row, shown))
    titles = (f"Test {shown.name}", "Minus that of the first table", "Minus published", "Log-loss")
    columns = (_ROW, blocks.Column("Tested how", number=False), *map(blocks.Column, titles))
    return [blocks.Table("The same networks, tested by other protocols.", columns, lines)] if lines else []


def published(found):
    """Returns a table of all that was published of the rows in a list, which is empty where there is nothing."""
    lines = tuple(
        (
            _label(row),
            f"{one.study}: {one.row}",
            one.dataset,
            _metric(one.metric, one.value),
            _metric(one.metric2, one.value2),
            one.source,
        )
        for row in found.rows
        for one in row.published.references
    )
    titles = ("Published as", "Data", "Result", "Beside it", "Source")
    columns = (_ROW, *(blocks.Column(title, number=False) for title in titles))
    return [blocks.Table("Every published number of these rows.", columns, lines)] if lines else []


def _accuracy_line(row, shown, against):
    values = [shown.of(value) for value in row.by_seed("test_accuracy").values()]
    return (
        _label(row),
        words.printed(shown.published(row.published)),
        words.spread(values),
        str(len(values)),
        _minus_published(row, shown, values),
        words.signed(against.published),
        words.signed(against.measured),
        words.probability(against.p),
        words.probability(against.corrected),
        _said(row, against),
    )


def _said(row, against):
    """Returns the verdict on a row, and why runs of it have not ended."""
    others = {run.seed: f"{run.status}: {run.reason}" for run in row.runs if run.status != results.ENDED}
    others |= {run.seed: run.reason for run in row.runs if run.status == results.MISSING}
    if not row.ended and len(set(others.values())) == 1:
        return f"{next(iter(others.values()))} (each seed)"
    others |= {run.seed: f"not tested further: {run.reason}" for run in row.ended if run.reason}
    parts = [f"seed {seed} {reason}" for seed, reason in sorted(others.items())]
    return "; ".join([against.verdict, *parts] if row.ended else parts)


def _further_line(row):
    reference = next(iter(row.published.references), None)
    seconds = [second for run in row.drawn for second in run.seconds if second is not None]
    step_times = [1000 * second for run in row.drawn for second in run.step_seconds]
    parameters = next(iter(row.by_seed("trainable_parameters").values()), None)
    return (
        _label(row),
        *(words.spread(list(row.by_seed(name).values())) for name in ("train_loss", "train_accuracy", "test_loss")),
        words.printed(reference.value2 if reference and reference.metric2 == "log_loss" else None, 2),
        words.number(statistics.mean(list(row.by_seed("best_test_accuracy").values()))),
        words.number(statistics.median(seconds), 1),
        words.number(statistics.median(step_times), 1),
        words.NONE if parameters is None else f"{parameters:,}",
    )


def _other_lines(row, shown):
    """Yields a line for each protocol by which the runs of a row were tested."""
    protocols = {}
    for run in row.ended:
        for test in run.tests:
            protocols.setdefault(test["protocol"], []).append((test, run.result["test_accuracy"]))
    for protocol, pairs in protocols.items():
        values = [shown.of(test["top_1"]) for test, _ in pairs]
        changes = [value - shown.of(own) for value, (_, own) in zip(values, pairs, strict=True)]
        yield (
            _label(row),
            protocol,
            words.spread(values),
            words.signed(statistics.mean(changes)),
            _minus_published(row, shown, values),
            words.spread([test["log_loss"] for test, _ in pairs]),
        )


def _minus_published(row, shown, values):
    printed = shown.published(row.published)
    return words.signed(statistics.mean(values) - printed if values and printed is not None else None)


def _metric(name, value):
    if value is None:
        return words.NONE
    digits = 3 if name.endswith(("accuracy", "error")) else 2 if name == "log_loss" else 0
    return f"{name.replace('_', ' ')} {words.printed(value, digits)}"


def _label(row):
    return blocks.Label(row.label, row.recipe)
