"""Keras layers around the equations of `keras_norms.ops`."""

from keras_norms.layers.batch_norm import BatchNorm
from keras_norms.layers.batch_norm_placement import BatchNormAfter, BatchNormBefore
from keras_norms.layers.batch_renorm import BatchRenorm
from keras_norms.layers.bias import Bias
from keras_norms.layers.evonorm import EvoNormB0, EvoNormS0
from keras_norms.layers.filter_response_norm import FilterResponseNorm
from keras_norms.layers.ghost_batch_norm import GhostBatchNorm
from keras_norms.layers.group_norm import GroupNorm
from keras_norms.layers.grouped_convolution import GroupedConv2D
from keras_norms.layers.instance_norm import InstanceNorm
from keras_norms.layers.layer_norm import LayerNorm
from keras_norms.layers.local_response_norm import LocalResponseNorm
from keras_norms.layers.maxout import Maxout
from keras_norms.layers.mean_only_batch_norm import MeanOnlyBatchNorm
from keras_norms.layers.normprop import NormProp, NormPropAdd
from keras_norms.layers.prelu import PReLU
from keras_norms.layers.rms_norm import RMSNorm
from keras_norms.layers.rrelu import DivisorRReLU, RReLU
from keras_norms.layers.scale import Scale
from keras_norms.layers.trelu import TPReLU, TReLU
from keras_norms.layers.vlrelu import VLReLU
from keras_norms.layers.weight_normalization import WeightNormalization
from keras_norms.layers.weight_standardization import ScaledWeightStandardization, WeightStandardization

__all__ = [
    "BatchNorm",
    "BatchNormAfter",
    "BatchNormBefore",
    "BatchRenorm",
    "Bias",
    "DivisorRReLU",
    "EvoNormB0",
    "EvoNormS0",
    "FilterResponseNorm",
    "GhostBatchNorm",
    "GroupNorm",
    "GroupedConv2D",
    "InstanceNorm",
    "LayerNorm",
    "LocalResponseNorm",
    "Maxout",
    "MeanOnlyBatchNorm",
    "NormProp",
    "NormPropAdd",
    "PReLU",
    "RMSNorm",
    "RReLU",
    "Scale",
    "ScaledWeightStandardization",
    "TPReLU",
    "TReLU",
    "VLReLU",
    "WeightNormalization",
    "WeightStandardization",
]
