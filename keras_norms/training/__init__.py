"""A recipe, data and a model become a run."""

from keras_norms.training.run import PRECISIONS, XLA, Interrupted, Outcome, Run, Settings, finished
from keras_norms.training.weight_average import WeightAverage

__all__ = ["PRECISIONS", "XLA", "Interrupted", "Outcome", "Run", "Settings", "WeightAverage", "finished"]
