import importlib.util
import sys
import time
import types

import keras
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.summary.writer import event_file_writer

from keras_norms.training import loggers


def logs(epoch):
    return {
        "epoch": epoch,
        "step": 10 * (epoch + 1),
        "loss": 1 / (epoch + 1),
        "val_loss": 2 / (epoch + 1),
        "learning_rate": 0.1,
    }


def train(observers, epochs, end=True):
    observers = keras.callbacks.CallbackList(observers)
    observers.on_train_begin()
    for epoch in epochs:
        observers.on_epoch_begin(epoch)
        observers.on_epoch_end(epoch, logs(epoch))
    if end:
        observers.on_train_end()


def scalars(folder, tag):
    shown = event_accumulator.EventAccumulator(str(folder)).Reload().Scalars(tag)
    return [(scalar.step, pytest.approx(scalar.value, rel=1e-6)) for scalar in shown]


def test_training_and_test_are_two_curves_of_one_chart_by_step(tmp_path):
    train([loggers.TensorBoardScalars(tmp_path)], range(2))
    assert scalars(tmp_path / "train", "loss") == [(10, 1), (20, 1 / 2)]
    assert scalars(tmp_path / "test", "loss") == [(10, 2), (20, 1)]
    assert scalars(tmp_path / "train", "learning_rate") == [(10, 0.1), (20, 0.1)]
    tags = event_accumulator.EventAccumulator(str(tmp_path / "train")).Reload().Tags()["scalars"]
    assert set(tags) == {"loss", "learning_rate"}


def test_disk_that_is_full_is_told_as_such(tmp_path, monkeypatch):
    def flush(self):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device\nmore")

    monkeypatch.setattr(event_file_writer.EventFileWriter, "flush", flush)
    with pytest.raises(OSError, match=r"cannot be written: No space left on device$"):
        train([loggers.TensorBoardScalars(tmp_path / "tensorboard")], range(1))


def test_epochs_that_a_killed_run_repeats_are_shown_once(tmp_path):
    train([loggers.TensorBoardScalars(tmp_path)], range(3), end=False)  # flushed, never closed
    time.sleep(1.1)  # files are read in the order of their names, which have the second and then the process
    train([loggers.TensorBoardScalars(tmp_path)], range(1, 4))
    for folder, first in (("train", 1), ("test", 2)):
        assert scalars(tmp_path / folder, "loss") == [(10 * n, first / n) for n in (1, 2, 3, 4)]


def test_a_run_that_goes_on_after_an_epoch_keeps_those_before(tmp_path):
    train([loggers.TensorBoardScalars(tmp_path)], range(2))
    time.sleep(1.1)
    train([loggers.TensorBoardScalars(tmp_path)], range(2, 3))
    assert [step for step, _ in scalars(tmp_path / "train", "loss")] == [10, 20, 30]


class Fake(keras.callbacks.Callback):
    """Stands in for the callback of a tracker."""

    def __init__(self, calls):
        super().__init__()
        self._calls = calls

    def on_epoch_end(self, epoch, logs=None):
        self._calls.append(("epoch", epoch))


@pytest.fixture
def calls():
    return []


@pytest.fixture
def wandb(monkeypatch, calls):
    module, keras_module = types.ModuleType("wandb"), types.ModuleType("wandb.integration.keras")
    run = types.SimpleNamespace(finish=lambda: calls.append("finish"))
    module.init = lambda **options: (calls.append(options), run)[1]
    keras_module.WandbMetricsLogger = lambda: Fake(calls)
    module.__spec__ = types.SimpleNamespace()
    for name, fake in (("wandb", module), ("wandb.integration.keras", keras_module)):
        monkeypatch.setitem(sys.modules, name, fake)


@pytest.fixture
def mlflow(monkeypatch, calls):
    module, keras_module = types.ModuleType("mlflow"), types.ModuleType("mlflow.keras")
    active = []

    def start_run(run_name=None, run_id=None):
        calls.append(("start", run_name, run_id))
        active.append(types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "abc123")))
        return active[-1]

    module.start_run = start_run
    module.active_run = lambda: active[-1] if active else None
    module.end_run = lambda: (active.pop(), calls.append("end"))
    module.log_params = calls.append
    module.flush_async_logging = lambda: calls.append("flush")
    keras_module.MlflowCallback = lambda: Fake(calls)
    module.__spec__ = types.SimpleNamespace()
    for name, fake in (("mlflow", module), ("mlflow.keras", keras_module)):
        monkeypatch.setitem(sys.modules, name, fake)


def test_wandb_begins_logs_and_ends_and_goes_on_with_the_same_run(wandb, calls, tmp_path):
    for epochs in (range(1), range(1, 2)):
        train(loggers.tracked_by_wandb(tmp_path, "a run", {"arch": "tiny"}), epochs)
    begun = {"dir": str(tmp_path), "name": "a run", "config": {"arch": "tiny"}, "resume": "allow", "id": calls[0]["id"]}
    assert calls == [begun, ("epoch", 0), "finish", begun, ("epoch", 1), "finish"]


def test_wandb_runs_of_two_folders_are_two(wandb, calls, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        loggers.tracked_by_wandb(tmp_path / name, "a run", {})
    assert calls[0]["id"] != calls[1]["id"]


def test_mlflow_begins_logs_and_ends_and_goes_on_with_the_same_run(mlflow, calls, tmp_path):
    for epochs in (range(1), range(1, 2)):
        train(loggers.tracked_by_mlflow(tmp_path, "a run", {"arch": "tiny"}), epochs)
    first, second = ("start", "a run", None), ("start", None, "abc123")
    rest = [{"arch": "tiny"}, ("epoch", 0), "flush", "end"]
    assert calls == [first, *rest, second, rest[0], ("epoch", 1), *rest[2:]]


@pytest.mark.parametrize("tracker", loggers.TRACKERS)
def test_a_tracker_that_is_not_installed_is_an_error_with_the_command(tracker, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, tracker, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    expected = f"`--{tracker}` needs the package {tracker}.*pip install {tracker}"
    with pytest.raises(ValueError, match=expected):
        loggers.check(tracker)
    with pytest.raises(ValueError, match=expected):
        getattr(loggers, f"tracked_by_{tracker}")(tmp_path, "a run", {})
    assert not list(tmp_path.iterdir())
