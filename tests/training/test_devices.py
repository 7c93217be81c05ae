import json

import pytest
import tensorflow as tf

from keras_norms.training import devices, rendezvous
from tests.faults import processes


def test_one_number_of_replicas_has_one_strategy():
    assert devices.strategy(2) is devices.strategy(2, {"seed": 1})
    assert devices.strategy(2).num_replicas_in_sync == 2
    assert devices.strategy().num_replicas_in_sync == 1


def test_a_single_worker_is_as_none(monkeypatch):
    alone = devices.strategy(2)
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["no.such.host:1"]}, "task": task}))
    assert devices.strategy(2) is alone
    with alone.scope():
        variable = tf.Variable(1.0)
    assert len(alone.experimental_local_results(variable)) == 2


@pytest.mark.parametrize("replicas", [0, -1])
def test_refuses_no_replicas(replicas):
    with pytest.raises(ValueError, match="`replicas` must be at least 1"):
        devices.strategy(replicas)


def test_several_workers_meet_before_tensorflow_starts(monkeypatch):
    met = []

    def meet(*arguments):
        met.append(arguments)
        raise TimeoutError("nobody there")

    monkeypatch.setattr(rendezvous, "meet", meet)
    monkeypatch.setenv("TF_CONFIG", processes.tf_config([1, 2], 1))
    with pytest.raises(TimeoutError, match="nobody there"):
        devices.strategy(None, {"seed": 1})
    assert met == [(["127.0.0.1:1", "127.0.0.1:2"], 1, {"seed": 1})]
