"""Batch statistics in inference: what Caffe's `use_global_stats: false` does in the test phase."""

import contextlib

from keras_norms.layers import moving_statistics


@contextlib.contextmanager
def used(model, synchronized):
    """Lets all layers of batch norm's family use statistics of the batch also in inference, within this context.

    The moving statistics stay as they are, and all that is off in inference stays off. It holds for what is traced in
    the context, by any thread.

    Args:
        model: Keras model.
        synchronized: Boolean, whether the statistics are those of the batches of all replicas together.

    Raises:
        ValueError: The model has no such layer.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, moving_statistics.MovingStatistics)]
    if not layers:
        raise ValueError(
            "Only a network with batch norm or one of its family has batch statistics, and a SavedModel has given "
            f"them up: use --statistics=moving. Received: {model.name}, which has none."
        )
    before = [(layer.use_global_stats, layer.synchronized) for layer in layers]
    for layer in layers:
        layer.use_global_stats, layer.synchronized = False, synchronized
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.use_global_stats, layer.synchronized = own
