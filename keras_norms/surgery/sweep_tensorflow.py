"""A step on all replicas of a strategy, each with its part of the batch."""

import keras
import tensorflow as tf


def on_replicas(step, strategy):
    """Returns a function of (inputs, rows) that runs a step on the replicas and returns what the first one does.

    The parts are consecutive rows, as equal as they can be.

    Args:
        step: Function of the inputs and of the rows that count, whose results are the same on all replicas.
        strategy: `tf.distribute.Strategy`.
    """

    @tf.function
    def run(inputs, rows):
        results = strategy.run(step, args=(inputs, rows))
        return keras.tree.map_structure(lambda result: strategy.experimental_local_results(result)[0], results)

    def divided(values):
        replicas, length = strategy.num_replicas_in_sync, len(values)

        def part(context):
            replica = context.replica_id_in_sync_group
            return tf.convert_to_tensor(values[length * replica // replicas : length * (replica + 1) // replicas])

        return strategy.experimental_distribute_values_from_function(part)

    def run_divided(inputs, rows):
        length, replicas = len(keras.tree.flatten(inputs)[0]), strategy.num_replicas_in_sync
        if length < replicas:
            # Each replica gets a row, if one that does not count: of no rows oneDNN's convolution, the default on CPUs,
            # makes a tensor with the shape of its input (TensorFlow 2.21).
            order = [min(i, length - 1) for i in range(replicas)]
            rows = tf.gather(tf.ones([length], tf.bool) if rows is None else rows, order) & (
                tf.range(replicas) < length
            )
            inputs = keras.tree.map_structure(lambda values: tf.gather(values, order), inputs)
        return run(keras.tree.map_structure(divided, inputs), None if rows is None else divided(rows))

    return run_divided
