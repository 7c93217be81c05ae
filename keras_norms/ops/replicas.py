"""What replicas of a model tell each other; on one device, nothing.

Replicas exist where TensorFlow's strategies make them. Other backends compute on
one device, or (JAX with `keras.distribution`) on global arrays, whose batch
statistics are those of all devices already.
"""

import keras
from keras import ops


def all_gather(vector):
    """Returns the vectors of all replicas, of shape `(replicas, length)`, differentiable.

    Args:
        vector: Floating tensor of shape `(length,)`, the same length on every replica.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.expand_dims(vector, 0)
    from keras_norms.ops import replicas_tensorflow

    return replicas_tensorflow.all_gather(vector)


def mean(variables):
    """Returns the values of variables, each averaged over the replicas that hold a copy of their own.

    Args:
        variables: List of `keras.Variable` of one dtype.
    """
    if keras.backend.backend() != "tensorflow":
        return [ops.convert_to_tensor(variable) for variable in variables]
    from keras_norms.ops import replicas_tensorflow

    return replicas_tensorflow.mean(variables)
