"""Translated rectifiers: a ReLU and a PReLU whose corner lies at a learned threshold.

    TReLU(x)  = ReLU(x - threshold) + threshold = max(x, threshold)
    TPReLU(x) = PReLU(x - threshold) + threshold
              = x where x > threshold, slope * (x - threshold) + threshold elsewhere

Xiang and Li, "On the Effects of Batch and Weight Normalization in Generative
Adversarial Networks", 2017, https://arxiv.org/abs/1704.03971. The threshold is
alpha there. Thresholds and slopes are one per channel, here as there. The slope
acts clamped to [0, 1] and learns there alone, as in the authors' PyTorch code.

At the threshold itself an input counts as below it, as zero does in a ReLU; the
authors' Lua code has it the other way. Computed in float32 (float64 for float64
inputs), lest the gradients of thresholds and slopes be summed in half precision,
and returned in the input's dtype.
"""

import keras
from keras import ops

from keras_norms.ops import axes, precision


def translated_relu(x, threshold, axis=-1):
    """Returns `max(x, threshold)`, with the shape and dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        threshold: Tensor of shape `(channels,)`.
        axis: Integer, the channel axis of `x`.
    """
    wide = precision.wide(x)
    if keras.backend.backend() == "tensorflow" and axes.positive(axis, len(wide.shape)) == len(wide.shape) - 1:
        from keras_norms.ops import trelu_tensorflow

        return _as(x, trelu_tensorflow.translated_relu(wide, ops.cast(threshold, wide.dtype)))
    threshold = _along_channels(threshold, wide, axis)
    # Not relu(x - t) + t, which rounds x. Not maximum, whose gradient at a tie depends on the backend: here a tie is
    # clipped. Not where(x > t, x, t), which makes a threshold of NaN.
    return _as(x, ops.where(wide <= threshold, threshold, wide))


def translated_prelu(x, threshold, slope, axis=-1):
    """Returns `x` above the threshold and `slope * (x - threshold) + threshold` elsewhere, in the dtype of `x`.

    Args:
        x: Floating tensor of any rank from 2.
        threshold: Tensor of shape `(channels,)`.
        slope: Tensor of shape `(channels,)`. Outside [0, 1] the nearest of both bounds acts, and the gradient is 0.
        axis: Integer, the channel axis of `x`.
    """
    wide = precision.wide(x)
    threshold = _along_channels(threshold, wide, axis)
    slope = _clamped(_along_channels(slope, wide, axis))
    return _as(x, ops.where(wide <= threshold, slope * (wide - threshold) + threshold, wide))


def _along_channels(values, x, axis):
    return axes.along_channels(ops.cast(values, x.dtype), x, axis)


def _clamped(slope):
    # Not clip alone: its gradient at 0 and 1 depends on the backend, and a slope that starts at 0 has to learn.
    inside = ops.logical_and(slope >= 0, slope <= 1)
    return ops.where(inside, slope, ops.stop_gradient(ops.clip(slope, 0.0, 1.0)))


def _as(x, y):
    return ops.cast(y, ops.convert_to_tensor(x).dtype)
