"""Runs that are killed or told to end, wherever they are, come to the bits of one that was left alone."""

import signal
import time

import numpy as np
import pytest

from tests.faults import processes, runs


def test_small_run_killed_again_and_again(undisturbed, tmp_path, tally):
    run = runs.Run(tmp_path, runs.FLAGS)
    killer = runs.Killer(run, 1, tally)
    started = time.monotonic()
    killer.in_training(6)
    start = time.monotonic() - started
    for _ in range(8):
        killer.in_training(6)
    for _ in range(2):
        killer.in_its_first(start)
    told = run.finish().out
    runs.assert_equal(run, undisturbed)
    assert not run.halves()
    assert "damaged" not in told


def test_two_replicas_compiled_in_half_precision_on_streamed_images(prepared, tmp_path, tally):
    flags = (
        "--arch=small", "--normalization=batch_norm_before", "--dataset=cifar10", f"--data_dir={prepared}",
        "--image_size=28", "--dropout=0.3", "--replicas=2", "--xla=on", "--precision=mixed_float16", "--batch_size=63",
        "--steps=60", "--checkpoint_minutes=1e-6",
    )  # fmt: skip
    alone, run = runs.Run(tmp_path / "alone", flags), runs.Run(tmp_path / "killed", flags)
    reference, killer = alone.start(), runs.Killer(run, 2, tally)
    for _ in range(5):
        killer.in_training(8)
    run.finish()
    assert reference.end(300) == 0, reference.err
    runs.assert_equal(run, alone)


def test_resnet20_on_cifar10_killed_in_training_and_in_export(prepared, tmp_path, tally):
    flags = (
        "--arch=resnet20", "--dataset=cifar10", f"--data_dir={prepared}", "--batch_size=64", "--steps=48",
        "--checkpoint_minutes=0.01",
    )  # fmt: skip
    alone, run = (runs.Run(tmp_path / name, flags, processes.DRIVER) for name in ("alone", "killed"))
    reference, killer = alone.start(), runs.Killer(run, 3, tally)
    for _ in range(2):
        killer.in_training(12)
    killer.after((run.workdir / "result.json").exists, 2)
    told = run.finish().out
    assert reference.end(300) == 0, reference.err
    runs.assert_equal(run, alone)
    (version,) = (tmp_path / "killed" / "saved_models" / "resnet20").iterdir()
    assert str(version) in told
    assert (version / "saved_model.pb").exists()


def test_told_to_end_and_interrupted(undisturbed, tmp_path):
    run = runs.Run(tmp_path, runs.FLAGS)
    process = run.start()
    run.wait(process, 3)
    process.send(signal.SIGTERM)
    process.send(signal.SIGTERM)
    assert process.end(60) == 0, process.err
    assert f"Told to end after step {run.step()} of 123" in process.out
    assert "the same command goes on from there" in process.out
    assert process.err == ""
    rng = np.random.default_rng(5)
    for _ in range(3):
        process = run.start()
        run.wait(process, 3)
        time.sleep(rng.uniform(0, 0.1))
        process.send(signal.SIGINT)
        assert process.end(60) == 130, process.err
        assert f"Interrupted after step {run.step()} of 123" in process.out
        assert process.err == ""
    run.finish()
    runs.assert_equal(run, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_before_the_first_step(number, tmp_path):
    run = runs.Run(tmp_path, runs.FLAGS)
    process = run.start()
    processes.wait_until(lambda: "Run folder" in process.out, [process])
    process.send(number)
    process.send(number)
    assert process.end(60) == (0 if number == signal.SIGTERM else 130), process.err
    assert "the same command goes on" in process.out
    assert process.err == ""
