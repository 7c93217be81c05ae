"""The folders that TensorFlow Serving reads: `<folder>/<name>/<version>/`, where a version is an integer.

A server polls `<folder>/<name>` and loads a version as soon as it sees it. So a version is written into a temporary
folder beside `<folder>/<name>`, on the same file system, and renamed into place.
"""

import contextlib
import json
import os
import pathlib
import re
import tempfile

import tensorflow as tf

from keras_norms.export import manifest


def check_folder(folder, name):
    """Refuses a place where `export` could not write, and leaves nothing in it but `folder` itself.

    Args:
        folder: Path, the folder of all models. It is made where it is missing.
        name: String, the name of the model: letters, digits, `_`, `-` and `.`, the first a letter, a digit or `_`.

    Raises:
        ValueError: The name is not of that form.
        OSError: The folder cannot be made or written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(
            "`name` must be made of letters, digits, `_`, `-` and `.`, and start with a letter, a digit or `_`. "
            f"Received: name={name!r}."
        )
    try:
        # A file in place of the folder shows in the next line, as what it is.
        with contextlib.suppress(FileExistsError):
            pathlib.Path(folder).mkdir(parents=True)
        with temporary(folder, name) as source:
            _move_there_and_back(source, pathlib.Path(folder, name))
    except OSError as error:
        raise type(error)(
            f"`folder` must be a folder into which versions of {name!r} can be written. "
            f"Received: folder={str(folder)!r} ({error})."
        ) from error


def exported(folder, name, origin):
    """Returns the path of the newest version of a model with this origin, or None.

    Args:
        folder, name: As in `check_folder`.
        origin: What `export` was given.
    """
    wanted = json.loads(json.dumps(origin))
    for version in sorted(_versions(pathlib.Path(folder, name)), reverse=True):
        path = pathlib.Path(folder, name, str(version))
        if (manifest.read(path) or {}).get("origin") == wanted:
            return path
    return None


def temporary(folder, name):
    """Returns a context manager that makes a folder to write a version in, and removes what is left of it."""
    return tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder)


@contextlib.contextmanager
def writing(folder):
    """Raises an `OSError` that names the folder, in place of what Python or TensorFlow raises at a full disk."""
    try:
        yield
    except (OSError, tf.errors.ResourceExhaustedError, tf.errors.UnknownError, tf.errors.DataLossError) as error:
        raise OSError(f"{folder} cannot be written: {str(error).partition(chr(10))[0]}") from error


def publish(source, folder, name):
    """Moves a folder to the next version of a model.

    The next version is one more than the largest, whatever bears its number. One that exists is never overwritten,
    also if it comes into being meanwhile.

    Args:
        source: Path of a folder that is not empty, on the same file system.
        folder, name: As in `check_folder`.

    Returns:
        `pathlib.Path` of the version.
    """
    model = pathlib.Path(folder, name)
    model.mkdir(exist_ok=True)
    version = 1 + max(_versions(model), default=0)
    while True:
        target = model / str(version)
        try:
            os.rename(source, target)
        except OSError:
            if not os.path.lexists(target):
                raise
            version += 1
        else:
            return target


def _versions(model):
    return [int(entry.name) for entry in model.glob("*") if entry.name.isdecimal()]


def _move_there_and_back(source, model):
    """Rehearses the move of a version. Asking for permissions is not enough: root has them on a read-only disk too."""
    if os.path.lexists(model):
        there = model / pathlib.Path(source).name
        os.rename(source, there)
        os.rename(there, source)
