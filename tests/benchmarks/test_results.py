import argparse
import json

import pytest

from benchmarks.contest import interleaved, machine, results


@pytest.fixture
def empty(monkeypatch):
    monkeypatch.setattr(machine, "describe", lambda threads: {"cores": threads})
    monkeypatch.setattr(machine, "said", lambda *_: json.dumps({"keras": "3"}))
    return results.new("layers", argparse.Namespace(quick=True, threads=2, label="h100"))


def test_written_and_read_again(empty, tmp_path):
    results.add(empty, "a case", "keras", "step", "s", [0.25, 3])
    path = results.write(empty, tmp_path / "new")
    assert path.name == "layers_h100.json"
    assert results.read(path) == empty
    assert empty["versions"] == {"tensorflow": {"keras": "3"}, "backends": {"keras": "3"}}
    assert empty["machine"] == {"cores": 2}


def test_ratio_is_of_medians_in_one_case(made_up):
    measured = made_up(
        {
            ("a", "keras_norms", "step", "s"): [1.0, 9.0, 2.0],
            ("a", "keras", "step", "s"): [4.0, 5.0],
            ("b", "keras", "step", "s"): [1.0],
            ("a", "keras", "peak memory", "B"): [0.0],
        }
    )
    assert results.ratio(measured, "a", "step", "keras_norms", "keras") == 2.0 / 4.5
    assert results.ratio(measured, "b", "step", "keras_norms", "keras") is None
    assert results.ratio(measured, "a", "peak memory", "keras", "keras") is None


def test_measured_and_failed(empty):
    whole = interleaved.Measured([0.5, 0.25], memory_before=100, memory_peak=350)
    results.add_measured(empty, "a", "keras", whole, "step")
    results.add_measured(empty, "a", "torch", interleaved.Measured(failed="RuntimeError: no"), "step")
    results.add_measured(empty, "b", "torch", interleaved.Measured(failed="RuntimeError: no"), "step")
    assert results.values(empty, "a", "step", "keras") == [0.5, 0.25]
    assert results.values(empty, "a", "peak memory", "keras") == [250]
    assert empty["absent"] == {"torch": "a: RuntimeError: no; b: RuntimeError: no"}


def test_what_is_not_installed_is_said_once(empty):
    for case in ("a", "b"):
        results.absent(empty, case, "flax", "not installed: No module named 'flax'")
    assert empty["absent"] == {"flax": "not installed: No module named 'flax'"}


def test_memory_of_a_device_goes_first():
    assert interleaved.Measured(memory_before=1, memory_peak=5, device_memory=3).peak_memory == 3
