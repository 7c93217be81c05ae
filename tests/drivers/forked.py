"""The drivers as processes that are forked with TensorFlow imported: its import is most of what a short command takes.

Python ends them as it ends those of multiprocessing, without the functions of atexit. For how a command ends, run it
with `subprocess`.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

_DRIVERS = pathlib.Path(__file__).parents[2] / "drivers"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.drivers.imported"])


def run(driver, arguments, folder):
    """Returns the `subprocess.CompletedProcess` of a command.

    Args:
        driver: String, its file's name.
        arguments: Sequence of what becomes strings.
        folder: Path, where it runs.
    """
    command = [str(_DRIVERS / driver), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as kept:
        files = [os.path.join(kept, name) for name in ("out.txt", "err.txt")]
        process = _CONTEXT.Process(target=_drive, args=(command, str(folder), *files), daemon=True)
        process.start()
        process.join()
        out, err = (pathlib.Path(file).read_text() for file in files)
    return subprocess.CompletedProcess(command, process.exitcode, out, err)


def _drive(command, folder, *files):
    os.chdir(folder)
    tempfile.tempdir = None
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv, sys.path[:0] = command, [str(_DRIVERS)]
    runpy.run_path(command[0], run_name="__main__")
