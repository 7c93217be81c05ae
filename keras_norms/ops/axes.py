"""The channel axis: which one it is, how long, and how to broadcast one value per channel along it."""

from keras import ops


def positive(axis, rank):
    """Returns `axis` counted from the front.

    Args:
        axis: Integer, negative values count from the back.
        rank: Integer, the rank of the tensor.

    Raises:
        ValueError: The tensor has no such axis, or it is the batch axis.
    """
    if not -rank < axis < rank or axis == 0:
        raise ValueError(
            f"`axis` must name an axis of an input of rank {rank} other than the batch axis 0: "
            f"{1 - rank} to {rank - 1} without 0. Received: axis={axis}."
        )
    return axis % rank


def channels(shape, axis):
    """Returns the length of the channel axis.

    Args:
        shape: Sequence of integers and None, a tensor's shape.
        axis: Integer, the channel axis.

    Raises:
        ValueError: The axis does not exist or its length is not known.
    """
    length = shape[positive(axis, len(shape))]
    if length is None:
        raise ValueError(
            f"The channel axis needs a known length: give the input one, or another `axis`. "
            f"Received: axis={axis}, input shape={tuple(shape)}."
        )
    return length


def others(rank, axis):
    """Returns the axes a statistic of the channels reduces over: all but `axis`."""
    axis = positive(axis, rank)
    return tuple(i for i in range(rank) if i != axis)


def positions(rank, axis):
    """Returns the axes a statistic of the channels of one example reduces over: all but the batch axis and `axis`."""
    return tuple(i for i in others(rank, axis) if i > 0)


def along_channels(values, x, axis):
    """Returns `values` of shape `(channels,)`, reshaped to broadcast against `x` along `axis`."""
    return along(values, x, (axis,))


def along(values, x, chosen):
    """Returns `values`, reshaped to broadcast against `x` along several axes.

    Args:
        values: Tensor with one axis for each in `chosen`, in the order they have in `x`; a scalar for none.
        x: Tensor.
        chosen: Sequence of integers, axes of `x`.
    """
    rank = len(x.shape)
    lengths = dict(zip(sorted(positive(axis, rank) for axis in chosen), values.shape, strict=True))
    return ops.reshape(values, [lengths.get(i, 1) for i in range(rank)])


def along_mask(mask, x, axis):
    """Returns `mask`, reshaped and broadcast to the shape of `x` with a channel axis of length 1.

    Args:
        mask: Boolean tensor whose axes are the first ones of `x`, the channel axis left out:
            `(batch,)`, `(batch, time)`, ..., up to one value per position.
        x: Tensor.
        axis: Integer, the channel axis of `x`.

    Raises:
        ValueError: The mask has too many axes.
    """
    rank = len(x.shape)
    axis = positive(axis, rank)
    if len(mask.shape) > rank - 1:
        raise ValueError(
            f"`mask` must have at most one axis less than the input: one value per position, not per channel. "
            f"Received: mask of shape {tuple(mask.shape)}, input of shape {tuple(x.shape)}."
        )
    positions = [length for i, length in enumerate(ops.shape(x)) if i != axis]
    mask = ops.reshape(ops.cast(mask, "bool"), [*ops.shape(mask), *[1] * (rank - 1 - len(mask.shape))])
    return ops.expand_dims(ops.broadcast_to(mask, positions), axis)
