"""Procedures on any Keras model. Each returns a new model and a report; the given model stays as it is."""

from keras_norms.surgery.recompute_statistics import recompute_statistics
from keras_norms.surgery.report import Report, Row

__all__ = ["Report", "Row", "recompute_statistics"]
