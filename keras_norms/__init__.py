"""Normalization of convolutional networks in Keras 3.

The layers stand here; `keras_norms.models` builds networks of them. `keras_norms.data`,
`keras_norms.training` and `keras_norms.export` need TensorFlow and are imported by name.
"""

from keras_norms import layers, models
from keras_norms.layers import (
    BatchNorm,
    BatchNormAfter,
    BatchNormBefore,
    Bias,
    GroupedConv2D,
    LocalResponseNorm,
    Scale,
)
from keras_norms.version import __version__

__all__ = [
    "BatchNorm",
    "BatchNormAfter",
    "BatchNormBefore",
    "Bias",
    "GroupedConv2D",
    "LocalResponseNorm",
    "Scale",
    "__version__",
    "layers",
    "models",
]
