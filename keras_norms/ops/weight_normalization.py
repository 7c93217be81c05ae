"""Weight normalization: the length of a weight vector is learned apart from its direction.

    w = scale * v / ||v||,    ||v|| = sqrt(sum(v ** 2) + epsilon)

with one scale and one norm per output unit: the sum runs over the axes that are
not kept. Salimans and Kingma, "Weight Normalization: A Simple Reparameterization
to Accelerate Training of Deep Neural Networks", 2016,
https://arxiv.org/abs/1602.07868. The scale is g there. The epsilon is ours (flax
has the same): a row of zeros stays one, with finite gradients.

Computed in float32 (float64 for float64 inputs) and returned in the dtype of v:
in half precision the sum of squares leaves the range.
"""

from keras import ops

from keras_norms.ops import precision


def norm(v, kept=(-1,), epsilon=1e-12):
    """Returns `sqrt(sum(v ** 2) + epsilon)` over the axes of `v` that are not in `kept`.

    Args:
        v: Floating tensor.
        kept: Sequence of integers, the axes of the output units; empty for one norm of all of `v`.
        epsilon: Float.

    Returns:
        Tensor, float32 or float64, with the lengths of the kept axes as its shape.
    """
    v = precision.wide(v)
    rank = len(v.shape)
    reduced = tuple(set(range(rank)) - {axis % rank for axis in kept})
    return ops.sqrt(ops.sum(ops.square(v), axis=reduced) + epsilon)


def normalized(v, scale=None, kept=(-1,), epsilon=1e-12):
    """Returns `scale * v / norm(v, kept, epsilon)`, in the dtype of `v`.

    Args:
        v: Floating tensor.
        scale: Tensor with the lengths of the kept axes as its shape; None for 1.
        kept: Sequence of integers, the axes of the output units.
        epsilon: Float.
    """
    v = ops.convert_to_tensor(v)
    wide = precision.wide(v)
    length = norm(v, kept, epsilon)
    factor = (1.0 if scale is None else ops.cast(scale, wide.dtype)) / length
    rank = len(v.shape)
    kept = {axis % rank for axis in kept}
    factor = ops.reshape(factor, [v.shape[axis] if axis in kept else 1 for axis in range(rank)])
    return ops.cast(wide * factor, v.dtype)
