"""The results of a study for programs: one line a row and seed.

Numbers have all their digits; `published` and all accuracies are parts of one, also
where the published table prints errors. What is not known is empty.
"""

import csv
import io

from keras_norms.reports import quantity

_OF_RESULT = (
    "test_accuracy", "best_test_accuracy", "mean_test_accuracy", "test_loss", "train_loss", "train_accuracy", "epochs",
    "steps",
)  # fmt: skip
COLUMNS = (
    "study", "recipe", "label", "seed", "published", *_OF_RESULT, "seconds", "parameters", "status", "error", "commit",
)  # fmt: skip


def text(results):
    """Returns the content of the CSV file.

    Args:
        results: `results.Results`.
    """
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in results.rows:
        for run in row.runs:
            writer.writerow({"study": results.name, "recipe": row.recipe, **_cells(run, row.published)})
    return lines.getvalue()


def _cells(run, published):
    value = quantity.ACCURACY.published(published)
    return {
        "label": published.label,
        "seed": run.seed,
        "published": None if value is None else round(value, 9),
        **{name: run.result.get(name) for name in _OF_RESULT},
        "seconds": run.total_seconds or None,
        "parameters": run.result.get("trainable_parameters"),
        "status": run.status,
        "error": run.reason,
        "commit": run.environment.get("commit"),
    }
