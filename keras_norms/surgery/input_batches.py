"""The inputs of a model, batch after batch, from what `fit` takes."""

import itertools

import keras
import numpy as np

from keras_norms.layers import arguments


def of(dataset, batches):
    """Yields the inputs of a model and which of their rows count.

    Args:
        dataset: Iterable of batches. Each is an array, a dict of arrays, or a tuple (inputs, targets) or (inputs,
            targets, weights), as `fit` takes them: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a list, a generator.
        batches: Integer of at least 1, how many to take, or None for all.

    Yields:
        Pair of the inputs, arrays or tensors of the backend, and a Boolean array of shape `(batch,)`: False where a
        weight of shape `(batch,)` is 0. It is None where there are no such weights.

    Raises:
        ValueError: There are fewer batches, none, or no end of them; a batch is something else.
    """
    if batches is not None:
        arguments.integer("batches", batches, minimum=1)
    taken = 0
    for batch in itertools.islice(_iterated(dataset, batches), batches):
        taken += 1
        x, _, weights = keras.utils.unpack_x_y_sample_weight(batch)
        yield keras.tree.map_structure(_array, x), _rows(weights)
    if not taken or (batches is not None and taken < batches):
        raise ValueError(
            f"`dataset` must have {'a batch' if batches is None else 'as many batches as `batches` asks'}. Received: "
            f"batches={batches}, a dataset of {taken}."
        )


def _iterated(dataset, batches):
    if hasattr(dataset, "__array__"):
        raise ValueError(
            "`dataset` must be an iterable of batches. Received: an array of shape "
            f"{tuple(dataset.shape)}. For one batch of all examples give [array]."
        )
    if isinstance(dataset, keras.utils.PyDataset):
        # It has no end of its own: iteration would ask for one item after the other.
        length = dataset.num_batches
        _check_end(length is None, batches)
        return (dataset[i] for i in range(batches if length is None else length))
    if callable(getattr(dataset, "cardinality", None)):  # tf.data: -1 if it does not end
        _check_end(int(dataset.cardinality()) == -1, batches)
    return iter(dataset)


def _check_end(endless, batches):
    if endless and batches is None:
        raise ValueError("A dataset without an end needs `batches`. Received: batches=None.")


def _array(x):
    if keras.ops.is_tensor(x):
        return x
    if hasattr(x, "__array__"):
        return np.asarray(x)
    raise ValueError(
        "A batch must be an array, a dict of arrays, or a tuple (inputs, targets, weights). Received: inputs of class "
        f"{type(x).__name__}."
    )


def _rows(weights):
    if weights is None or not hasattr(weights, "__array__"):
        return None
    weights = keras.ops.convert_to_numpy(weights) if keras.ops.is_tensor(weights) else np.asarray(weights)
    return weights != 0 if weights.ndim == 1 else None
