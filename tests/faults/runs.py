"""Runs as processes that are told, killed and started again, and what they leave behind, compared to the last bit."""

import pathlib
import re
import signal
import time

import numpy as np
import tensorflow as tf

from tests.faults import processes

SMALL = pathlib.Path(__file__).parent / "small.py"
# A checkpoint after every step.
FLAGS = (
    "--arch=small", "--normalization=batch_norm_before", "--activation=rrelu", "--dropout=0.3",
    "--weight_average=0.9", "--nodrop_remainder", "--epochs=3", "--checkpoint_minutes=1e-6",
)  # fmt: skip


class Run:
    """A command with a run's folder, and the processes that have been at work in it.

    Args:
        folder: Path, made where it is missing. The run's own is `run` in it, its SavedModels' `saved_models`.
        flags: Strings, the flags of the command.
        program: Path, the driver to run.
        workdir: Path of the run's folder, if it is another.
    """

    def __init__(self, folder, flags, program=SMALL, workdir=None):
        self.folder, self.workdir = folder, workdir or folder / "run"
        self._command = [program, *flags, f"--workdir={self.workdir}"]
        if program == processes.DRIVER:
            self._command.append(f"--export_dir={folder / 'saved_models'}")
        self._started = 0

    def start(self, *flags):
        """Starts the command, with further flags. Returns the `processes.Process`."""
        self._started += 1
        own = self.folder / f"process{self._started}"
        own.mkdir(parents=True)
        # A process that is killed leaves temporary files of TensorFlow.
        return processes.Process([*self._command, *flags], own, TMPDIR=str(own))

    def finish(self, *flags):
        """Starts the command and waits for a good end. Returns the `processes.Process`."""
        process = self.start(*flags)
        assert process.end(400) == 0, process.out + process.err
        return process

    def fail(self, *flags):
        """Starts the command, which must end with one line about an error. Returns that line."""
        process = self.start(*flags)
        return failed(process)

    @property
    def checkpoints(self):
        """The folder of the checkpoints."""
        return self.workdir / "checkpoints"

    def saved(self):
        """Returns the steps of the complete checkpoints, ascending."""
        return sorted(int(file.stem.removeprefix("ckpt-")) for file in self.checkpoints.glob("ckpt-*.sha256"))

    def step(self):
        """Returns the step of the newest complete checkpoint, -1 if there is none."""
        return max(self.saved(), default=-1)

    def wait(self, process, steps=1):
        """Returns when a process has written a checkpoint so many steps after the present one."""
        wanted = self.step() + steps
        processes.wait_until(lambda: self.step() >= wanted, [process], seconds=300)

    def halves(self):
        """Returns the set of the names of what is half written, or half removed."""
        whole = {str(step) for step in self.saved()}
        parts = {p.name for p in self.checkpoints.glob("ckpt-*")}
        parts = {name for name in parts if re.split(r"[._]", name.removeprefix("ckpt-"))[0] not in whole}
        return parts | {p.name for folder in (self.workdir, self.checkpoints) for p in folder.glob("*.tmp")}


def failed(process):
    """Waits until a process ends with one line about an error. Returns that line."""
    assert process.end(300) == 1, process.out + process.err
    lines = process.err.strip().splitlines()
    assert len(lines) == 1, process.err
    return lines[0]


class Killer:
    """Kills the processes of a run with a signal that they cannot see, and counts.

    Args:
        run: `Run`.
        seed: Integer, of the instants.
        tally: List, which gets a boolean for each kill: whether it left something half written.
    """

    def __init__(self, run, seed, tally):
        self._run, self._rng, self._tally = run, np.random.default_rng(seed), tally

    def in_training(self, most_steps):
        """Starts the run and kills it after some of its steps, in the midst of whatever it does then."""
        halves, process = self._run.halves(), self._run.start()
        self._run.wait(process, self._rng.integers(1, most_steps + 1))
        self._kill(process, 0.15, halves)

    def in_its_first(self, seconds):
        """Starts the run and kills it at an instant of its first seconds."""
        halves, process = self._run.halves(), self._run.start()
        self._kill(process, seconds, halves)

    def after(self, condition, seconds):
        """Starts the run and kills it at an instant of the seconds after a condition has come to hold."""
        halves, process = self._run.halves(), self._run.start()
        processes.wait_until(condition, [process], seconds=300)
        self._kill(process, seconds, halves)

    def _kill(self, process, seconds, halves):
        time.sleep(self._rng.uniform(0, seconds))
        process.send(signal.SIGKILL)
        assert process.end(60) == -signal.SIGKILL, process.out + process.err
        self._tally.append(bool(self._run.halves() - halves))


def assert_equal(run, other):
    """Fails unless two runs have come to the same result, to the last bit."""
    assert run.step() == other.step()
    for name in ("history.csv", "result.json"):
        assert (run.workdir / name).read_bytes() == (other.workdir / name).read_bytes()
    tensors, expected = _tensors(run), _tensors(other)
    assert tensors.keys() == expected.keys()
    assert [name for name in expected if tensors[name] != expected[name]] == []


def _tensors(run):
    """Returns the bytes of all that is in the last checkpoint, but for how often one was written."""
    reader = tf.train.load_checkpoint(str(run.checkpoints / f"ckpt-{run.step()}"))
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith("save_counter")]
    assert len(names) > 20
    return {name: _bytes(reader.get_tensor(name)) for name in names}


def _bytes(value):
    return value if isinstance(value, bytes) else value.tobytes()
