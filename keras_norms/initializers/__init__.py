"""How weights start: initializers of one weight, and of whole models from a batch of data."""

from keras_norms.initializers.lsuv import lsuv
from keras_norms.initializers.orthonormal import Orthonormal
from keras_norms.initializers.report import Report, Row
from keras_norms.initializers.residual_weight_norm import residual_weight_norm
from keras_norms.initializers.weight_norm import weight_norm

__all__ = ["Orthonormal", "Report", "Row", "lsuv", "residual_weight_norm", "weight_norm"]
