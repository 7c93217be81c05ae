"""The driver as a command, against the stub servers: what it prints, how it ends, and what it does not import."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.serving import tiny
from tests.serving.conftest import both, folders, served, versions  # noqa: F401  # fixtures

DRIVER = pathlib.Path(__file__).parents[2] / "drivers" / "query.py"


def query(*arguments, folder=None):
    return subprocess.run([sys.executable, DRIVER, *arguments], capture_output=True, text=True, cwd=folder, timeout=60)


@pytest.fixture
def images(tmp_path):
    (tmp_path / "red.png").write_bytes(tiny.file((255, 0, 0)))
    (tmp_path / "green.jpg").write_bytes(tiny.file((0, 255, 0), form="jpeg"))
    (tmp_path / "notes.png").write_text("notes")
    (tmp_path / "cut.png").write_bytes(tiny.file((1, 2, 3))[:40])
    return tmp_path


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_prints_the_classes_of_each_image(both, images, api):  # noqa: F811
    arguments = [f"--api={api}", f"--server={both[api]}", "--model=colours", "--label=stable", "--top=2"]
    result = query(*arguments, "red.png", "green.jpg", folder=images)
    version = " (version 2)" if api == "grpc" else ""
    # softmax of the columns of the kernel, by hand: e^4 / (e^4 + e^-1 + e^-2 + e^2 + e^-3 + e), e^2 / the same
    lines = result.stdout.splitlines()
    assert lines[:3] == [f"red.png{version}", "  0.8366  red", "  0.1132  Hühnerhund"]
    assert lines[3] == f"green.jpg{version}"
    assert lines[4].endswith("  green")
    assert (result.returncode, result.stderr, len(lines)) == (0, "", 6)


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_bad_image_is_said_and_the_others_are_answered(both, images, api):  # noqa: F811
    arguments = [f"--api={api}", f"--server={both[api]}", "--model=colours", "--signature=classify", "--top=1"]
    result = query(*arguments, "cut.png", "red.png", "notes.png", "missing.png", ".", "green.jpg", folder=images)
    assert result.returncode == 1
    told = [line.partition(" (")[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert told == ["red.png", "green.jpg"]
    errors = result.stderr.splitlines()
    for line, words in zip(
        errors,
        [
            "cut.png: The server refuses it",
            "notes.png: The file is not an image",
            "missing.png: There is",
            ".: This is",
        ],
        strict=True,
    ):
        assert line.startswith(f"query.py: {words}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=colours"], "Name at least one image file"),
        (["red.png"], "--model"),
        (["--model=none", "red.png"], "has no model 'none'"),
        (["--model=colours", "--version=9", "red.png"], "version 9"),
        (["--model=colours", "--version=2", "--label=stable", "red.png"], "not both"),
        (["--model=colours", "--retries=5", "red.png"], "from 0 to 4"),
        (["--model=colours", "--timeout=0", "red.png"], "`timeout` must be positive"),
        (["--model=colours", "--top=6", "red.png"], "top"),
        (["--model=colours", "--certificate=nowhere.pem", "red.png"], "nowhere.pem"),
        (["--model=colours", "--server=ftp://x", "red.png"], "host:port"),
    ],
)
def test_wrong_words_get_one_clear_error(both, images, arguments, words):  # noqa: F811
    result = query(f"--server={both['rest']}", *arguments, folder=images)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_no_server(images):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    for api in ("rest", "grpc"):
        result = query(f"--api={api}", f"--server={address}", "--model=m", "--retries=1", "red.png", folder=images)
        assert result.returncode == 1
        assert result.stderr.startswith(f"query.py: There is no connection to {address}")
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_ctrl_c(images, api):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        # In the background of a shell that is not interactive, SIGINT is ignored, also by what is started from there.
        heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"
        program = f"import runpy, signal; {heard}; runpy.run_path({str(DRIVER)!r}, run_name='__main__')"
        path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DRIVER.parent), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-c", program, f"--api={api}", f"--server={address}", "--model=m", "red.png"]
        running = subprocess.Popen(command, cwd=images, stderr=subprocess.PIPE, text=True, env=path)
        silent.settimeout(30)
        connection, _ = silent.accept()  # It waits for an answer now.
        with connection:
            time.sleep(0.2)
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert errors == ""


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_starts_without_tensorflow(both, images, api):  # noqa: F811
    program = (
        "import sys, runpy\n"
        "try:\n"
        f"    runpy.run_path({str(DRIVER)!r}, run_name='__main__')\n"
        "finally:\n"
        "    heavy = {'keras', 'numpy', 'tensorflow.python', 'keras_norms.layers', 'keras_norms.export.saved_model'}\n"
        "    print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    arguments = [f"--api={api}", f"--server={both[api]}", "--model=colours", "red.png"]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(DRIVER.parent)!r})\n{program}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=images)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "heavy: []"
