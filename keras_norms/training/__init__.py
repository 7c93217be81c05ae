"""A recipe, data and a model become a run."""

from keras_norms.training.run import PRECISIONS, XLA, Interrupted, Outcome, Run, Settings, finished

__all__ = ["PRECISIONS", "XLA", "Interrupted", "Outcome", "Run", "Settings", "finished"]
