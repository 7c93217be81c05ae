"""A study: each row of it with each seed is a run, in a folder of its own, carried out by a process of its own.

study.json                   what is studied, and what differs from the published recipes
<row>/<seed>/                the folder of a run (`run_folder`), and beside what that has
<row>/<seed>/test-*.json     what `drivers/evaluate.py` found, where a row was published with a test of its own
<row>/<seed>/failure.json    why the run has failed
"""

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess

from keras_norms.training import interruption, run_folder

STUDY, FAILURE = "study.json", "failure.json"
# Seconds, for a run to save what it has after Ctrl-C.
_PATIENCE = 10
# Statuses of a process that was told to end: that of a driver after Ctrl-C, and before a driver handles signals.
_TOLD = (128 + signal.SIGINT, -signal.SIGINT, -signal.SIGTERM)


@dataclasses.dataclass(frozen=True)
class Job:
    """A row of a study with a seed.

    Attributes:
        row: String, the name of a published recipe.
        seed: Integer.
        folder: Path of its run.
        protocols: Tuple, see `recipes.Published`.
    """

    row: str
    seed: int
    folder: pathlib.Path
    protocols: tuple = ()

    @property
    def is_trained(self):
        return run_folder.result(self.folder) is not None

    @property
    def has_failed(self):
        return (self.folder / FAILURE).exists()

    @property
    def open_tests(self):
        """The tests that have not been made: dict from files to pairs of statistics and batch size."""
        files = {
            self.folder / f"test-{statistics}-{size}.json": (statistics, size) for statistics, size in self.protocols
        }
        return {file: protocol for file, protocol in files.items() if not file.exists()}

    def forget_failure(self):
        """Lets a job that has failed be tried again."""
        (self.folder / FAILURE).unlink(missing_ok=True)

    def carry_out(self, command):
        """Runs a command of this job in a process, and writes down why it failed, if it does.

        Args:
            command: List of strings.

        Returns:
            The line that says why, or None.

        Raises:
            KeyboardInterrupt: This process or the other one was told to end. What there is is saved.
        """
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
            try:
                _, said = process.communicate()
            except KeyboardInterrupt as interrupt:
                if not isinstance(interrupt, interruption.Preempted):
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.communicate(timeout=_PATIENCE)  # Ctrl-C has reached it, too: it saves
                process.terminate()
                process.communicate()  # not `wait`: what it says still has to be read
                raise
        if process.returncode in _TOLD or not (process.returncode or self.is_trained):
            raise interruption.Preempted(f"{self.row} with seed {self.seed} was told to end. The same command goes on.")
        if not process.returncode:
            return None
        lines = said.strip().splitlines() or [f"exit status {process.returncode}"]
        error = lines[-1] if process.returncode > 0 else f"ended by signal {-process.returncode}"
        self.folder.mkdir(parents=True, exist_ok=True)
        run_folder.write(self.folder / FAILURE, {"error": error})
        return error


def jobs(rows, seeds, folder, published):
    """Returns the jobs of a study: all rows with one seed, then with the next.

    Args:
        rows: Sequence of names of published recipes.
        seeds: Integer, how many.
        folder: Path of the study.
        published: Dict from names to `recipes.Published`.
    """
    return [Job(row, seed, folder / row / str(seed), published[row].protocols) for seed in range(seeds) for row in rows]


def claim(folder, content):
    """Makes the folder that of a study, or checks that it is.

    Args:
        folder: Path.
        content: Dict, as JSON. `command` and `seeds` may be others than before, and are replaced.

    Raises:
        ValueError: It is the folder of another study, or of this one with other settings.
        OSError: It cannot be written.
    """
    path, content = folder / STUDY, json.loads(json.dumps(content))
    before = json.loads(path.read_text()) if path.exists() else content
    other = [name for name in content if name not in ("command", "seeds") and before.get(name) != content[name]]
    if other:
        was, now = ({name: one.get(name) for name in other} for one in (before, content))
        raise ValueError(
            "`workdir` must be new, or that of the same study with the same settings: give another --workdir. "
            f"Received: {folder}, made with {was}, and now {now}."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run_folder.write(path, content)
    except OSError as error:
        raise type(error)(f"`workdir` must be a folder that can be written. Received: {folder} ({error}).") from error
