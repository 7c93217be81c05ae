"""The results of a study as tables and pictures."""

from keras_norms.reports.report import write

__all__ = ["write"]
