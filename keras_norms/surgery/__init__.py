"""Procedures on any Keras model. Each returns a new model and a report; the given model stays as it is."""

from keras_norms.surgery.convert import convert
from keras_norms.surgery.fold import fold
from keras_norms.surgery.freeze import freeze, unfreeze
from keras_norms.surgery.load import load
from keras_norms.surgery.recompute_statistics import recompute_statistics
from keras_norms.surgery.report import Report, Row

__all__ = ["Report", "Row", "convert", "fold", "freeze", "load", "recompute_statistics", "unfreeze"]
