"""Keras layers around the equations of `keras_norms.ops`."""

from keras_norms.layers.batch_norm import BatchNorm
from keras_norms.layers.batch_norm_placement import BatchNormAfter, BatchNormBefore
from keras_norms.layers.bias import Bias
from keras_norms.layers.grouped_convolution import GroupedConv2D
from keras_norms.layers.local_response_norm import LocalResponseNorm
from keras_norms.layers.scale import Scale

__all__ = ["BatchNorm", "BatchNormAfter", "BatchNormBefore", "Bias", "GroupedConv2D", "LocalResponseNorm", "Scale"]
