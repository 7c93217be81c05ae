"""The drivers as processes, alone or as the workers of one run."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

DRIVER = pathlib.Path(__file__).parents[2] / "drivers" / "train.py"


def free_ports(count):
    """Returns ports of this machine that nothing listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


def tf_config(ports, index, role="worker"):
    """Returns the TF_CONFIG of a worker on this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})


class Process:
    """A program that runs, whose output can be read meanwhile.

    Args:
        command: List of what `subprocess` takes.
        folder: Path, where it runs and where its output is kept.
        variables: Dict of strings, environment variables.
    """

    def __init__(self, command, folder, **variables):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
        self._files = [folder / name for name in ("out.txt", "err.txt")]
        with open(self._files[0], "w") as out, open(self._files[1], "w") as err:
            self._popen = subprocess.Popen(
                [sys.executable, *command], stdout=out, stderr=err, cwd=folder, env={**kept, **variables}
            )

    @property
    def out(self):
        return self._files[0].read_text()

    @property
    def err(self):
        return self._files[1].read_text()

    @property
    def running(self):
        return self._popen.poll() is None

    def send(self, number):
        """Sends a signal."""
        self._popen.send_signal(number)

    def end(self, seconds):
        """Returns the exit status; kills the program if it has not ended after so many seconds, and fails."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self._popen.kill()
            self._popen.wait()
            raise AssertionError(f"still running after {seconds:.0f} s:\n{self.out}\n{self.err}") from error


def workers(command, folders):
    """Starts a program as the workers of one run, each in its folder. Returns the list of `Process`."""
    ports = free_ports(len(folders))
    return [Process(command, folder, TF_CONFIG=tf_config(ports, i)) for i, folder in enumerate(folders)]


def wait_until(condition, processes, seconds=120):
    """Returns when the condition holds; fails when it does not in time, or a process has ended before."""
    end = time.monotonic() + seconds
    while not condition():
        alive = all(process.running for process in processes)
        if not alive or time.monotonic() > end:
            told = "\n".join(process.out + process.err for process in processes)
            raise AssertionError(f"{'too late' if alive else 'a process has ended'}:\n{told}")
        time.sleep(0.05)
