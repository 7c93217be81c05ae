"""The memory that a training step needs, and the memory there is.

Too little of it ends a process on the CPU in one of three ways (TensorFlow 2.21): the allocation of a tensor fails, a
`ResourceExhaustedError`; one inside an operation fails, a segmentation fault; or the operating system, which grants
more than there is, kills it when the memory is used. The last two cannot be caught: what is clearly too much is refused
before the first step.
"""

import math
import pathlib
import re
import resource

import keras
import psutil
import tensorflow as tf
from tensorflow.python.client import device_lib  # no public function tells how much memory a GPU has

# The files of the limit and of the use, and the name of the part of the use that can be dropped.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_CGROUPS, _OWN_CGROUPS = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/proc/self/cgroup")
# What is kept for the backward pass beside the inputs of layers with weights: a maximum asks which input it was, and
# branches that are concatenated end in activations, whose gradients ask for their outputs.
_KEEPING = (keras.layers.MaxPooling2D, keras.layers.Concatenate)
# Measured, see `needed`: a first step has taken at most this many times what is needed, and that many bytes beside.
_MOST, _BESIDE = 2.2, 250_000_000


def resident():
    """Returns the bytes of the machine's memory that this process holds."""
    return psutil.Process().memory_info().rss


def on_devices():
    """Returns the bytes that the tensors of this process hold on its GPUs, or 0 where it has none."""
    return sum(_used(gpu) for gpu in _gpus())


def available():
    """Returns the bytes that this process can still get: those of the GPU that has the fewest, or of the machine.

    On the machine it is the least of what is free or can be freed, what is left of the limits of the process's control
    groups (version 1 or 2, not counting files that can be dropped), and what is left of its limit of address space.
    """
    limits = {device.name: device.memory_limit for device in device_lib.list_local_devices()} if _gpus() else {}
    if limits:
        return min(limits[f"/device:{gpu}"] - _used(gpu) for gpu in _gpus())
    return max(0, min([psutil.virtual_memory().available, *_left_in_cgroups(), *_left_of_address_space()]))


def needed(model, batch_size):
    """Returns the bytes that a training step surely allocates beside weights and optimizer, a lower bound.

    These are the gradients, and the outputs of layers that are kept for the backward pass: the inputs of layers with
    weights, of max pooling and of concatenations. Workspaces, copies, and what else an operation keeps come to it.

    Measured: by how many MB the first steps made the process grow at its peak (TensorFlow 2.21, oneDNN, 2 cores,
    float32 unless said), and in brackets what this function returns.

    resnet20       batch_norm_before 8: 84 (13), 128: 330 (196), 512: 979 (780); with XLA 512: 1303 (780);
                   mixed_bfloat16 512: 541 (394); none 512: 572 (394); normprop 512: 722 (394);
                   weight_norm 256: 321 (197)
    caffenet128    none 16: 168 (71), 64: 258 (126), 256: 632 (344); batch_norm_after 128: 486 (300)
    googlenet128   batch_norm_before 4: 342 (89), 16: 581 (234), 64: 1460 (815); none 64: 1125 (544)

    Args:
        model: Functional Keras model.
        batch_size: Integer, the images on one replica at a time.
    """
    gradients = sum(_bytes(variable.shape, variable.dtype) for variable in model.trainable_variables)
    return gradients + batch_size * _per_image(model)


def check(model, batch_size, replicas, available, micro_batches=1, workers=1):
    """Refuses a batch that clearly does not fit, and tells which one would.

    Args:
        model: Functional Keras model, built, with its optimizer.
        batch_size: Integer, of all replicas together.
        replicas: Integer, the number on all machines together.
        available: Integer, the bytes of `available()`.
        micro_batches: Integer, the parts in which a replica computes its share.
        workers: Integer, the number of machines.

    Raises:
        ValueError: What is surely needed is more than there is.
    """
    share, together = _share(batch_size, replicas, micro_batches), _together(replicas, workers)
    least = together * needed(model, share)
    if least > available:
        raise ValueError(
            f"`batch_size` must fit into memory. A step needs {_text(least)} at least, {_text(available)} are "
            f"available. {_advice(model, batch_size, replicas, workers, available, share - 1)} "
            f"Received: batch_size={batch_size} on {replicas} replica(s), micro_batches={micro_batches}."
        )


def explained(error, model, batch_size, replicas, available, micro_batches=1, workers=1):
    """Returns a `RuntimeError` that says what to do about a step which did not get its memory.

    Args:
        error: `tf.errors.ResourceExhaustedError` of the step.
        model, batch_size, replicas, micro_batches, workers: See `check`.
        available: Integer, the bytes of `available()` before the step.
    """
    share = _share(batch_size, replicas, micro_batches)
    cause = re.search("(OOM when|Out of memory).*", str(error))
    return RuntimeError(
        f"A step of {batch_size} images on {replicas} replica(s) did not get its memory; {_text(available)} were "
        f"available before it. {_advice(model, batch_size, replicas, workers, available, share // 2)}"
        + (f" TensorFlow: {cause[0]}" if cause else "")
    )


def _advice(model, batch_size, replicas, workers, available, most):
    """Returns what to do so that no replica has more images at a time than fit, and than `most`."""
    per_replica = (available / _together(replicas, workers) - _BESIDE) / _MOST
    fitting = min(most, int((per_replica - needed(model, 0)) // _per_image(model)))
    if fitting < 1:
        return "No batch fits: take a smaller network, smaller images, or a machine with more memory."
    share = 2 ** int(math.log2(fitting))
    parts = math.ceil(math.ceil(batch_size / replicas) / share)
    return f"Try --batch_size={share * replicas}, or --micro_batches={parts} for the same batch in parts."


def _share(batch_size, replicas, micro_batches):
    return math.ceil(batch_size / (replicas * micro_batches))


def _together(replicas, workers):
    """Returns how many replicas share one memory."""
    return 1 if _gpus() else replicas // workers


def _per_image(model):
    layers = (layer for layer in model.layers if layer.weights or isinstance(layer, _KEEPING))
    kept = {id(tensor): tensor for layer in layers for tensor in keras.tree.flatten(layer.input)}
    return sum(_bytes(tensor.shape[1:], tensor.dtype) for tensor in kept.values())


def _bytes(shape, dtype):
    return math.prod(shape) * tf.as_dtype(dtype).size


def _gpus():
    # Not the logical devices, which are those of all machines where there are several.
    return [f"GPU:{number}" for number in range(len(tf.config.get_visible_devices("GPU")))]


def _used(gpu):
    return tf.config.experimental.get_memory_info(gpu)["current"]


def _left_of_address_space():
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms


def _left_in_cgroups():
    """Yields what is left of the limit of each control group this process is in, and of those above."""
    for line in _OWN_CGROUPS.read_text().splitlines() if _OWN_CGROUPS.exists() else ():
        _, controllers, own = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = _CGROUPS / "memory" if controllers else _CGROUPS
        limit, use, file = _VERSION_1 if controllers else _VERSION_2
        for group in (own, *pathlib.PurePosixPath(own).parents):
            folder = root / str(group).lstrip("/")
            text = _content(folder / limit)
            if text and text != "max":
                statistics = dict(line.split() for line in _content(folder / "memory.stat").splitlines())
                yield int(text) - (int(_content(folder / use)) - int(statistics.get(file, 0)))


def _content(path):
    return path.read_text().strip() if path.exists() else ""


def _text(count):
    return f"{count / 1e9:.2f} GB"
