"""Leaky rectifiers: a line of one slope below zero, of slope 1 above it.

    y = x where x > 0, slope * x elsewhere

With a fixed slope it is the leaky ReLU (Maas, Hannun and Ng, "Rectifier
Nonlinearities Improve Neural Network Acoustic Models", 2013), with a learned one
the PReLU (He et al., 2015, https://arxiv.org/abs/1502.01852), with a random one
the RReLU (Xu et al., 2015, https://arxiv.org/abs/1505.00853). Zero counts as
negative, as in Caffe and PyTorch.

Computed in float32 (float64 for float64 inputs), lest the gradient of the slope be
summed in half precision, and returned in the input's dtype.
"""

from keras import ops

from keras_norms.ops import precision


def leaky_relu(x, slope):
    """Returns `x` where it is above 0 and `slope * x` elsewhere, in the dtype of `x`.

    Args:
        x: Floating tensor.
        slope: Number, or tensor that broadcasts against `x`.
    """
    x = ops.convert_to_tensor(x)
    wide = precision.wide(x)
    slope = ops.convert_to_tensor(slope, dtype=wide.dtype)
    return ops.cast(ops.where(wide > 0, wide, slope * wide), x.dtype)
