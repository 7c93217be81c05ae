"""The settings of a run: a recipe, and how it is carried out here."""

import dataclasses
import pathlib

from keras_norms import models
from keras_norms.recipes import Recipe
from keras_norms.training import cluster, loggers

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
XLA = ("auto", "on", "off")


@dataclasses.dataclass(frozen=True)
class Settings:
    """A recipe, and how it is carried out here.

    Attributes:
        recipe: `recipes.Recipe`.
        seed: Integer, of initial weights, order of the data, augmentation and dropout.
        replicas: Integer, the number of GPUs, or of parts of the CPU; None for all GPUs, or one CPU. On several
            machines (`TF_CONFIG`) each uses what it has, and this must be None.
        xla: String, one of `XLA`. `auto` is on for GPUs and off for CPUs, where it is slower.
        precision: String, one of `PRECISIONS`.
        skip_bad_records: Boolean, whether records that cannot be used are left out and counted, not refused.
        data_dir: Path of the data sets; None for the default of TensorFlow Datasets.
        workdir: Path of the run's folder; None for `runs/<recipe>-<dataset>/<seed>`, or for a recipe without a name
            `runs/<arch>-<dataset>-<normalization>/<seed>`.
        checkpoint_minutes: Float, the longest time between two checkpoints, of which there is one after each epoch.
        probe_every: Integer, how many steps lie between two looks of a `keras_norms.Probe`; 0 for none.
        profile: Pair of integers, the first and the last step that TensorFlow's profiler records; None for none.
        trackers: Tuple of names of `loggers.TRACKERS`, further places that get the history.

    Those from `data_dir` on do not decide the result: a run may go on with other values.
    """

    recipe: Recipe
    seed: int = 0
    replicas: int | None = None
    xla: str = "auto"
    precision: str = "float32"
    skip_bad_records: bool = False
    data_dir: str | None = None
    workdir: str | None = None
    checkpoint_minutes: float = 10.0
    probe_every: int = 0
    profile: tuple | None = None
    trackers: tuple = ()

    @property
    def folder(self):
        recipe = self.recipe
        unnamed = f"{recipe.arch}-{recipe.dataset}-{recipe.normalization}"
        name = f"{recipe.name}-{recipe.dataset}" if recipe.name else unnamed
        return pathlib.Path(self.workdir or f"runs/{name}/{self.seed}")

    def deciding(self):
        """Returns, as JSON, the settings that decide the result."""
        own = {name: getattr(self, name) for name in ("seed", "replicas", "xla", "precision", "skip_bad_records")}
        return {**dataclasses.asdict(self.recipe), **own, "workers": cluster.size()}

    def check(self):
        """Refuses impossible settings, as far as they can be seen without the data.

        Raises:
            ValueError: One of them is impossible.
        """
        for name, value, allowed in (
            ("arch", self.recipe.arch, list(models.ARCHITECTURES)),
            ("xla", self.xla, list(XLA)),
            ("precision", self.precision, list(PRECISIONS)),
        ):
            if value not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}.")
        if self.replicas is not None and self.replicas < 1:
            raise ValueError(f"`replicas` must be at least 1. Received: replicas={self.replicas}.")
        if self.probe_every < 0:
            raise ValueError(f"`probe_every` must be at least 0. Received: probe_every={self.probe_every}.")
        if not self.checkpoint_minutes > 0:
            raise ValueError(
                f"`checkpoint_minutes` must be above 0. Received: checkpoint_minutes={self.checkpoint_minutes}."
            )
        for tracker in self.trackers:
            loggers.check(tracker)
        if self.replicas is not None and cluster.size() > 1:
            raise ValueError(
                "`replicas` cannot be chosen on several machines, each of which uses all its GPUs, or its CPU as one. "
                f"Received: replicas={self.replicas} with {cluster.size()} workers in TF_CONFIG."
            )
