"""What drivers/export.py exports: the network of a run, or the model of a .keras file."""

import glob
import hashlib
import pathlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_norms import export, surgery
from keras_norms.data import pipeline
from keras_norms.export import signatures
from keras_norms.training import evaluation, run_folder, steps, subjects

STATISTICS = ("moving", "recomputed", "batch")
_COMPARED = 16


class Exported(NamedTuple):
    """A model, and what its export needs to know, see `export.export`."""

    name: str
    model: keras.Model
    class_names: tuple
    preprocess: pipeline.Preprocessing
    pixels: np.ndarray
    origin: dict
    told: list


def of_run(given):
    """Returns the `Exported` of the flags, for --run."""
    if given.statistics == "batch":
        raise ValueError(
            "With batch statistics the answer for an image would depend on the others in its batch: a server must not "
            "do that. --statistics=recomputed has those of many training batches. Received: statistics='batch'."
        )
    outcome, settings, told = subjects.outcome_of_run(given.run, given.data_dir)
    model, result = outcome.model, outcome.result
    if given.statistics == "recomputed":
        recipe = settings.recipe
        batches = pipeline.training_batches(
            outcome.dataset, outcome.prepare, recipe.batch_size, settings.seed, recipe.crop, recipe.flip
        )
        model, report = surgery.recompute_statistics(model, batches, given.batches)
        told = [*told, str(report)]
        result = {**result, **_tested(model, outcome, recipe.batch_size)}
    origin = {**run_folder.origin(settings.folder, result), "statistics": given.statistics}
    if given.statistics == "recomputed":
        origin["batches"] = given.batches
    pixels = pipeline.example_pixels(outcome.dataset, outcome.prepare)
    names = outcome.dataset.class_names
    return Exported(settings.recipe.name or settings.recipe.arch, model, names, outcome.prepare, pixels, origin, told)


def of_keras_file(given):
    """Returns the `Exported` of the flags, for --model."""
    if given.class_names is None or given.images is None:
        raise ValueError(
            "A .keras file does not know its classes, and is checked with images: --class_names, --images."
        )
    if given.statistics != "moving":
        raise ValueError(
            "The statistics of a .keras file are exported as they are: `keras_norms.surgery.recompute_statistics` has "
            f"others. Received: statistics={given.statistics!r}."
        )
    path = pathlib.Path(given.model)
    model = export.load(path, given.outputs, given.allow_code)
    image_shape = model.input_shape[1:]
    mean, deviation = (_per_channel(name, given[name].value, image_shape[-1]) for name in ("mean", "deviation"))
    prepare = pipeline.Preprocessing(image_shape[0], mean, deviation)
    class_names = pathlib.Path(given.class_names).read_text(encoding="utf-8").splitlines()
    origin = {
        "file": path.name,
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "mean": mean,
        "deviation": deviation,
        "statistics": given.statistics,
    }
    pixels = _pixels(given.images, image_shape)
    return Exported(path.stem, model, tuple(class_names), prepare, pixels, origin, [])


def _tested(model, outcome, batch_size):
    """Returns the accuracy and the loss of a model on the test images."""
    computation = steps.Computation(model, tf.distribute.get_strategy())
    tested = evaluation.Evaluation(computation, outcome.dataset, outcome.prepare, batch_size).means()
    return {name.replace("val_", "test_"): value for name, value in tested.items()}


def _per_channel(name, words, channels):
    try:
        values = tuple(float(word) for word in words)
    except ValueError as error:
        raise ValueError(f"`{name}` must be numbers. Received: {name}={','.join(words)}.") from error
    if len(values) not in (1, channels):
        raise ValueError(f"`{name}` must be one number, or one for each of {channels} channels. Received: {values}.")
    return values * (channels // len(values))


def _pixels(pattern, image_shape):
    paths = sorted(glob.glob(pattern))[:_COMPARED]
    if len(paths) < 2:
        raise FileNotFoundError(f"`images` must be a pattern of two or more files. Received: {pattern}: {len(paths)}.")
    return np.stack([_decoded(path, image_shape) for path in paths])


def _decoded(path, image_shape):
    try:
        return signatures.decoded(tf.constant(pathlib.Path(path).read_bytes()), image_shape).numpy()
    except tf.errors.InvalidArgumentError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"`images` must be image files. Received: {path} ({reason}).") from error
