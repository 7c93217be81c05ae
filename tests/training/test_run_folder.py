import subprocess
import sys

import pytest

from keras_norms.training import run_folder

HOLDER = """
import pathlib, sys, time
from keras_norms.training import run_folder
with run_folder.locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_folder_that_another_process_works_in_is_refused_until_it_is_gone(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    with (
        pytest.raises(ValueError, match=rf"in use by another run.*process {process.pid} on .*--workdir"),
        run_folder.locked(tmp_path),
    ):
        pass
    process.kill()
    process.wait()
    with run_folder.locked(tmp_path):
        pass


def test_lock_is_lifted_with_the_context(tmp_path):
    with run_folder.locked(tmp_path):
        pass
    with run_folder.locked(tmp_path), pytest.raises(ValueError, match="in use"), run_folder.locked(tmp_path):
        pass


def test_failed_writing_names_the_file_and_leaves_it_as_it_was(tmp_path):
    path = tmp_path / "file.json"
    run_folder.write(path, {"a": 1})
    before = path.read_bytes()

    def half(temporary):
        temporary.write_text("{")
        raise OSError("full")

    with pytest.raises(OSError, match=r"file\.json cannot be written: full"):
        run_folder.replace(path, half)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]
