"""Workers that meet, as threads: they talk through sockets as processes do."""

import json
import socket
import threading
import time

import pytest

from keras_norms.training import rendezvous
from tests.faults import processes


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    # More than the second for which the chief waits for a connection.
    monkeypatch.setattr(rendezvous, "_NOTICE", 1.0)
    monkeypatch.setattr(rendezvous, "_ANSWER", 1.0)


@pytest.fixture
def addresses():
    return [f"127.0.0.1:{port}" for port in processes.free_ports(3)]


class Worker(threading.Thread):
    """A worker that meets the others, and keeps what came of it: None, or the error."""

    def __init__(self, addresses, index, about=None, limit=20):
        super().__init__(daemon=True)
        self._arguments = addresses, index, about or {"seed": 1}, limit
        self.outcome = "still waiting"
        self.start()

    def run(self):
        try:
            self.outcome = rendezvous.meet(*self._arguments)
        except Exception as error:
            self.outcome = error

    def end(self):
        self.join(20)
        return self.outcome


def connected(address):
    """Returns a connection to a worker that may have to come first."""
    for _ in range(50):
        try:
            return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_go_on_when_the_last_has_come(order, addresses):
    come = [Worker(addresses, index) for index in order[:2]]
    time.sleep(2.5)
    assert [worker.outcome for worker in come] == ["still waiting"] * 2
    come.append(Worker(addresses, order[2]))
    assert [worker.end() for worker in come] == [None] * 3
    for address in addresses:  # TensorFlow finds its port free
        with socket.socket() as listener:
            listener.bind(("", int(address.rpartition(":")[2])))


def test_says_who_is_awaited(addresses, capfd):
    come = [Worker(addresses, index) for index in (1, 2)]
    time.sleep(2.5)
    assert f"Waiting for worker 0 at {addresses[0]}." in capfd.readouterr().err
    come.append(Worker(addresses, 0))
    assert [worker.end() for worker in come] == [None] * 3


def test_says_who_is_missing_and_gives_up(addresses, capfd):
    come = [Worker(addresses, index, limit=4) for index in (0, 1)]
    for worker in come:
        error = worker.end()
        assert isinstance(error, TimeoutError)
        assert f"Missing: 2 at {addresses[2]}." in str(error)
    waiting = f"Waiting for worker(s) 2 at {addresses[2]}."
    assert capfd.readouterr().err.count(waiting) >= 2  # of both


def test_gives_up_without_a_chief(addresses):
    error = Worker(addresses, 1, limit=1).end()
    assert isinstance(error, TimeoutError)
    assert f"Worker 0 has not come to {addresses[0]}" in str(error)


def test_all_hear_of_one_with_other_settings(addresses):
    come = [Worker(addresses, index, {"seed": 1, "rate": 0.1 if index < 2 else 0.2}) for index in range(3)]
    for worker in come:
        error = worker.end()
        assert isinstance(error, ValueError)
        assert "Received: rate=0.1 on worker 0, 0.2 on worker 2." in str(error)


def test_what_is_equal_as_json_is_equal(addresses):
    come = [Worker(addresses, index, {"drops": (0.5, 0.8)}) for index in range(3)]
    assert [worker.end() for worker in come] == [None] * 3


def test_a_worker_that_left_is_awaited_again(addresses):
    chief = Worker(addresses, 0)
    with connected(addresses[0]) as gone:
        gone.sendall(json.dumps([1, {"seed": 1}]).encode() + b"\n")
        time.sleep(0.3)
    come = [Worker(addresses, 2)]
    time.sleep(2.5)
    assert chief.outcome == "still waiting"
    come.append(Worker(addresses, 1))
    assert [worker.end() for worker in (chief, *come)] == [None] * 3


def test_strangers_do_not_count(addresses):
    chief = Worker(addresses, 0)
    for words in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\xff\xfe\n", b"[7, {}]\n", b"[0, {}]\n", b'"no"\n', b"{}\n"):
        with connected(addresses[0]) as stranger:
            stranger.sendall(words)
            assert stranger.recv(100) == b""
    come = [Worker(addresses, index) for index in (1, 2)]
    assert [worker.end() for worker in (chief, *come)] == [None] * 3


def test_refuses_a_second_worker_of_one_number(addresses):
    chief, first = Worker(addresses, 0), Worker(addresses, 1)
    time.sleep(2.5)
    # On another machine: its own port is free there.
    elsewhere = [addresses[0], *(f"127.0.0.1:{port}" for port in processes.free_ports(2))]
    error = Worker(elsewhere, 1).end()
    assert isinstance(error, ValueError)
    assert "There is a worker 1 already" in str(error)
    assert [worker.outcome for worker in (chief, first)] == ["still waiting"] * 2
    assert [worker.end() for worker in (Worker(addresses, 2), first, chief)] == [None] * 3


@pytest.mark.parametrize("index", [0, 1])
def test_names_a_port_that_is_taken(index, addresses):
    with socket.create_server(("", int(addresses[index].partition(":")[2]))):
        error = Worker(addresses, index).end()
    assert isinstance(error, OSError)
    assert f"Received: {addresses[index]} (Address already in use)" in str(error)
