"""The signature `serving_default` of a SavedModel, called as Python programs call it."""

import tensorflow as tf

from benchmarks.contest.entrant import Workload
from benchmarks.peers import inference_images


def make(path, batch, size):
    """
    Args:
        path: String, the folder of the SavedModel.
    """
    loaded = tf.saved_model.load(path)
    serve = loaded.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    images = tf.constant(inference_images.random(batch, size))
    # By way of what was loaded, which owns the variables.
    return Workload(
        lambda: loaded.signatures["serving_default"](**{name: images}),
        {"operations": len(serve.graph.get_operations())},
    )
