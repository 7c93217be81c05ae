import json

import pytest

from keras_norms.training import cluster

WORKERS = {"worker": ["a:1", "b:2", "c:3"]}


@pytest.fixture
def tf_config(monkeypatch):
    """Returns a function that sets TF_CONFIG to a text, or to an object as JSON."""

    def put(config):
        monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))

    return put


@pytest.mark.parametrize("text", [None, "", "  ", "{}"])
def test_without_tf_config_there_is_one_worker(text, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert (cluster.size(), cluster.index(), cluster.is_chief()) == (1, 0, True)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_worker_knows_its_number_and_all_addresses(index, tf_config):
    tf_config({"cluster": WORKERS, "task": {"type": "worker", "index": index}})
    assert (cluster.size(), cluster.index(), cluster.is_chief()) == (3, index, index == 0)
    assert cluster.addresses() == ["a:1", "b:2", "c:3"]
    assert cluster.roles() == {"worker": 3}


@pytest.mark.parametrize(("role", "index", "number"), [("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)])
def test_a_chief_of_its_own_comes_first(role, index, number, tf_config):
    tf_config({"cluster": {"worker": ["b:2", "c:3"], "chief": ["a:1"]}, "task": {"type": role, "index": index}})
    assert (cluster.size(), cluster.index(), cluster.is_chief()) == (3, number, number == 0)
    assert cluster.addresses() == ["a:1", "b:2", "c:3"]
    assert cluster.roles() == {"chief": 1, "worker": 2}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{'cluster'", "TF_CONFIG must hold a JSON object"),
        ("[1]", "TF_CONFIG must hold a JSON object"),
        ({"cluster": []}, "must be an object of the roles"),
        ({"cluster": {"worker": ["a:1"], "ps": ["b:2"]}}, "no parameter servers"),
        ({"cluster": {"worker": ["a:1"], "evaluator": ["b:2"]}}, "no parameter servers or evaluators"),
        ({"cluster": {"worker": "a:1"}}, "must have a list of addresses"),
        ({"cluster": {"chief": ["a:1", "b:2"]}}, "`chief` one"),
        ({"cluster": {"worker": ["a:1", "b"]}}, "host:port. Received: 'b'"),
        ({"cluster": {"worker": ["a:1", 2]}}, "host:port. Received: 2"),
        ({"cluster": {"worker": ["a:1", "b:70000"]}}, "host:port. Received: 'b:70000'"),
        ({"cluster": {"worker": ["a:1", "a:1"]}}, "an address of its own"),
    ],
)
def test_refuses_what_is_no_cluster(config, words, tf_config):
    tf_config(config)
    with pytest.raises(ValueError, match=words):
        cluster.size()
    with pytest.raises(ValueError, match=words):
        cluster.index()


@pytest.mark.parametrize(
    "task",
    [
        None,
        [],
        {},
        {"type": "worker", "index": 3},
        {"type": "worker", "index": -1},
        {"type": "chief", "index": 0},
        {"type": "worker", "index": "1"},
        {"type": "worker", "index": [1]},
        {"type": "evaluator", "index": 0},
    ],
)
def test_refuses_a_task_outside_the_cluster(task, tf_config):
    tf_config({"cluster": WORKERS, "task": task})
    with pytest.raises(ValueError, match="must be one of its cluster"):
        cluster.index()
