"""The folder of a run: what it is a run of, how it went, and what it left.

config.json    the settings, and the versions, commit and devices it ran with
initialization.txt  what was done to the layers before the first step, if the recipe says so
history.csv    one row an epoch
speed.csv      how long each epoch took, and what of it was waiting for data
curves.png     the history as a picture
tensorboard/   the same for TensorBoard
probe/         what a `keras_norms.Probe` has seen inside the network
checkpoints/   the state to go on from
result.json    the end, once there is one
lock           held while a process works in the folder
"""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import platform
import subprocess

import keras
import tensorflow as tf

from keras_norms import version

CONFIG, RESULT, LOCK = "config.json", "result.json", "lock"


def claim(folder, settings, devices):
    """Makes the folder that of a run with these settings, or checks that it is.

    Args:
        folder: Path.
        settings: Dict of what decides the result, as JSON.
        devices: List of strings.

    Raises:
        ValueError: It is the folder of a run with other settings, or no run's.
        OSError: It cannot be written.
    """
    if (folder / CONFIG).exists():
        _check_same(folder, settings)
    elif folder.is_dir() and any(path.suffix != ".tmp" and path.name != LOCK for path in folder.iterdir()):
        raise ValueError(
            f"`workdir` must be empty, new, or the folder of a run. Received: {folder}, which holds others' files."
        )
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / CONFIG, {"settings": settings, "environment": environment(devices)})
        except OSError as error:
            raise type(error)(
                f"`workdir` must be a folder that can be written. Received: {folder} ({error})."
            ) from error


@contextlib.contextmanager
def locked(folder):
    """Keeps other processes out of the folder of a run, for as long as this one lives in the context.

    The operating system lifts the lock when the process ends, however it ends.

    Raises:
        ValueError: Another process is in it.
    """
    with open(folder / LOCK, "ab+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"`workdir` must not be in use by another run. Received: {folder}, where "
                f"{file.read().decode().strip()} is at work. Wait for it, or give this run another --workdir."
            ) from error
        with writing(folder / LOCK):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        yield


def result(folder):
    """Returns what the run has resulted in, or None if it has not ended."""
    path = folder / RESULT
    return json.loads(path.read_text()) if path.exists() else None


def origin(folder, result):
    """Returns where a network of this run comes from: settings and environment of the run, and its result."""
    return {**json.loads((folder / CONFIG).read_text()), "result": result}


def result_of(folder, settings):
    """Returns the result if the folder holds that of a run with these settings, or None if it holds no result.

    Raises:
        ValueError: It is the folder of a run with other settings.
    """
    if result(folder) is not None:
        _check_same(folder, settings)
    return result(folder)


def write(path, content):
    """Writes JSON to a file that is complete or not there."""
    replace(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


def replace(path, write):
    """Calls `write` with a path to write to, then moves what is there to `path`: complete, or as it was before."""
    temporary = path.with_suffix(".tmp")
    with writing(path):
        try:
            write(temporary)
            sync(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


@contextlib.contextmanager
def writing(path):
    """Raises an `OSError` that names what cannot be written, in place of what is raised by Python or TensorFlow."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise OSError(f"{path} cannot be written: {str(error).partition(chr(10))[0]}") from error


def sync(path):
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def environment(devices):
    """Returns what a result depends on beside its settings: versions, commit, machine."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **versions(),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "devices": devices,
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
    }


def versions():
    """Returns the versions of what computes, by name."""
    return {"keras_norms": version.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}


def _commit():
    """Returns the commit of the code, marked if it has been changed since; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        here = pathlib.Path(__file__).parent
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _check_same(folder, settings):
    before, now = json.loads((folder / CONFIG).read_text())["settings"], json.loads(json.dumps(settings))
    keys = sorted(before.keys() | now.keys())
    differences = [
        f"{key}={before.get(key)!r}, now {now.get(key)!r}" for key in keys if before.get(key) != now.get(key)
    ]
    if differences:
        raise ValueError(
            f"The folder {folder} holds a run with other settings ({'; '.join(differences)}). "
            "Give this run a folder of its own with --workdir, or remove that one."
        )
