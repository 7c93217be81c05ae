"""Runs on several workers, each a process: what they compute, and what happens when one of them is taken away."""

import json
import signal
import time

import numpy as np
import pytest

from tests.faults import processes, runs

TRAINED = processes.DRIVER.parents[1] / "tests" / "faults" / "trained.py"
FLAGS = ["--normalization=batch_norm_before", "--learning_rate=0.01", "--workdir=run"]
SMALL = ["--arch=small", "--dropout=0.2"]


def together(count, folder, *flags, program=TRAINED):
    """Starts the workers of a run, each in a folder of its own."""
    folders = [folder / f"worker{i}" for i in range(count)]
    for own in folders:
        own.mkdir(parents=True, exist_ok=True)
    return processes.workers([program, *FLAGS, *flags], folders)


def alone(replicas, folder, *flags):
    folder.mkdir()
    return processes.Process([TRAINED, *FLAGS, f"--replicas={replicas}", *flags], folder)


def statuses(started, seconds=120):
    """Returns the exit statuses of processes."""
    end = time.monotonic() + seconds
    return [process.end(end - time.monotonic()) for process in started]


def check_ended(started):
    assert statuses(started) == [0] * len(started), [process.err for process in started]
    assert [process.err for process in started] == [""] * len(started)


def weights(folder):
    with np.load(folder / "weights.npz") as file:
        return dict(file)


def check_equal_bits(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.tobytes() == other[name].tobytes(), name


def check_close(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        # Sums of the same numbers in another order: rounding, made larger by a few steps.
        np.testing.assert_allclose(value, other[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """The folder of a run of two workers that nobody disturbs."""
    folder = tmp_path_factory.mktemp("two_workers")
    check_ended(together(2, folder, *LONG))
    return folder


LONG = [*SMALL, "--batch_size=10", "--epochs=8", "--checkpoint_minutes=0.01"]
SHORT = [*SMALL, "--dropout=0", "--batch_size=34", "--epochs=2"]
# In one process of pytest, where the run is made once.
beside_two_workers = pytest.mark.xdist_group("two_workers")


@pytest.mark.parametrize(
    ("count", "flags"),
    [
        (2, ["--synchronized"]),
        (2, ["--xla=on"]),
        # The last batch has 2 images for 3 workers.
        (3, ["--batch_size=36", "--nodrop_remainder"]),
    ],
    ids=["synchronized", "xla", "nothing divides"],
)
def test_workers_equal_each_other_and_the_replicas_of_one_process(count, flags, tmp_path):
    check_ended(together(count, tmp_path, *SHORT, *flags))
    check_ended([alone(count, tmp_path / "alone", *SHORT, *flags)])
    chiefs = weights(tmp_path / "worker0")
    for number in range(1, count):
        check_equal_bits(chiefs, weights(tmp_path / f"worker{number}"))
    check_close(chiefs, weights(tmp_path / "alone"))
    results = [json.loads((tmp_path / name / "run" / "result.json").read_text()) for name in ("worker0", "alone")]
    assert results[0]["test_loss"] == pytest.approx(results[1]["test_loss"], rel=1e-3)


@beside_two_workers
def test_the_chief_alone_writes(two_workers):
    assert {path.name for path in (two_workers / "worker1").iterdir()} == {"out.txt", "err.txt", "weights.npz"}
    check_equal_bits(weights(two_workers / "worker0"), weights(two_workers / "worker1"))


@beside_two_workers
def test_whatever_happens_to_a_worker_the_run_comes_to_the_same_end(two_workers, tmp_path, tally):
    rng, chief = np.random.default_rng(0), runs.Run(tmp_path / "worker0", LONG)
    for number, victim in ((signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGTERM, 1), (signal.SIGINT, 1)):
        before = chief.step()
        halves, started = chief.halves(), together(2, tmp_path, *LONG)
        processes.wait_until(lambda before=before: chief.step() > before, started)
        time.sleep(rng.uniform(0, 0.4))
        started[victim].send(number)
        taken, other = started[victim], started[1 - victim]
        if number == signal.SIGTERM:
            assert statuses(started, 60) == [0, 0], other.err
            assert all("Told to end after step" in process.out for process in started)
            assert [process.err for process in started] == ["", ""]
        else:
            assert taken.end(60) == (130 if number == signal.SIGINT else -number)
            assert other.end(60) == 1, other.err
            assert f"Lost worker(s) {victim} at" in other.err
            assert len(other.err.splitlines()) == 1
        if number == signal.SIGKILL:
            tally.append(bool(chief.halves() - halves))
    check_ended(together(2, tmp_path, *LONG))
    for worker in ("worker0", "worker1"):
        check_equal_bits(weights(tmp_path / worker), weights(two_workers / "worker0"))
    ends, expected = (folder / "worker0" / "run" for folder in (tmp_path, two_workers))
    for name in ("history.csv", "result.json"):
        assert (ends / name).read_text() == (expected / name).read_text()
    assert len((ends / "history.csv").read_text().splitlines()) == 1 + 8


def test_the_driver_exports_once_and_on_the_chief(tmp_path):
    flags = ["--arch=resnet20", "--image_size=16", "--steps=2", "--batch_size=8", "--export_dir=saved_models"]
    for _ in range(2):
        started = together(2, tmp_path, *flags, program=processes.DRIVER)
        check_ended(started)
        assert "SavedModel: " in started[0].out
        assert started[1].out == ""
    assert "epoch 1/1" not in started[0].out
    assert [path.name for path in (tmp_path / "worker0" / "saved_models" / "resnet20").iterdir()] == ["1"]
    assert {path.name for path in (tmp_path / "worker1").iterdir()} == {"out.txt", "err.txt"}


def test_workers_with_other_settings_do_not_begin(tmp_path):
    ports = processes.free_ports(2)
    started = []
    for number, rate in enumerate(("0.1", "0.2")):
        own = tmp_path / f"worker{number}"
        own.mkdir()
        command = [TRAINED, *FLAGS, *SHORT, f"--learning_rate={rate}"]
        started.append(processes.Process(command, own, TF_CONFIG=processes.tf_config(ports, number)))
    assert statuses(started) == [1, 1]
    for process in started:
        assert "learning_rate=0.1 on worker 0, 0.2 on worker 1" in process.err
    assert not (tmp_path / "worker0" / "run").exists()
