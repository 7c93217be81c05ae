"""A trained model as a SavedModel that TensorFlow Serving can run."""

from keras_norms.export.query import query_example
from keras_norms.export.saved_model import export
from keras_norms.export.versions import check_folder

__all__ = ["check_folder", "export", "query_example"]
