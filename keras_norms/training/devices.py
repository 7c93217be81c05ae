"""The devices a run uses: all GPUs, or the CPU, split into as many as replicas are wanted; several machines, too."""

import contextlib
import faulthandler
import functools
import sys

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context as eager_context

from keras_norms.data import shares
from keras_norms.training import cluster, rendezvous

# Seconds without a sign of life after which a worker counts as lost: half of the minute within which the others end.
# TensorFlow's own 10 s end a run in which a machine is merely busy.
_HEARTBEAT = 30
# Seconds in which TensorFlow must have started, once all workers are there.
_START = 60


def worker_shares(strategy, context):
    """Returns the `shares.Shares` of every global batch that a worker's replicas compute on.

    Args:
        strategy: `tf.distribute.Strategy`.
        context: `tf.distribute.InputContext` of the worker.
    """
    own = strategy.num_replicas_in_sync // context.num_input_pipelines
    return shares.Shares(strategy.num_replicas_in_sync, context.input_pipeline_id * own, own)


def compiled(xla):
    """Returns whether XLA compiles what a replica computes.

    Args:
        xla: String, `"on"`, `"off"`, or `"auto"`: on for GPUs, off for CPUs, where it is slower.
    """
    return xla == "on" or (xla == "auto" and bool(tf.config.list_physical_devices("GPU")))


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


def strategy(replicas=None, about=None):
    """Returns the strategy of a run, the same object for the same number.

    It is a `MirroredStrategy`, or with several workers in TF_CONFIG a `MultiWorkerMirroredStrategy`, of which a process
    has one. The first call returns it when all workers have come.

    Args:
        replicas: Integer, the number of replicas: GPUs where there are some, else logical CPU devices. `None` means
            all GPUs, or one CPU. Several machines use all they have.
        about: Dict, as JSON, that must be equal on all workers when they come. None means an empty one.

    Raises:
        ValueError: The number is not positive, or there are fewer GPUs; the workers are not all about the same.
        OSError: The workers do not find together, see `rendezvous.meet`.
    """
    if cluster.size() == 1:
        return _mirrored(replicas)
    if not _multi_worker.cache_info().currsize:
        rendezvous.meet(cluster.addresses(), cluster.index(), about or {})
    return _multi_worker()


@functools.cache
def _mirrored(replicas):
    gpus = tf.config.list_physical_devices("GPU")
    if replicas is not None and replicas < 1:
        raise ValueError(f"`replicas` must be at least 1. Received: replicas={replicas}.")
    if not gpus:
        split_cpu(replicas or 1)
        # Not collectives, the default: those of a second strategy over the same devices clash (TensorFlow 2.21).
        # Two by two: see `steps.training_step`.
        reduction = tf.distribute.ReductionToOneDevice(accumulation_fn=functools.partial(functools.reduce, tf.add))
        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas or 1)], reduction)
    if replicas and replicas > len(gpus):
        raise ValueError(f"`replicas` must be at most the number of GPUs, {len(gpus)}. Received: replicas={replicas}.")
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(replicas or len(gpus))])


@functools.cache
def _multi_worker():
    # No public function sets the heartbeat (TensorFlow 2.21).
    jobs = [coordination_config_pb2.CoordinatedJob(name=role, num_tasks=n) for role, n in cluster.roles().items()]
    eager_context.context().configure_coordination_service(
        "standalone",
        service_leader=f"/job:{jobs[0].name}/replica:0/task:0",
        heartbeat_timeout_in_ms=1000 * _HEARTBEAT,
        coordinated_jobs=jobs,
    )
    kinds = tf.distribute.experimental.CommunicationImplementation
    kind = kinds.AUTO if tf.config.list_physical_devices("GPU") else kinds.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind)
    with _ended_when_it_hangs():
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


@contextlib.contextmanager
def _ended_when_it_hangs():
    """Ends the process, from outside Python, if TensorFlow waits for a worker that was lost as it started."""
    faulthandler.dump_traceback_later(_START, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
