"""Accuracy or error: what a study's tables show, as the published ones print it."""

import dataclasses

_ACCURACIES, _ERRORS = ("top1_accuracy", "test_accuracy"), ("test_error",)


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What is shown of a test.

    Attributes:
        name: String, `"accuracy"` or `"error"`.
    """

    name: str

    def of(self, accuracy):
        """Returns what is shown of an accuracy, or None of None."""
        return 1 - accuracy if self.name == "error" and accuracy is not None else accuracy

    def published(self, row):
        """Returns what is shown of a `recipes.Published`, or None."""
        metric, value = (row.references[0].metric, row.references[0].value) if row.references else (None, None)
        if metric in _ERRORS:
            return value if self.name == "error" else 1 - value
        return self.of(value) if metric in _ACCURACIES else None


ACCURACY, ERROR = Quantity("accuracy"), Quantity("error")


def of(rows):
    """Returns the `Quantity` of a study: the error if all that is published of its rows are errors.

    Args:
        rows: Sequence of `recipes.Published`.
    """
    metrics = [row.references[0].metric for row in rows if row.references]
    return ERROR if metrics and all(metric in _ERRORS for metric in metrics) else ACCURACY
