"""The memory that a training step needs, and the memory there is."""

import psutil
import tensorflow as tf


def resident():
    """Returns the bytes of the machine's memory that this process holds."""
    return psutil.Process().memory_info().rss


def on_devices():
    """Returns the bytes that the tensors of this process hold on its GPUs, or 0 where it has none."""
    gpus = range(len(tf.config.list_logical_devices("GPU")))
    return sum(tf.config.experimental.get_memory_info(f"GPU:{number}")["current"] for number in gpus)
