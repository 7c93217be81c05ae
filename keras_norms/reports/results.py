"""What a study has left in its folder, row by row and seed by seed, whatever is missing there."""

import csv
import dataclasses
import json
import math
import pathlib

from keras_norms import recipes

ENDED, FAILED, UNFINISHED, MISSING = "ended", "failed", "unfinished", "missing"


@dataclasses.dataclass(frozen=True)
class Run:
    """A row with one seed.

    Attributes:
        seed: Integer.
        status: String, `ENDED`, `FAILED`, `UNFINISHED` or `MISSING`.
        reason: String, why it has not ended, or why a further test of it failed; empty if there is nothing to say.
        settings, environment: Dicts, of its `config.json`; empty where there is none.
        history: Tuple of dicts of floats, one an epoch.
        seconds: Tuple of floats, what each epoch of the history took; None where it is not known.
        total_seconds: Float, what all epochs took, repeated ones included.
        step_seconds: Tuple of floats, the time of a training step in each epoch whose steps were more than warming up.
        result: Dict, of its `result.json`; empty if it has not ended.
        tests: Tuple of dicts, the reports of further tests.
        probe: Path of its `probe.csv`, or None.
    """

    seed: int
    status: str
    reason: str = ""
    settings: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)
    history: tuple = ()
    seconds: tuple = ()
    total_seconds: float = 0.0
    step_seconds: tuple = ()
    result: dict = dataclasses.field(default_factory=dict)
    tests: tuple = ()
    probe: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a study.

    Attributes:
        recipe: String, the name of its recipe.
        label: String, the row as its paper names it, unlike all others of the study.
        published: `recipes.Published`.
        runs: Tuple of `Run`, one a seed.
    """

    recipe: str
    label: str
    published: recipes.Published
    runs: tuple

    @property
    def ended(self):
        """Tuple of the runs that have ended."""
        return tuple(run for run in self.runs if run.status == ENDED)

    @property
    def drawn(self):
        """Tuple of the runs whose curves are drawn: those that have ended, or where none has, those with any epoch."""
        return self.ended or tuple(run for run in self.runs if run.history)

    @property
    def settings(self):
        """Dict, the settings of the first run that has any; empty where none has."""
        return next((run.settings for run in self.runs if run.settings), {})

    @property
    def title(self):
        """String, the label of what is drawn of the row: one that says so where no run has ended."""
        return self.label if self.ended else f"{self.label} ({self.drawn[0].status})"

    def by_seed(self, name):
        """Returns what `result.json` tells under a name, a dict by seed, of the runs that have ended and tell it."""
        return {run.seed: run.result[name] for run in self.ended if name in run.result}


@dataclasses.dataclass(frozen=True)
class Results:
    """What a study has led to so far.

    Attributes:
        name: String, the name of the study.
        study: `recipes.Study`.
        command: String.
        overrides: Dict, the entries of its recipes that were changed.
        rows: Tuple of `Row`, in the study's order.
        notes: String, what a person has written about them; empty for nothing.
    """

    name: str
    study: recipes.Study
    command: str
    overrides: dict
    rows: tuple
    notes: str = ""

    @property
    def runs(self):
        """Tuple of all runs."""
        return tuple(run for row in self.rows for run in row.runs)


def study_of(folder):
    """Returns the name of the study of a folder.

    Raises:
        ValueError: It is not the folder of a study.
    """
    return _study(folder)["study"]


def read(folder, study, published):
    """Returns the `Results` of a folder.

    Args:
        folder: Path.
        study: `recipes.Study`.
        published: Dict of `recipes.Published` by the name of the recipe.

    Raises:
        ValueError: It is not the folder of a study.
    """
    told = _study(folder)
    labels = [published[recipe].label for recipe in study.rows]
    rows = tuple(
        Row(
            recipe,
            label if labels.count(label) == 1 else f"{label} ({recipe})",
            published[recipe],
            _runs(folder / recipe, told["seeds"]),
        )
        for recipe, label in zip(study.rows, labels, strict=True)
    )
    return Results(told["study"], study, told["command"], told["overrides"], rows)


def readings(path):
    """Returns the complete lines of a `probe.csv`, dicts with `step`, `depth`, `layer`, `quantity` and `value`.

    Lines without a depth, which tell of the whole network, are left out.
    """
    with open(path, newline="") as file:
        return [
            {**row, "step": int(row["step"]), "depth": int(row["depth"]), "value": float(row["value"])}
            for row in csv.DictReader(line for line in file if line.endswith("\n"))
            if row["depth"]
        ]


def _study(folder):
    path = folder / "study.json"
    if not path.exists():
        raise ValueError(f"`study_folder` must be one that drivers/study.py has written. Received: {folder}.")
    return json.loads(path.read_text())


def _runs(folder, seeds):
    found = {int(path.name) for path in folder.glob("*") if path.name.isdigit()}
    return tuple(_run(folder / str(seed), seed) for seed in sorted(found | set(range(seeds))))


def _run(folder, seed):
    config, history = _json(folder / "config.json", {}), _csv(folder / "history.csv")
    settings, result = config.get("settings", {}), _json(folder / "result.json", {})
    speeds, probe = _csv(folder / "speed.csv"), folder / "probe" / "probe.csv"
    seconds = {row["epoch"]: row["seconds"] for row in speeds}
    failure = _json(folder / "failure.json", {}).get("error")
    status, reason = _status(failure, settings, history, result)
    return Run(
        seed=seed,
        status=status,
        reason=reason,
        settings=settings,
        environment=config.get("environment", {}),
        history=history,
        seconds=tuple(seconds.get(row["epoch"]) for row in history),
        total_seconds=math.fsum(row["seconds"] for row in speeds),
        step_seconds=tuple(settings["batch_size"] / row["images_per_second"] for row in _measured(speeds, settings)),
        result=result,
        tests=tuple(_json(path, {}) for path in sorted(folder.glob("test-*.json"))),
        probe=probe if probe.exists() else None,
    )


def _measured(speeds, settings):
    """Returns the epochs whose speed is known: one of two steps in a process is all warming up, and reads 0."""
    return [row for row in speeds if settings and row["images_per_second"]]


def _status(failure, settings, history, result):
    """Returns the status of a run and its reason."""
    if result and not math.isfinite(result["test_accuracy"]):
        return FAILED, f"its test accuracy is {result['test_accuracy']}"
    if result or failure is not None:
        return ENDED if result else FAILED, " ".join((failure or "").split())
    if not settings and not history:
        return MISSING, "not run"
    whole = "" if settings.get("steps") or "epochs" not in settings else f" of {settings['epochs']}"
    return UNFINISHED, f"{len(history)}{whole} epochs made"


def _json(path, otherwise):
    return json.loads(path.read_text()) if path.exists() else otherwise


def _csv(path):
    if not path.exists():
        return ()
    with open(path, newline="") as file:
        return tuple({name: float(value) for name, value in row.items()} for row in csv.DictReader(file))
