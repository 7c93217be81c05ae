"""The `tf.distribute` strategy under which a model was made."""

import tensorflow as tf


def strategy(model):
    """Returns the strategy that holds the variables of a model, or the current one where none does."""
    for variable in model.variables:
        if isinstance(variable.value, tf.distribute.DistributedValues):
            return variable.value.distribute_strategy
    return tf.distribute.get_strategy()
