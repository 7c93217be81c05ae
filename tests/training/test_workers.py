import json

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.training import workers
from tests.faults import processes

NANS = np.array([0x7FC00001, 0xFFC12345, 0x7F800001, 0x80000000, 0x00000001, 0x7F800000], "uint32").view("float32")
# Values whose bits are lost where they are added as numbers, or cast.
DELICATE = {
    "float32": NANS,
    "float64": np.array([[-0.0, np.nan, 1e-320], [1 / 3, -np.inf, 3]]),
    "float16": np.array([-0.0, 1.5, np.nan, 6e-8], "float16"),
    "bfloat16": tf.constant([-0.0, 1.5, np.nan], tf.bfloat16),
    "int64": np.array(-(2**62) - 1),
    "int32": np.array([-(2**31), 1], "int32"),
    "bool": np.array([[True, False]]),
}


@pytest.fixture
def two_workers(monkeypatch):
    """TF_CONFIG of a second worker. What it is told stands in for what the chief sends."""
    monkeypatch.setenv("TF_CONFIG", processes.tf_config([1, 2], 1))


def bits(value):
    return np.asarray(value).tobytes()


@pytest.mark.parametrize("dtype", DELICATE)
def test_all_bits_of_a_value_travel(dtype):
    value = tf.constant(DELICATE[dtype], dtype)
    words = workers._words(value)
    assert words.dtype == tf.int64
    assert words.shape == (value.shape.num_elements(),)
    # A sum with the zeros of the other workers, as in the exchange.
    back = workers._value(words + tf.zeros_like(words), value)
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert bits(back) == bits(value)


def test_a_worker_takes_up_what_the_chief_sends(two_workers, monkeypatch):
    chiefs = [tf.constant(value, dtype) for dtype, value in DELICATE.items()]
    sent = tf.concat([workers._words(value) for value in chiefs], 0)
    monkeypatch.setattr(workers, "_chiefs", lambda strategy, words: tf.ensure_shape(sent, words.shape))
    own = [tf.Variable(tf.zeros_like(value)) for value in chiefs]
    workers.broadcast(None, own)
    assert [bits(variable) for variable in own] == [bits(value) for value in chiefs]


@pytest.mark.parametrize("told", [False, True])
def test_a_single_worker_hears_itself(told):
    assert workers.any_told(None, told) == told


@pytest.mark.parametrize("told", [False, True])
def test_all_workers_hear_what_one_is_told(told, two_workers, monkeypatch):
    replicas = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])  # in place of workers
    sum_of_all = workers._of_all

    def with_one_told(words):
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return sum_of_all(words if first else tf.constant([int(told)], tf.int64))

    monkeypatch.setattr(workers, "_of_all", with_one_told)
    assert workers.any_told(replicas, False) == told


@pytest.mark.parametrize("text", ["", "a", "Überlänge 1,5 €"])
def test_text_of_the_chief_arrives(text, two_workers, monkeypatch):
    answers = iter([[len(text.encode())], list(text.encode())])
    monkeypatch.setattr(workers, "_chiefs", lambda strategy, words: tf.constant(next(answers), tf.int64))
    assert workers.broadcast_text(None, "other") == text


def test_the_first_replica_sends_and_the_others_add_nothing(strategy):
    own = [tf.constant(values, tf.int64) for values in ([2**62 + 1, -1], [7, 7])]
    words = strategy.experimental_distribute_values_from_function(lambda c: own[c.replica_id_in_sync_group])
    told = tf.function(lambda words: strategy.run(workers._of_first_replica, args=(words,)))(words)
    for value in strategy.experimental_local_results(told):
        np.testing.assert_array_equal(value, [2**62 + 1, -1])


def test_alone_nothing_happens(strategy):
    with strategy.scope():
        variable = tf.Variable(NANS)
    before = [bits(part) for part in strategy.experimental_local_results(variable)]
    workers.broadcast(strategy, list(strategy.experimental_local_results(variable)))
    assert [bits(part) for part in strategy.experimental_local_results(variable)] == before
    assert workers.broadcast_text(strategy, "own") == "own"
    workers.part(strategy)


def test_names_the_workers_that_do_not_answer(monkeypatch):
    ports = processes.free_ports(3)
    monkeypatch.setenv("TF_CONFIG", processes.tf_config(ports, 0))
    listener = processes.socket.create_server(("", ports[0]))
    text = "Graph execution error:\n\nCollective ops is aborted by: Socket closed\nmore"
    with listener, pytest.raises(workers.LostError) as raised, workers.lost_ones_reported():
        raise tf.errors.UnavailableError(None, None, text)
    message = str(raised.value)
    assert f"Lost worker(s) 1 at 127.0.0.1:{ports[1]}, 2 at 127.0.0.1:{ports[2]}." in message
    assert message.endswith("TensorFlow: Collective ops is aborted by: Socket closed")


def test_a_worker_may_be_there_and_not_answer(monkeypatch):
    ports = processes.free_ports(2)
    monkeypatch.setenv("TF_CONFIG", processes.tf_config(ports, 0))
    listeners = [processes.socket.create_server(("", port)) for port in ports]
    with pytest.raises(workers.LostError, match="there but does not answer"), workers.lost_ones_reported():
        raise tf.errors.AbortedError(None, None, "stopped sending heartbeats")
    for listener in listeners:
        listener.close()


def test_other_errors_and_those_of_one_worker_stay_what_they_are(two_workers, monkeypatch):
    with pytest.raises(tf.errors.InvalidArgumentError), workers.lost_ones_reported():
        raise tf.errors.InvalidArgumentError(None, None, "label out of range")
    monkeypatch.setenv("TF_CONFIG", json.dumps({}))
    with pytest.raises(tf.errors.UnavailableError), workers.lost_ones_reported():
        raise tf.errors.UnavailableError(None, None, "no file system")
