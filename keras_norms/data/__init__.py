"""Data sets by name, and the way from images to batches."""

from keras_norms.data.datasets import Dataset, load
from keras_norms.data.pipeline import Preprocessing, preprocessing, test_batches, training_batches

__all__ = ["Dataset", "Preprocessing", "load", "preprocessing", "test_batches", "training_batches"]
