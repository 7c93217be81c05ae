"""An initializer of orthonormal filters."""

import math

import keras
from keras import ops

from keras_norms.layers import arguments, kept_axes


@keras.saving.register_keras_serializable(package="keras_norms")
class Orthonormal(keras.initializers.Orthogonal):
    """Draws filters of length `gain`, orthogonal to each other as far as there is room.

    Use it where `keras.initializers.Orthogonal` is used. That one makes the rows orthonormal where a layer has more
    outputs than inputs, and the filters shorter than 1, of different lengths; along the input channels of a
    transposed convolution; and all of a depthwise kernel to one filter for each multiplier. Here every filter has the
    same length in every layer. Where there are more filters than the `n` numbers of a filter, every `n` of them in
    turn are orthonormal, drawn apart from the others.

    The distribution is Haar's: no direction is preferred.

    Args:
        gain: Float, the length of the filters.
        seed: Integer, `keras.random.SeedGenerator` or `None`, as in `keras.initializers.Orthogonal`: with an integer
            or `None` every call of the initializer draws the same values.
        axis: Integer or sequence of integers, the axes of the weight that number its filters: -1 by default, -2 for
            transposed convolutions, (-2, -1) for depthwise ones.

    Example:
    >>> kernel = keras_norms.initializers.Orthonormal()((2, 3))
    >>> keras.ops.convert_to_numpy(keras.ops.norm(kernel, axis=0)).round(4).tolist()
    [1.0, 1.0, 1.0]

    Reference: [Saxe, McClelland and Ganguli, 2013](https://arxiv.org/abs/1312.6120)
    """

    def __init__(self, gain=1.0, seed=None, axis=-1):
        super().__init__(arguments.number("gain", gain), seed)
        self.axis = list(axis) if isinstance(axis, list | tuple) else axis

    def __call__(self, shape, dtype=None):
        if len(shape) < 2:
            raise ValueError(f"The weight must have a rank of at least 2. Received: shape={tuple(shape)}.")
        kept = kept_axes.given(self.axis, shape)
        reduced = [axis for axis in range(len(shape)) if axis not in kept]
        order = [*reduced, *kept]
        filters = self._filters(
            math.prod(shape[axis] for axis in reduced), math.prod(shape[axis] for axis in kept), dtype
        )
        filters = ops.reshape(filters, [shape[axis] for axis in order])
        return ops.transpose(filters, [order.index(axis) for axis in range(len(shape))])

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}

    def _filters(self, length, count, dtype):
        """Returns `count` filters as the columns of a matrix."""
        dtype = keras.backend.standardize_dtype(dtype)
        width = min(length, count)
        # No backend has a QR decomposition in half precision.
        normal = keras.random.normal(
            (math.ceil(count / max(width, 1)), length, width),
            seed=self.seed,
            dtype="float64" if dtype == "float64" else "float32",
        )
        q, r = ops.qr(normal)
        # The signs of r make q uniform (Mezzadri, 2007, https://arxiv.org/abs/math-ph/0609050).
        signs = ops.where(ops.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
        q = q * ops.cast(ops.expand_dims(signs, 1), q.dtype)
        side_by_side = ops.reshape(ops.transpose(q, (1, 0, 2)), (length, -1))
        return ops.cast(self.gain * side_by_side[:, :count], dtype)
