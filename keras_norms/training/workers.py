"""What the workers of a run tell each other, beside gradients and statistics, and how they part."""

import contextlib
import functools
import re
import socket
import time

import tensorflow as tf

from keras_norms.training import cluster

# Bits travel as integers of one type: a sum of bits and zeros is exact, one of floats is not (-0.0, NaN).
_INTEGERS = {8: tf.int64, 4: tf.int32, 2: tf.int16, 1: tf.int8}
# What a collective raises when another worker has gone (TensorFlow 2.21).
LOST = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)


class LostError(RuntimeError):
    """Another worker has gone. TensorFlow cannot go on without it in this process."""


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


def any_told(strategy, told):
    """Returns on every worker whether one of them tells so."""
    if cluster.size() == 1:
        return told
    return bool(_exchange(strategy, _of_all)(tf.constant([int(told)], tf.int64)) > 0)


def part(strategy):
    """Returns when all workers have come here and none needs another any more."""
    if cluster.size() > 1:
        _chiefs(strategy, tf.zeros([1], tf.int64))
        time.sleep(1)  # the others may still be fetching the values of this last exchange


@contextlib.contextmanager
def lost_ones_reported():
    """Raises `LostError` in place of what TensorFlow raises when another worker has gone."""
    try:
        yield
    except LOST as error:
        if cluster.size() == 1:
            raise
        gone = [f"{number} at {address}" for number, address in enumerate(cluster.addresses()) if not _answers(address)]
        reason = re.search("Collective ops is aborted.*", str(error)) or [str(error).partition("\n")[0]]
        lost = f"worker(s) {', '.join(gone)}" if gone else "a worker, which is there but does not answer"
        raise LostError(
            f"Lost {lost}. This one ends, too. Start the same command on every machine again: the run goes on from its "
            f"last checkpoint. TensorFlow: {reason[0]}"
        ) from error


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _chiefs(strategy, words):
    """Returns the chief's vector of int64, of one length on all workers, on every worker."""
    return _exchange(strategy, _of_first_replica)(words)


@functools.cache
def _exchange(strategy, of_replicas):
    """Returns a function of a vector of int64 that computes with those of all replicas."""
    exchange = tf.function(
        lambda words: strategy.run(of_replicas, args=(words,)),
        input_signature=[tf.TensorSpec([None], tf.int64)],
    )
    return lambda words: strategy.experimental_local_results(exchange(words))[0]


def _of_first_replica(words):
    first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
    return _of_all(words if first else tf.zeros_like(words))


def _of_all(words):
    # A copy: the collective looks for the device of its value, and an argument has none.
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(words))


def _words(value):
    """Returns the bits of a tensor as a vector of int64."""
    if value.dtype == tf.bool:
        value = tf.cast(value, tf.int8)
    return tf.cast(tf.reshape(tf.bitcast(value, _INTEGERS[value.dtype.size]), [-1]), tf.int64)


def _value(words, like):
    if like.dtype == tf.bool:
        return tf.cast(tf.reshape(words, like.shape), tf.bool)
    return tf.bitcast(tf.cast(tf.reshape(words, like.shape), _INTEGERS[like.dtype.size]), like.dtype)
