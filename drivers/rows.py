"""The rows of a study as commands of the other drivers."""

import difflib
import os
import pathlib
import shlex
import sys

import options
from absl import flags

from keras_norms import recipes
from keras_norms.data import datasets
from keras_norms.training import run_folder, studies

flags.DEFINE_integer("seeds", 1, "how many trainings of each row", lower_bound=1)
flags.DEFINE_list("rows", [], "the rows to train; all if not given")
flags.DEFINE_boolean("retry_failed", False, "train rows again that have failed")
_DRIVERS = pathlib.Path(__file__).resolve().parent
_PROBE_EVERY = 100


def jobs(study, folder, differences):
    """Returns the jobs that the command line asks for, in a folder that is that of the study.

    Args:
        study: String, a key of `recipes.STUDIES`.
        folder: Path.
        differences: Dict, see `options.overrides`.

    Raises:
        ValueError, OSError: One of them cannot be carried out, or the folder is another's.
    """
    given = flags.FLAGS
    if given["seed"].present:
        raise ValueError(f"A study counts its seeds from 0: --seeds says how many. Received: seed={given.seed}.")
    names = _checked(given.rows, study) or recipes.STUDIES[study].rows
    for name in names:
        options.settings(recipes.published(name).recipe, differences, workdir=None).check()
    dataset = differences.get("dataset", recipes.PUBLISHED[names[0]].recipe.dataset)
    datasets.find(dataset, given.data_dir)
    command = shlex.join(["python", "drivers/study.py", *sys.argv[1:]])
    studies.claim(folder, {"study": study, "command": command, "overrides": differences, "seeds": given.seeds})
    found = studies.jobs(names, given.seeds, folder, recipes.PUBLISHED)
    for job in found if given.retry_failed else ():
        job.forget_failure()
    return found


def _checked(names, study):
    rows = recipes.STUDIES[study].rows
    for name in names:
        if name not in rows:
            (nearest,) = difflib.get_close_matches(name, rows, n=1, cutoff=0)
            raise ValueError(
                f"`rows` must be of the study {study}: {', '.join(rows)}. Received: {name!r}; the nearest is "
                f"{nearest!r}."
            )
    return names


def command_lines(jobs, study):
    """Yields the commands of the trainings that are open, each a line for a shell in any folder."""
    here = shlex.quote(os.getcwd())
    for job in jobs:
        if not (job.is_trained or job.has_failed):
            yield f"cd {here} && {shlex.join(training(job, study))}\n"


def training(job, study):
    """Returns the command that trains a row, a list of strings."""
    probed = recipes.STUDIES[study].probe and not flags.FLAGS["probe_every"].present
    own = [f"--recipe={job.row}", f"--seed={job.seed}", f"--workdir={job.folder}", "--export_dir="]
    more = [f"--probe_every={_PROBE_EVERY}"] if probed else []
    return [sys.executable, str(_DRIVERS / "train.py"), *own, *more, *options.serialized("seed", "workdir")]


def carried_out(job, study):
    """Trains and tests a row as far as that has not been done. Returns a line that tells how it went."""
    if job.has_failed:
        return "has failed before; --retry_failed tries again"
    if not job.is_trained and job.folder.is_dir():
        with run_folder.locked(job.folder):
            pass  # else what a killed study has left at work there would count as a failure of the row
    error = None if job.is_trained else job.carry_out(training(job, study))
    for file, (statistics, batch_size) in ({} if error else job.open_tests).items():
        error = error or job.carry_out(_testing(job.folder, statistics, batch_size, file))
    return f"failed: {error}" if error else "done"


def _testing(folder, statistics, batch_size, file):
    own = [f"--run={folder}", f"--statistics={statistics}", f"--batch_size={batch_size}", f"--json={file}"]
    there = [flags.FLAGS[name].serialize() for name in ("data_dir", "replicas", "xla") if flags.FLAGS[name].present]
    return [sys.executable, str(_DRIVERS / "evaluate.py"), *own, *there]
