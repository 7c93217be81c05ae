"""Starts, asks and ends the processes of entrants."""

import contextlib
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from benchmarks.contest import entrant as entrants
from benchmarks.contest import machine, worker

# An answer that takes longer never comes.
LONGEST_SECONDS = 900


class EntrantError(Exception):
    """What an entrant answered instead of results, or that it did not."""


class Process:
    """The process of one entrant, built and warm.

    Args:
        entrant: The `Entrant`.
        threads: How many threads its framework may use.

    Raises:
        EntrantError: If the entrant's modules are not installed, or it fails.
    """

    def __init__(self, entrant, threads):
        self.number = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(LONGEST_SECONDS)
        with theirs:
            order(entrant, threads, [theirs.fileno(), self.errors.fileno()])
        try:
            self.number = self.answer()["process"]
            self.built = self.answer()
        except EntrantError:
            self.stop()
            raise

    def measure(self, least_seconds):
        """Returns the seconds of one repeat."""
        self.channel.send(json.dumps({"least_seconds": least_seconds}).encode())
        return self.answer()["seconds"]

    def answer(self):
        """Returns the next message of the process."""
        try:
            packet = self.channel.recv(worker.LONGEST)
        except TimeoutError as error:
            raise EntrantError(f"no answer within {LONGEST_SECONDS} s") from error
        except ConnectionError:
            packet = b""
        if not packet:
            raise EntrantError(f"ended without an answer; printed last: {last_line(self.errors)}")
        answer = json.loads(packet)
        if "error" in answer:
            raise EntrantError(answer["error"])
        return answer

    def settle(self, longest_seconds=2):
        """Waits until no thread of the process and of those it started runs, as when data are still fetched ahead."""
        until = time.monotonic() + longest_seconds
        while running(self.number) and time.monotonic() < until:
            time.sleep(0.005)

    def stop(self):
        """Ends the process and those it started."""
        self.channel.close()
        self.errors.close()
        if self.number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.number, signal.SIGKILL)


def order(entrant, threads, descriptors):
    """Has an importing process make the process of an entrant, with a channel and a file of errors."""
    module, function = entrant.make.split(":")
    # A process that has found a GPU cannot be copied, and frameworks look for one while they are imported.
    fork = not machine.gpus()
    start = importer if fork else importer.__wrapped__
    control = start(module, entrant.interpreter, tuple(sorted(entrant.environment.items())), threads)
    message = {"function": function, "arguments": entrant.arguments, "fork": fork}
    try:
        socket.send_fds(control, [json.dumps(message).encode()], descriptors)
    except ConnectionError as error:
        importer.cache_clear()
        raise EntrantError("the process that had imported its modules is gone") from error


@functools.cache
def importer(module, interpreter, environment, threads):
    """Returns the socket of a process that has imported a module; it ends when the socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, tempfile.TemporaryFile() as errors:
        subprocess.Popen(
            [entrants.interpreter(interpreter), "-m", "benchmarks.contest.worker", str(theirs.fileno()), module],
            cwd=entrants.ROOT,
            env=surroundings(interpreter, threads) | dict(environment),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )
        theirs.close()
        packet = ours.recv(worker.LONGEST)
        answer = json.loads(packet) if packet else {"error": f"ended while imported: {last_line(errors)}"}
    if "error" in answer:
        ours.close()
        raise EntrantError(answer["error"])
    return ours


def surroundings(interpreter, threads):
    """Returns the environment variables of all entrants: equal threads, no memory taken ahead, few words."""
    inherited = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if interpreter == "tensorflow":
        inherited["KERAS_BACKEND"] = "tensorflow"
    return inherited | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(entrants.ROOT), inherited.get("PYTHONPATH")])),
    }


def running(session):
    """Returns whether a thread of a session of processes runs now, as Linux has it in /proc."""
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if state(status)[3] == str(session) and any(
                state(thread)[0] == "R" for thread in status.parent.glob("task/*/stat")
            ):
                return True
    return False


def state(status):
    """Returns the fields of a file of /proc behind the name: the state, the parent, the group, the session and more."""
    return status.read_text().rpartition(")")[2].split()


def last_line(file):
    """Returns the last line of a file that is not empty."""
    file.seek(0)
    lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "nothing")
