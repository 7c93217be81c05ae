"""What the workers of a run tell each other, beside gradients and statistics."""

import tensorflow as tf

from keras_norms.training import cluster

# Bits travel as integers of one type: a sum of bits and zeros is exact, one of floats is not (-0.0, NaN).
_INTEGERS = {8: tf.int64, 4: tf.int32, 2: tf.int16, 1: tf.int8}


def broadcast(strategy, variables):
    """Gives the variables of every worker the values of the chief's, to the last bit.

    Args:
        strategy: `tf.distribute.Strategy`.
        variables: List of `tf.Variable` of one device each, in the same order on every worker.
    """
    if cluster.size() == 1:
        return
    vectors = [_words(tf.convert_to_tensor(variable)) for variable in variables]
    words = _chiefs(strategy, tf.concat(vectors, 0))
    for variable, part in zip(variables, tf.split(words, [vector.shape[0] for vector in vectors]), strict=True):
        variable.assign(_value(part, variable))


def broadcast_text(strategy, text):
    """Returns the chief's text on every worker."""
    if cluster.size() == 1:
        return text
    length = _chiefs(strategy, tf.constant([len(text.encode())], tf.int64))[0]
    own = list(text.encode()) if cluster.is_chief() else [0] * int(length)
    return bytes(_chiefs(strategy, tf.constant(own, tf.int64)).numpy().tolist()).decode()


def _chiefs(strategy, words):
    """Returns the chief's vector of int64, of one length on all workers, on every worker."""

    def replica(words):
        context = tf.distribute.get_replica_context()
        own = words if context.replica_id_in_sync_group == 0 else tf.zeros_like(words)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    run = tf.function(lambda words: strategy.run(replica, args=(words,)))
    return strategy.experimental_local_results(run(words))[0]


def _words(value):
    """Returns the bits of a tensor as a vector of int64."""
    if value.dtype == tf.bool:
        value = tf.cast(value, tf.int8)
    return tf.cast(tf.reshape(tf.bitcast(value, _INTEGERS[value.dtype.size]), [-1]), tf.int64)


def _value(words, like):
    if like.dtype == tf.bool:
        return tf.cast(tf.reshape(words, like.shape), tf.bool)
    return tf.bitcast(tf.cast(tf.reshape(words, like.shape), _INTEGERS[like.dtype.size]), like.dtype)
