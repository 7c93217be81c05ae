"""Rows of a batch that do not count: a mask for all layers under a call.

A batch that does not divide over replicas is filled up with rows that mean nothing, so that every replica computes on
one shape. Keras' own masks do not get past a convolution, which drops them.
"""

import contextlib
import threading

from keras import ops

# Of this thread: `tf.distribute` traces each replica in one of its own.
_LOCAL = threading.local()


@contextlib.contextmanager
def counted(rows):
    """Lets only some rows of the batch count in batch statistics, in all layers that are called in this context.

    The layers of batch norm's family take them as they take a mask. The other layers know nothing of them: a row's
    outputs depend on that row alone.

    Args:
        rows: Boolean tensor of shape `(batch,)`.

    Example:
    >>> layer = keras_norms.BatchNorm(momentum=0.0)
    >>> with keras_norms.layers.counted_rows.counted(np.array([True, True, False])):
    ...     outputs = layer(np.array([[1.0], [3.0], [0.0]]), training=True)
    >>> float(layer.statistics()[0][0])
    2.0
    """
    outer = rows_that_count()
    _LOCAL.rows = rows
    try:
        yield
    finally:
        _LOCAL.rows = outer


def rows_that_count():
    """Returns the rows of the innermost context, or None outside one."""
    return getattr(_LOCAL, "rows", None)


def masked(mask, inputs):
    """Returns a layer's mask without the rows that do not count; None where all of the inputs counts.

    Args:
        mask: None or Boolean tensor with the first axes of the inputs.
        inputs: Tensor.

    Raises:
        ValueError: The inputs have not as many rows as were told to count or not.
    """
    rows = rows_that_count()
    if rows is None:
        return mask
    if inputs.shape[0] is not None and inputs.shape[0] != rows.shape[0]:
        raise ValueError(
            "Rows can be left out only where a layer's first axis is that of the batch. "
            f"Received: inputs of shape {tuple(inputs.shape)}, rows of shape {tuple(rows.shape)}."
        )
    if mask is None:
        return rows
    return ops.logical_and(mask, ops.reshape(rows, [-1] + [1] * (len(mask.shape) - 1)))
