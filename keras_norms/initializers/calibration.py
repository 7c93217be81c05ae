"""Layer after layer in the order of execution: each is corrected before the next one sees its outputs."""

import collections.abc
import contextlib

import keras

from keras_norms.initializers import linear_layers, report
from keras_norms.layers import watching


def in_order(model, batch, layers, calibrate):
    """Runs a model on a batch, and calibrates each layer at its first use.

    What runs next sees the outputs of the corrected layer. Dropout and other noise are off. Batch normalization
    normalizes with the statistics of the batch, as in training, but its moving statistics stay as they are.

    If anything fails, all variables get the values back that they had.

    Args:
        model: Built Keras model.
        batch: What the model takes.
        layers: Sequence of layers of the model.
        calibrate: Function of a layer, the positional and the keyword arguments of its `call`. Corrects its weights
            and returns a `report.Row`.

    Returns:
        Tuple of the rows, in the order of execution; layers that the batch does not reach last. Of several layers that
        wrap the same one, the first is calibrated.

    Raises:
        ValueError: The batch does not fit, or reaches none of the layers.
    """
    rows, owners = {}, {}

    def observe(layer, args, kwargs, outputs):
        if id(layer) in rows:
            return None
        if not _has_values(outputs):
            rows[id(layer)] = skipped(layer, "runs in a compiled function")
            return None
        if owners.setdefault(id(linear_layers.base(layer)), layer) is not layer:
            rows[id(layer)] = _sharing(layer)
            return None
        rows[id(layer)] = _Uncast(autocast=False)(keras.ops.zeros(()), function=lambda: corrected(layer, args, kwargs))
        return layer.call(*args, **kwargs)

    def corrected(layer, args, kwargs):
        safe.keep(layer.variables)
        return calibrate(layer, args, kwargs)

    _check_batch(model, batch)
    with Restoring() as safe, watching.observed(layers, observe), _batch_statistics(model):
        model(batch, training=False)
    if not rows:
        raise ValueError(
            f"`batch` must reach a layer to initialize. Received: a batch that reaches none of {len(layers)}, from "
            f"{linear_layers.path(layers[0])!r} on. It may be for another input of the model, or they may run in a "
            "compiled function (a `call` that is a `tf.function` already traced): initialize before it is traced."
        )
    unreached = [layer for layer in layers if id(layer) not in rows]
    reason = "the batch does not reach it, or only in a compiled function"
    return *rows.values(), *(skipped(layer, reason) for layer in unreached)


class Restoring(contextlib.AbstractContextManager):
    """Gives variables their values back if the context ends with an error."""

    def __init__(self):
        self._before = {}

    def keep(self, variables):
        """Remembers the values of variables."""
        for variable in variables:
            self._before.setdefault(id(variable), (variable, linear_layers.read(variable)))

    def __exit__(self, error, *_):
        if error is not None:
            for variable, value in self._before.values():
                variable.assign(value)


class _Uncast(keras.Layer):
    """Calls a function where variables have the dtype they are stored in.

    In the call of a layer in mixed precision they read as rounded copies, and on PyTorch it is the copy that is
    assigned to (Keras 3.15). A layer of its own, for only the call of a layer without casting leaves that scope:
    `AutocastScope` is not public there.
    """

    def call(self, inputs, function):
        return function()


def skipped(layer, reason):
    """Returns the row of a layer that stays as it is."""
    return report.Row(linear_layers.path(layer), note=f"skipped: {reason}")


def _sharing(layer):
    shared = linear_layers.path(layer)
    return report.Row(layer.path or layer.name, note=f"skipped: shares its weights with {shared}")


def check_model(model):
    """Refuses what is no built model."""
    if not isinstance(model, keras.Layer) or not model.built:
        raise ValueError(f"`model` must be a built Keras model: call it on a batch first. Received: model={model}.")


def some(model, wanted, kind):
    """Returns the layers of a model that are wanted, or refuses a model without any.

    Args:
        model: Keras model.
        wanted: Function of a layer, to a boolean.
        kind: String, what a wanted layer is.
    """
    layers = [layer for layer in linear_layers.everywhere(model) if wanted(layer)]
    if not layers:
        raise ValueError(f"`model` must have a {kind}. Received: model={model} without one.")
    return layers


def _check_batch(model, batch):
    arrays = keras.tree.flatten(batch)
    wrong = [x for x in arrays if not hasattr(x, "shape")]
    if wrong or not arrays:
        kinds = [type(batch).__name__, *(type(x).__name__ for x in wrong[:1] if x is not batch)]
        raise ValueError(
            "`batch` must be an array, or a list or dict of arrays: what the model is called with; of a dataset one "
            f"batch. Received: {' of '.join(kinds)}."
        )
    shapes = [tuple(x.shape) for x in arrays]
    if any(0 in shape for shape in shapes):
        raise ValueError(f"`batch` must have rows. Received: arrays of shapes {shapes}.")
    inputs = _inputs(model)
    # Of a dict a model picks what it needs. A `Sequential` takes the first of several arrays.
    if inputs is not None and len(arrays) != inputs and not isinstance(batch, collections.abc.Mapping):
        raise ValueError(
            f"`batch` must be what the model is called with, {inputs} array(s), without targets. "
            f"Received: {len(arrays)} arrays of shapes {shapes}."
        )


def _inputs(model):
    """Returns how many arrays a model takes, or None where it does not say."""
    symbolic = getattr(model, "inputs", None)
    if isinstance(symbolic, list | tuple):
        return len(symbolic)
    shape = (model.get_build_config() or {}).get("input_shape")
    one = isinstance(shape, list | tuple) and all(x is None or isinstance(x, int) for x in shape)
    return 1 if one else None


def _has_values(outputs):
    try:
        return all(keras.ops.convert_to_numpy(x) is not None for x in keras.tree.flatten(outputs))
    except (NotImplementedError, TypeError, RuntimeError):  # TensorFlow's, JAX's and PyTorch's words for a tracer
        return False


def _batch_statistics(model):
    normalizing = [layer for layer in linear_layers.nested(model) if _has_moving_statistics(layer)]

    def observe(layer, args, kwargs, outputs):
        with keras.StatelessScope():
            return layer.call(*args, **{**kwargs, "training": True})

    return watching.observed(normalizing, observe)


def _has_moving_statistics(layer):
    return hasattr(layer, "moving_mean") or hasattr(layer, "moving_variance")
