"""A run: a recipe, carried out on the devices of this machine, in a folder that keeps all of it."""

import dataclasses
import functools
import math
import pathlib
import time
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_norms import models, probe
from keras_norms.data import datasets, pipeline
from keras_norms.recipes import Recipe
from keras_norms.training import checkpoints, devices, history, progress, run_folder, schedules, steps

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
XLA = ("auto", "on", "off")


@dataclasses.dataclass(frozen=True)
class Settings:
    """A recipe, and how it is carried out here.

    Attributes:
        recipe: `recipes.Recipe`.
        seed: Integer, of initial weights, order of the data, augmentation and dropout.
        replicas: Integer, the number of GPUs, or of parts of the CPU; None for all GPUs, or one CPU.
        xla: String, one of `XLA`. `auto` is on for GPUs and off for CPUs, where it is slower.
        precision: String, one of `PRECISIONS`.
        data_dir: Path of the data sets; None for the default of TensorFlow Datasets.
        workdir: Path of the run's folder; None for `runs/<arch>-<dataset>-<normalization>/<seed>`.
        probe_every: Integer, how many steps lie between two looks of a `keras_norms.Probe`; 0 for none. It does not
            decide the result: a run may go on with another value.
    """

    recipe: Recipe
    seed: int = 0
    replicas: int | None = None
    xla: str = "auto"
    precision: str = "float32"
    data_dir: str | None = None
    workdir: str | None = None
    probe_every: int = 0

    @property
    def folder(self):
        recipe = self.recipe
        default = f"runs/{recipe.arch}-{recipe.dataset}-{recipe.normalization}/{self.seed}"
        return pathlib.Path(self.workdir or default)

    def deciding(self):
        """Returns, as JSON, the settings that decide the result."""
        return {
            **dataclasses.asdict(self.recipe),
            **{name: getattr(self, name) for name in ("seed", "replicas", "xla", "precision")},
        }


class Interrupted(KeyboardInterrupt):
    """The run was interrupted from the keyboard. Its state is saved; the message says how to go on."""


class Outcome(NamedTuple):
    """What a run has led to.

    Attributes:
        model: Keras model in float32, outside any strategy, with moving statistics averaged over the replicas.
        prepare: `pipeline.Preprocessing`, from pixels to what the model takes.
        dataset: `datasets.Dataset`.
        result: Dict, the content of `result.json`.
    """

    model: keras.Model
    prepare: pipeline.Preprocessing
    dataset: datasets.Dataset
    result: dict


