"""Networks from the literature, each with any normalization."""

from keras_norms.models.activations import ACTIVATIONS
from keras_norms.models.blocks import NORMALIZATIONS, Blocks, Normalization
from keras_norms.models.catalogue import ARCHITECTURES, Architecture, build
from keras_norms.models.multiply_adds import multiply_adds

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "NORMALIZATIONS",
    "Architecture",
    "Blocks",
    "Normalization",
    "build",
    "multiply_adds",
]
