"""Layers of batch norm's family at work on batches, each normalizing with the statistics of its own inputs."""

import contextlib
import inspect
import threading

import keras
from keras import ops

from keras_norms.layers import batch_norm_placement, counted_rows, lending, watching
from keras_norms.ops import batch_norm
from keras_norms.surgery import batch_norm_family


def training_flags(model, layers, inputs):
    """Returns how training calls each layer.

    Args:
        model: Built Keras model.
        layers: Sequence of layers of the family.
        inputs: What the model takes.

    Returns:
        Dict from the `id` of each layer that is called, in the order of their first calls, to a list of Booleans,
        whether each call is in training mode. None stands for a call whose values cannot be read: in the body of a
        loop or in a compiled function.
    """
    flags = {}

    def observe(layer, args, kwargs, outputs):
        flag = bool(_arguments(layer.call, args, kwargs).get("training")) if _has_values(outputs) else None
        flags.setdefault(id(layer), []).append(flag)

    with _moving_statistics_in_use(layers), watching.observed(layers, observe), keras.StatelessScope():
        model(inputs, training=True)
    return flags


@contextlib.contextmanager
def measuring(model, layers):
    """Yields a function that runs a model on a batch in inference mode, without changing its state.

    Args:
        model: Built Keras model.
        layers: Sequence of layers of the family. In this context each normalizes with the statistics of its inputs.

    Yields:
        Function of the inputs, and of a Boolean array of the rows that count, or None. It returns, for each layer,
        the list of the `Moments` of what it took, one for each call, as arrays.
    """
    # Each replica of a strategy has a thread of its own, and waits amid its run for the others.
    replica = threading.local()

    def step(inputs, rows):
        replica.taken = {id(layer): [] for layer in layers}
        counted = contextlib.nullcontext() if rows is None else counted_rows.counted(rows)
        with counted, keras.StatelessScope():
            model(inputs, training=False)
        return [replica.taken[id(layer)] for layer in layers]

    def measured(layer, own_call):
        def call(*args, **kwargs):
            arguments = _arguments(own_call, args, kwargs)
            batch = _moments(layer, arguments["inputs"], arguments.get("mask"))
            replica.taken[id(layer)].append(batch)
            own = batch_norm_family.variables_and_values(layer, batch.mean + batch.residual, batch.variance)
            outputs, _ = lending.call_with(own_call, own, **{**arguments, "training": False})
            return outputs

        return call

    run = _run(step, model)
    with _moving_statistics_in_use(layers), contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_with_call(layer, measured(layer, layer.call)))
        yield lambda inputs, rows: keras.tree.map_structure(ops.convert_to_numpy, run(inputs, rows))


def _run(step, model):
    """Returns the function that runs a step in the way of the backend."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from keras_norms.surgery import placement_tensorflow, sweep_tensorflow

        return sweep_tensorflow.on_replicas(step, placement_tensorflow.strategy(model))
    if backend == "torch":
        from keras_norms.surgery import sweep_torch

        return sweep_torch.without_gradients(step)
    return step


def _moments(layer, inputs, mask):
    inputs = ops.cast(inputs, layer.compute_dtype)
    if isinstance(layer, batch_norm_placement.BatchNormAfter):
        inputs = layer.activation(inputs)
    return batch_norm.synchronized(batch_norm.moments(inputs, layer.axis, counted_rows.masked(mask, inputs)))


@contextlib.contextmanager
def _moving_statistics_in_use(layers):
    """Lets our layers normalize with their moving statistics, as Keras' do in inference: also in training."""
    ours = [layer for layer in layers if batch_norm_family.is_ours(layer)]
    before = [layer.use_global_stats for layer in ours]
    for layer in ours:
        layer.use_global_stats = True
    try:
        yield
    finally:
        for layer, own in zip(ours, before, strict=True):
            layer.use_global_stats = own


@contextlib.contextmanager
def _with_call(layer, call):
    # Not setattr: Keras tracks what is set on a layer, and PyTorch's modules do.
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def _arguments(call, args, kwargs):
    return inspect.signature(call).bind(*args, **kwargs).arguments


def _has_values(outputs):
    try:
        return all(ops.convert_to_numpy(x) is not None for x in keras.tree.flatten(outputs))
    except (NotImplementedError, TypeError, RuntimeError):  # TensorFlow's, JAX's and PyTorch's words for a tracer
        return False
