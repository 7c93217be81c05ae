"""Data sets by name, and the way from images to batches."""

from keras_norms.data.datasets import Dataset, check, load
from keras_norms.data.in_memory import InMemory
from keras_norms.data.pipeline import (
    Preprocessing,
    preprocessing,
    steps_per_epoch,
    ten_crop_batches,
    test_batches,
    training_batches,
)
from keras_norms.data.shares import Shares
from keras_norms.data.streamed import Streamed

__all__ = [
    "Dataset",
    "InMemory",
    "Preprocessing",
    "Shares",
    "Streamed",
    "check",
    "load",
    "preprocessing",
    "steps_per_epoch",
    "ten_crop_batches",
    "test_batches",
    "training_batches",
]
