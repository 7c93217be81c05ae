import os
import sys
import time

import pytest

from benchmarks.contest import entrant, interleaved, process

HERE = "tests.benchmarks.workloads"


def made(name, function, environment=None, **arguments):
    return entrant.Entrant(name, f"{HERE}:{function}", arguments, environment or {})


@pytest.fixture
def writers(tmp_path):
    return tmp_path / "order", [made(name, "writing", letter=name, path=str(tmp_path / "order")) for name in "abc"]


def test_takes_turns_and_who_begins_changes(writers):
    path, entrants = writers
    measured = interleaved.measure(entrants, rounds=4)
    assert path.read_text() == "aabbcc" + "abc" + "bca" + "cab" + "abc"
    assert [len(measured[name].seconds) for name in "abc"] == [4, 4, 4]
    assert all(second > 0 for second in measured["a"].seconds)


def test_few_together_where_memory_is_short(writers):
    path, entrants = writers
    assert list(interleaved.measure(entrants, rounds=2, together=2)) == ["a", "b", "c"]
    assert path.read_text() == "aabb" + "ab" + "ba" + "cc" + "cc"


def test_short_repeats_are_repeated_within_a_round(writers):
    path, entrants = writers
    measured = interleaved.measure(entrants[:1], rounds=2, least_seconds=0.02)
    assert len(measured["a"].seconds) == 2
    assert len(path.read_text()) > 2 + 2 * 2
    assert max(measured["a"].seconds) < 0.02


def test_who_fails_is_reported_and_the_others_go_on(writers):
    entrants = [made("refuses", "refusing"), made("fails", "failing", at=3), made("dies", "dying"), writers[1][0]]
    measured = interleaved.measure(entrants, rounds=3)
    assert measured["refuses"].failed == "ValueError: no such layer"
    assert measured["refuses"].seconds == []
    assert measured["fails"].failed == "RuntimeError: not once more"
    assert len(measured["fails"].seconds) == 1
    assert measured["dies"].failed == "ended without an answer; printed last: Killed by itself."
    assert measured["a"].failed is None
    assert len(measured["a"].seconds) == 3
    assert measured["a"].facts == {"made": 1}


def test_names_the_module_that_is_not_installed():
    absent = entrant.Entrant("absent", "nonesuch.layers:make")
    assert interleaved.measure([absent], rounds=1)["absent"].failed == "not installed: No module named 'nonesuch'"


def test_where_an_environment_is_missing_the_running_python_takes_part(monkeypatch):
    monkeypatch.setitem(entrant.ENVIRONMENTS, "backends", ".nonesuch")
    assert entrant.interpreter("backends") == sys.executable


def test_equal_threads_and_onednn_only_by_order(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    process.importer.cache_clear()  # those of other tests have started without it
    entrants = [
        made("plain", "surrounded"),
        made("ordered", "surrounded", {"TF_ENABLE_ONEDNN_OPTS": "0", "PATIENCE": "2"}),
    ]
    facts = {name: found.facts for name, found in interleaved.measure(entrants, rounds=1, threads=1).items()}
    for found in facts.values():
        assert (found["OMP_NUM_THREADS"], found["TF_NUM_INTRAOP_THREADS"], found["processors"]) == ("1", "1", 1)
    assert facts["plain"]["TF_ENABLE_ONEDNN_OPTS"] is None
    assert (facts["ordered"]["TF_ENABLE_ONEDNN_OPTS"], facts["ordered"]["PATIENCE"]) == ("0", "2")


def test_memory_is_what_the_process_grew_by():
    held = 64 * 2**20
    measured = interleaved.measure([made("holds", "holding", held_bytes=held)], rounds=1)["holds"]
    # Beside it the interpreter's own few pages.
    assert held <= measured.peak_memory < 1.5 * held


def test_leaves_no_process():
    number = interleaved.measure([made("a", "surrounded")], rounds=1)["a"].facts["process"]
    until = time.monotonic() + 10
    while exists(number):  # a moment longer than it was killed
        assert time.monotonic() < until


def exists(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True
