"""Where the numbers of a run go beside its own files: TensorBoard, Weights & Biases, MLflow."""

import importlib
import importlib.util
import time
import uuid

import keras
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer import event_file_writer

from keras_norms.training import run_folder


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the logs of each epoch for TensorBoard, training and test as two curves of one chart.

    The step is that of the run, `step` of the logs. What a run that was killed has written of an epoch which it had to
    repeat is not shown: the first event says from which step on older ones do not count. Keras 3.15's callback does
    not, and TensorBoard's loader in Python (`--load_fast=false`) shows such epochs twice.

    Args:
        folder: Path. Training goes to `train` in it, what begins with `val_` to `test`.
    """

    def __init__(self, folder):
        super().__init__()
        self._folder = folder
        self._writers = {}

    def on_epoch_end(self, epoch, logs=None):
        with run_folder.writing(self._folder):
            self._write(logs, int(logs["step"]))

    def on_train_end(self, logs=None):
        with run_folder.writing(self._folder):
            for writer in self._writers.values():
                writer.close()
        self._writers = {}

    def _write(self, logs, step):
        for name, value in logs.items():
            where, tag = ("test", name.removeprefix("val_")) if name.startswith("val_") else ("train", name)
            if name not in ("step", "epoch"):
                shown = summary_pb2.Summary.Value(tag=tag, simple_value=value)
                self._writer(where, step).add_event(_event(step, summary=summary_pb2.Summary(value=[shown])))
        for writer in self._writers.values():
            writer.flush()

    def _writer(self, where, step):
        if where not in self._writers:
            self._writers[where] = event_file_writer.EventFileWriter(str(self._folder / where))
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writers[where].add_event(_event(step, session_log=start))
        return self._writers[where]


def check(tracker):
    """Refuses a tracker that is not installed.

    Args:
        tracker: String, one of `TRACKERS`.
    """
    if importlib.util.find_spec(tracker) is None:
        raise ValueError(f"`--{tracker}` needs the package {tracker}, which is not installed: pip install {tracker}")


def tracked_by_wandb(folder, name, config):
    """Begins a run of Weights & Biases, or goes on with the one of the folder.

    Environment variables choose project and account (WANDB_PROJECT, WANDB_API_KEY), or to keep all of it on this
    machine (WANDB_MODE=offline).

    Args:
        folder: Path of the run's folder, where its files go.
        name: String, the name of the run.
        config: Dict, the settings to show.

    Returns:
        List of Keras callbacks: theirs, and one that ends the run with the training.
    """
    check("wandb")
    wandb = importlib.import_module("wandb")
    identity = _kept(folder / "wandb_run", lambda: uuid.uuid4().hex)
    run = wandb.init(dir=str(folder), name=name, config=config, id=identity, resume="allow")
    logger = importlib.import_module("wandb.integration.keras").WandbMetricsLogger()
    return [logger, keras.callbacks.LambdaCallback(on_train_end=lambda logs: run.finish())]


def tracked_by_mlflow(folder, name, config):
    """Begins a run of MLflow, or goes on with the one of the folder.

    Environment variables choose server and experiment (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME); without, MLflow
    writes to the working directory.

    Args:
        folder, name, config: See `tracked_by_wandb`.

    Returns:
        List of Keras callbacks: theirs, and one that waits until all is written and ends the run with the training.
    """
    check("mlflow")
    mlflow = importlib.import_module("mlflow")
    identity = _kept(folder / "mlflow_run", lambda: mlflow.start_run(run_name=name).info.run_id)
    if mlflow.active_run() is None:
        mlflow.start_run(run_id=identity)
    mlflow.log_params(config)

    # Theirs leaves metrics to a thread: a run that is killed would have lost those of its last epoch.
    flush = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: mlflow.flush_async_logging(), on_train_end=lambda logs: mlflow.end_run()
    )
    return [importlib.import_module("mlflow.keras").MlflowCallback(), flush]


TRACKERS = {"wandb": tracked_by_wandb, "mlflow": tracked_by_mlflow}


def _event(step, **content):
    return event_pb2.Event(wall_time=time.time(), step=step, **content)


def _kept(path, make):
    """Returns what stands in the file, made and written where there is none."""
    if not path.exists():
        made = make()
        run_folder.replace(path, lambda temporary: temporary.write_text(made))
    return path.read_text()
