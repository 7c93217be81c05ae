"""Which axes of a weight number the output units: those a norm or a statistic of the weight does not reduce.

Keras puts the units last, with the exceptions of the table in `output_axes`.
"""

import keras

from keras_norms.layers import arguments

_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


def output_axes(layer, name, rank):
    """Returns the axes of the output units of a layer's weight.

    | layer | weight | axes |
    | --- | --- | --- |
    | transposed convolutions | `kernel` (..., out, in) | -2 |
    | depthwise convolutions | `kernel` (..., in, multiplier) | -2, -1 |
    | separable convolutions | `depthwise_kernel` | -2, -1 |
    | `EinsumDense` | `kernel` | those in the output of the equation |
    | `Embedding` | `embeddings` (vocabulary, units) | 0 |
    | all others: dense, convolutions, recurrent cells | (..., out) | -1 |

    Args:
        layer: Keras layer that owns the weight.
        name: String, the attribute that holds the weight.
        rank: Integer, the weight's rank.

    Returns:
        Tuple of integers from 0.
    """
    if isinstance(layer, keras.layers.EinsumDense) and name == "kernel":
        return _einsum_axes(layer.equation)
    if isinstance(layer, keras.layers.Embedding) and name == "embeddings":
        return (0,)
    if isinstance(layer, _TRANSPOSED) and name == "kernel":
        return (rank - 2,)
    if name == ("kernel" if isinstance(layer, _DEPTHWISE) else "depthwise_kernel"):
        return rank - 2, rank - 1
    return (rank - 1,)


def given(axis, shape):
    """Returns the axes a user has named, as a tuple of integers from 0.

    Args:
        axis: Integer or sequence of integers.
        shape: Sequence of integers, the weight's shape.

    Raises:
        ValueError: The weight has no such axis.
    """
    rank = len(shape)
    chosen = [arguments.integer("axis", a) for a in (axis if isinstance(axis, list | tuple) else [axis])]
    if not all(-rank <= a < rank for a in chosen):
        raise ValueError(f"`axis` must name axes of a weight of shape {tuple(shape)}. Received: axis={axis!r}.")
    return tuple(sorted({a % rank for a in chosen}))


def _einsum_axes(equation):
    operands, output = equation.split("->")
    kernel = operands.split(",")[1].strip()
    return tuple(axis for axis, letter in enumerate(kernel) if letter in output)
