"""Where the variables of a model are: on one device, or a copy on each replica."""

import contextlib

import keras


def scope(model):
    """Returns the context in which new variables are placed as those of a model: the scope of its strategy, if any."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    from keras_norms.surgery import placement_tensorflow

    return placement_tensorflow.strategy(model).scope()
