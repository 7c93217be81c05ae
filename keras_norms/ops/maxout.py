"""Maxout: the largest of several linear functions of the input.

    y[j] = max(x[j], x[units + j], x[2 * units + j], ...),    units = channels / pieces

Goodfellow et al., "Maxout Networks", 2013, https://arxiv.org/abs/1302.4389. The
order of the channels is that of TensorFlow Addons: the first piece of every unit,
then the second of every unit, as when the outputs of several layers are
concatenated. Where pieces tie, the gradient goes to the first of them. NaN wins.
"""

import functools

from keras import ops

from keras_norms.ops import axes


def units(shape, pieces, axis=-1):
    """Returns the number of units that `pieces` channels each make of the channels of a tensor.

    Args:
        shape: Sequence of integers and None, the tensor's shape.
        pieces: Integer.
        axis: Integer, the channel axis.

    Raises:
        ValueError: The axis does not exist, its length is not known, or is no multiple of the pieces.
    """
    channels = axes.channels(shape, axis)
    if channels % pieces:
        raise ValueError(
            "`pieces` must divide the number of channels. "
            f"Received: pieces={pieces}, {channels} channels on axis={axis} of input shape={tuple(shape)}."
        )
    return channels // pieces


def maxout(x, pieces, axis=-1):
    """Returns the maximum over the pieces, in the dtype of `x`, with `channels / pieces` channels.

    Args:
        x: Floating tensor of any rank from 2.
        pieces: Integer, how many channels a unit is the maximum of.
        axis: Integer, the channel axis.
    """
    x = ops.convert_to_tensor(x)
    units(x.shape, pieces, axis)  # or refuses
    return functools.reduce(_larger, ops.split(x, pieces, axis=axis))


def _larger(one, other):
    # Not maximum, whose gradient at a tie depends on the backend; nor the maximum over an axis of pieces, which Keras
    # (3.15) refuses to take of an empty batch.
    return ops.where(ops.logical_or(one >= other, ops.isnan(one)), one, other)
