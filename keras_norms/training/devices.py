"""The devices a run uses: all GPUs, or the CPU, split into as many as replicas are wanted."""

import functools

import tensorflow as tf

from keras_norms.data import shares


def worker_shares(strategy, context):
    """Returns the `shares.Shares` of every global batch that a worker's replicas compute on.

    Args:
        strategy: `tf.distribute.Strategy`.
        context: `tf.distribute.InputContext` of the worker.
    """
    own = strategy.num_replicas_in_sync // context.num_input_pipelines
    return shares.Shares(strategy.num_replicas_in_sync, context.input_pipeline_id * own, own)


def split_cpu(count):
    """Splits the CPU into logical devices, one for each replica.

    Args:
        count: Integer, the number of devices wanted; more may exist.

    Raises:
        ValueError: TensorFlow has started with fewer.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    present = len(tf.config.get_logical_device_configuration(cpu) or [None])
    if present >= count:
        return
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        raise ValueError(
            f"The CPU must be split into {count} replicas before TensorFlow first uses it. "
            f"Received: a process in which TensorFlow has started with {present}. Start a new one."
        ) from error


@functools.lru_cache
def strategy(replicas=None):
    """Returns the `MirroredStrategy` of a run, the same object for the same number.

    Args:
        replicas: Integer, the number of replicas: GPUs where there are some, else logical CPU devices. `None` means
            all GPUs, or one CPU.

    Raises:
        ValueError: The number is not positive, or there are fewer GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if replicas is not None and replicas < 1:
        raise ValueError(f"`replicas` must be at least 1. Received: replicas={replicas}.")
    if not gpus:
        split_cpu(replicas or 1)
        # Not collectives, the default: those of a second strategy over the same devices clash (TensorFlow 2.21).
        reduction = tf.distribute.ReductionToOneDevice()
        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas or 1)], reduction)
    if replicas and replicas > len(gpus):
        raise ValueError(f"`replicas` must be at most the number of GPUs, {len(gpus)}. Received: replicas={replicas}.")
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(replicas or len(gpus))])
