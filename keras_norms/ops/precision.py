"""The dtype that statistics are computed in."""

import keras
from keras import ops


def wide(x):
    """Returns `x` as float32, or as it is if it is float64."""
    x = ops.convert_to_tensor(x)
    return x if keras.backend.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")