class Run:
    """Everything a run needs, made and checked before the first step.

    A run whose folder holds a checkpoint goes on from it, to the result it would have had without the break; one that
    has ended is not repeated.

    Args:
        settings: `Settings`.

    Raises:
        ValueError, OSError: Something in the settings does not exist, does not fit, or cannot be written.
    """

    def __init__(self, settings):
        _check(settings)
        recipe = settings.recipe
        self.settings = settings
        self.strategy = devices.strategy(settings.replicas)
        _check_shares(recipe.batch_size, self.strategy.num_replicas_in_sync)
        self.compiled = settings.xla == "on" or (
            settings.xla == "auto" and bool(tf.config.list_physical_devices("GPU"))
        )
        if self.compiled and recipe.synchronized:
            raise ValueError(
                "Synchronized batch norm exchanges statistics inside the network, which a program that XLA compiles "
                "for one replica cannot do: use --xla=off or --nosynchronized. Received: xla on, synchronized=True."
            )
        architecture = models.ARCHITECTURES[recipe.arch]
        self._loss_weights = architecture.loss_weights
        size = recipe.image_size or architecture.input_shape[0]
        self.dataset = datasets.load(recipe.dataset, settings.data_dir, size)
        self._epoch_steps = pipeline.steps_per_epoch(self.dataset, recipe.batch_size)
        self._total_steps = recipe.steps or recipe.epochs * self._epoch_steps
        keras.utils.set_random_seed(settings.seed)
        with self.strategy.scope():
            self.model = self._build(size, settings.precision)
            self._optimizer = _optimizer(recipe, settings.precision, self._total_steps)
            self._optimizer.build(self.model.trainable_variables)
            self.model.optimizer = self._optimizer  # where Keras' callbacks look for it
        self.prepare = pipeline.preprocessing(self.dataset, size)
        self._position = checkpoints.Position()
        run_folder.claim(settings.folder, settings.deciding(), list(self.strategy.extended.worker_devices))
        self._checkpoints = checkpoints.Checkpoints(
            settings.folder / "checkpoints", self.model, self._optimizer, self._position
        )

    def train(self, callbacks=()):
        """Trains to the end, or takes up what a finished run has left.

        Args:
            callbacks: Sequence of further Keras callbacks. Their logs are `loss` and `accuracy`, the means so far in
                this epoch, and at its end also `val_loss` and `val_accuracy` of the test images, `learning_rate`,
                `step`, `seconds` and `images_per_second`. Losses are those of the main output, without weight decay.

        Returns:
            `Outcome`.

        Raises:
            Interrupted: From the keyboard; the state is saved, and the same run goes on from there.
            FloatingPointError: The loss is no number any more; the last checkpoint is kept.
        """
        folder = self.settings.folder
        self._checkpoints.restore()
        if run_folder.result(folder) is None:
            self._train_from(int(self._position.step), callbacks)
            tested = {}
            if callbacks:  # they may change the weights at the very end
                tested = self._tested()
                self._checkpoints.save()
            run_folder.write(folder / run_folder.RESULT, self._result(tested))
        plain = self._build(self.prepare.size, "float32")
        plain.set_weights(self.model.get_weights())
        return Outcome(plain, self.prepare, self.dataset, run_folder.result(folder))

    def record(self, **entries):
        """Adds entries to the result of the run. Returns all of it."""
        result = {**run_folder.result(self.settings.folder), **entries}
        run_folder.write(self.settings.folder / run_folder.RESULT, result)
        return result

    def __str__(self):
        recipe, dataset, shape = self.settings.recipe, self.dataset, self.model.input_shape[1:]
        return (
            f"{recipe.arch}, {recipe.normalization}, {_parameters(self.model):,} trainable parameters, "
            f"images of {'x'.join(map(str, shape))}\n"
            f"{recipe.dataset}: {dataset.train_examples:,} training and {dataset.test_examples:,} test images\n"
            f"{self._total_steps:,} steps of {recipe.batch_size} images, {self.settings.precision}, "
            f"{self.strategy.num_replicas_in_sync} replica(s), XLA {'on' if self.compiled else 'off'}\n"
            f"Run folder: {self.settings.folder}"
        )

    def _train_from(self, first_step, callbacks):
        recipe, folder = self.settings.recipe, self.settings.folder
        batches = pipeline.training_batches(
            self.dataset, self.prepare, recipe.batch_size, self.settings.seed, recipe.crop, recipe.flip, first_step
        )
        batches = iter(self.strategy.experimental_distribute_dataset(batches))
        step = steps.training_step(
            self.model,
            self._optimizer,
            self.strategy,
            recipe,
            self._loss_weights,
            self.compiled,
            self._position,
            batches,
        )
        epochs = math.ceil(self._total_steps / self._epoch_steps)
        first_epoch = int(self._position.epoch)
        history.forget(folder / "history.csv", first_epoch)
        observers = keras.callbacks.CallbackList(
            [
                progress.Progress(self._total_steps, first_step, epochs, recipe.batch_size),
                keras.callbacks.CSVLogger(folder / "history.csv", append=True),
                history.Curves(folder / "history.csv", folder / "curves.png"),
                keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
                *self._probes(),
                *callbacks,
            ],
            model=self.model,
            epochs=epochs,
            steps=self._epoch_steps,
            first_step=first_step,
        )
        self.model.stop_training = False
        observers.on_train_begin()
        try:
            for epoch in range(first_epoch, epochs):
                self._train_epoch(epoch, step, batches, observers)
                if self.model.stop_training:
                    break
        except KeyboardInterrupt as interrupt:
            self._checkpoints.save()
            raise Interrupted(
                f"Interrupted after step {int(self._position.step)} of {self._total_steps}. All of it is kept in "
                f"{folder}; the same command goes on from there."
            ) from interrupt
        finally:
            observers.on_train_end()

    def _probes(self):
        """Yields the probe, if one is wanted: it looks at the first test images, as many as a replica trains on."""
        if not self.settings.probe_every:
            return
        share = max(2, -(-self.settings.recipe.batch_size // self.strategy.num_replicas_in_sync))
        images, labels, weights = next(iter(pipeline.test_batches(self.dataset, self.prepare, share)))
        yield probe.Probe(
            (images[weights > 0], labels[weights > 0]),
            self.settings.folder / "probe",
            every=self.settings.probe_every,
            loss=steps.objective(self._loss_weights),
        )

    def _train_epoch(self, epoch, step, batches, observers):
        observers.on_epoch_begin(epoch)
        started, first = time.perf_counter(), int(self._position.step)
        last = min((epoch + 1) * self._epoch_steps, self._total_steps)
        for number in range(first, last):
            observers.on_train_batch_begin(number - epoch * self._epoch_steps)
            batch = next(batches)
            logs = _means(step(batch), "")
            if not math.isfinite(logs["loss"]):
                raise FloatingPointError(
                    f"The loss is {logs['loss']} after step {number + 1}. Try a lower --learning_rate in a new "
                    f"--workdir. The state before this epoch is kept in {self.settings.folder}."
                )
            observers.on_train_batch_end(number - epoch * self._epoch_steps, logs)
        seconds = time.perf_counter() - started
        logs = {
            **_means(self._position.sums, ""),
            **self._tested(),
            "learning_rate": float(self._optimizer.learning_rate),
            "step": last,
            "seconds": seconds,
            "images_per_second": (last - first) * self.settings.recipe.batch_size / seconds if seconds else 0.0,
        }
        observers.on_epoch_end(epoch, logs)
        self._position.end_epoch()
        self._checkpoints.save()

    @functools.cached_property
    def _test(self):
        """The distributed test set, and the step that tests on a batch of it."""
        batches = pipeline.test_batches(self.dataset, self.prepare, self.settings.recipe.batch_size)
        batches = self.strategy.experimental_distribute_dataset(batches)
        return batches, steps.test_step(self.model, self.strategy, self.compiled, batches)

    def _tested(self):
        batches, step = self._test
        return _means(sum(step(batch) for batch in batches), "val_")

    def _result(self, tested):
        rows = history.read(self.settings.folder / "history.csv")
        last = {**rows[-1], **tested}
        return {
            "test_accuracy": last["val_accuracy"],
            "test_loss": last["val_loss"],
            "train_accuracy": last["accuracy"],
            "train_loss": last["loss"],
            "test_split": self.dataset.test_split,
            "test_examples": self.dataset.test_examples,
            "epochs": len(rows),
            "steps": int(last["step"]),
            "seconds": sum(row["seconds"] for row in rows),
            "trainable_parameters": _parameters(self.model),
        }

    def _build(self, size, precision):
        recipe = self.settings.recipe
        keras.config.set_dtype_policy(precision)
        try:
            return models.build(
                recipe.arch,
                input_shape=(size, size, self.dataset.channels),
                classes=len(self.dataset.class_names),
                normalization=recipe.normalization,
                use_scale=recipe.use_scale,
                use_bias=recipe.use_bias,
                activation=recipe.activation,
                dropout=recipe.dropout,
                synchronized=recipe.synchronized,
            )
        finally:
            keras.config.set_dtype_policy("float32")


def finished(settings):
    """Returns the result of a run with these settings that has ended in its folder, or None.

    Raises:
        ValueError: The folder is that of a run with other settings.
    """
    return run_folder.result_of(settings.folder, settings.deciding())


def _check(settings):
    for name, value, allowed in (
        ("arch", settings.recipe.arch, list(models.ARCHITECTURES)),
        ("xla", settings.xla, list(XLA)),
        ("precision", settings.precision, list(PRECISIONS)),
    ):
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}.")
    if settings.probe_every < 0:
        raise ValueError(f"`probe_every` must be at least 0. Received: probe_every={settings.probe_every}.")


def _check_shares(batch_size, replicas):
    share = -(-batch_size // replicas)
    if share * (replicas - 1) >= batch_size:
        raise ValueError(
            f"`batch_size` must give each of the {replicas} replicas an image, in shares of {share}. "
            f"Received: batch_size={batch_size}, replicas={replicas}."
        )


def _optimizer(recipe, precision, total_steps):
    optimizer = keras.optimizers.SGD(schedules.schedule(recipe, total_steps), momentum=recipe.momentum)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def _parameters(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def _means(sums, prefix):
    loss, correct, examples = (float(value) for value in sums)
    return {f"{prefix}loss": loss / examples, f"{prefix}accuracy": correct / examples}
