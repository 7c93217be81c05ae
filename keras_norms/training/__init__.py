"""A recipe, data and a model become a run."""

from keras_norms.training.cluster import is_chief
from keras_norms.training.history import told
from keras_norms.training.interruption import Interrupted, Preempted, termination_at_once
from keras_norms.training.run import Outcome, Run, finished
from keras_norms.training.settings import PRECISIONS, XLA, Settings
from keras_norms.training.weight_average import WeightAverage
from keras_norms.training.workers import LostError

__all__ = [
    "PRECISIONS",
    "XLA",
    "Interrupted",
    "LostError",
    "Outcome",
    "Preempted",
    "Run",
    "Settings",
    "WeightAverage",
    "finished",
    "is_chief",
    "termination_at_once",
    "told",
]
