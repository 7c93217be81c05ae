"""Reads a TensorFlow checkpoint of tf.keras with TensorFlow Addons' `WeightNormalization`."""

import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from keras_norms.surgery.loading import addons

_OPTIMIZER = ("optimizer", ".OPTIMIZER_SLOT")


def read(path, epsilon, momentum):
    """Returns the `Source` of a checkpoint.

    Args:
        path: Path of the checkpoint, without `.index`; or of a folder, whose latest checkpoint is read.
        epsilon, momentum: Floats, those of the batch norms, of which a checkpoint does not tell.
    """
    try:
        reader = tf.train.load_checkpoint(str(path))
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        return addons.from_variables(_variables(reader, graph), epsilon, momentum)
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint of tf.keras. {error}") from error


def _variables(reader, graph):
    found, keys = {}, {}
    for node in graph.nodes:
        for attribute in node.attributes:
            key, name = attribute.checkpoint_key, attribute.full_name
            if not name or any(part in _OPTIMIZER for part in pathlib.PurePosixPath(key).parts):
                continue
            if name in keys:
                raise ValueError(f"Two of its variables are called {name!r}: {keys[name]} and {key}.")
            keys[name], found[name] = key, reader.get_tensor(key)
    return found
