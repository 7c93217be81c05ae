"""A trained model as a SavedModel that TensorFlow Serving can run."""

from keras_norms.export.formats import FORMATS, check_formats, convert
from keras_norms.export.keras_file import OUTPUTS, load
from keras_norms.export.manifest import check_files
from keras_norms.export.query import query_example
from keras_norms.export.saved_model import export
from keras_norms.export.versions import check_folder, exported

__all__ = [
    "FORMATS",
    "OUTPUTS",
    "check_files",
    "check_folder",
    "check_formats",
    "convert",
    "export",
    "exported",
    "load",
    "query_example",
]
