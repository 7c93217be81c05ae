"""Weight standardization: the weights of each output unit get mean 0 and variance 1.

    w = (v - mean) / sqrt(variance + epsilon)

with mean and biased variance of the weights of one output unit: over the axes that are
not kept. Qiao, Wang, Liu, Shen and Yuille, "Micro-Batch Training with Batch-Channel
Normalization and Weight Standardization", 2019, https://arxiv.org/abs/1903.10520. The
authors add their epsilon, 1e-5, to the deviation; ours, 1e-6 under the root, is that of
BiT and timm.

Scaled, so that the output of a unit keeps the variance of its inputs:

    w = scale * (v - mean) / sqrt(max(fan_in * variance, epsilon))

Brock, De and Smith, "Characterizing signal propagation to close the performance gap in
unnormalized ResNets", 2021, https://arxiv.org/abs/2101.08692, with the epsilon of the
authors' code, 1e-4. The scale is called gain there.

Computed in float32 (float64 for float64 inputs) and returned in the dtype of v.
"""

import math

from keras import ops

from keras_norms.ops import centred_moments, precision


def standardized(v, kept=(-1,), epsilon=1e-6):
    """Returns `(v - mean) / sqrt(variance + epsilon)`, in the dtype of `v`.

    Args:
        v: Floating tensor.
        kept: Sequence of integers, the axes of the output units; empty for one unit.
        epsilon: Float.
    """
    v = ops.convert_to_tensor(v)
    w = centred_moments.standardized(precision.wide(v), _reduced(v, kept), epsilon)
    return ops.cast(w, v.dtype)


def scaled_standardized(v, scale=None, kept=(-1,), epsilon=1e-4):
    """Returns `scale * (v - mean) / sqrt(max(fan_in * variance, epsilon))`, in the dtype of `v`.

    Args:
        v: Floating tensor.
        scale: Tensor with the lengths of the kept axes as its shape; None for 1.
        kept: Sequence of integers, the axes of the output units; empty for one unit.
        epsilon: Float.
    """
    v = ops.convert_to_tensor(v)
    wide, reduced = precision.wide(v), _reduced(v, kept)
    moments = centred_moments.over(wide, reduced)
    fan_in = math.prod(v.shape[axis] for axis in reduced)
    w = (wide - moments.mean - moments.residual) * ops.rsqrt(ops.maximum(fan_in * moments.variance, epsilon))
    if scale is not None:
        w = w * ops.reshape(scale, [1 if axis in reduced else length for axis, length in enumerate(v.shape)])
    return ops.cast(w, v.dtype)


def _reduced(v, kept):
    rank = len(v.shape)
    return tuple(sorted(set(range(rank)) - {axis % rank for axis in kept}))
