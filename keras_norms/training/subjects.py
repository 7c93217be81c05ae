"""What is evaluated, and on which set: the network of a run, or a SavedModel."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_norms import models
from keras_norms.data import datasets, pipeline
from keras_norms.recipes import Recipe
from keras_norms.training import cluster, devices, run, run_folder, state, steps
from keras_norms.training import settings as run_settings

_SIGNATURE = "serving_default"
_CLASS_NAMES = "assets/class_names.txt"
_OWN = ("seed", "xla", "precision", "skip_bad_records")
# The images a SavedModel is given at a time: it does not say how many fit.
_SERVED_TOGETHER = 100
# Caffe's loss takes the same, FLT_MIN, for a probability that was rounded to zero.
_SMALLEST = float(np.finfo("float32").tiny)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A classifier, and a set whose classes and channels it has.

    Attributes:
        computation: `steps.Computation`.
        prepare: `pipeline.Preprocessing`, from the pixels of the set to what the model takes.
        dataset: `datasets.Dataset`.
        batch_size: Integer, how many images are known to fit at a time.
        origin: Dict, as JSON, what it is.
        notes: Tuple of strings, what should be known about the result.
    """

    computation: steps.Computation
    prepare: pipeline.Preprocessing
    dataset: datasets.Dataset
    batch_size: int
    origin: dict
    notes: tuple = ()


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the images come from. The attributes are the arguments of `datasets.load`."""

    name: str | None = None
    data_dir: str | None = None
    skip_bad_records: bool = False

    def load(self, size):
        return datasets.load(self.name, self.data_dir, size, skip_bad_records=self.skip_bad_records)


def of_run(folder, source, replicas=None, xla="auto"):
    """Returns the network of a run, with the weights that the run tests: those of its newest whole checkpoint.

    The folder is read alone: the training may be going on. Pixels are normalized with the statistics of the run's own
    set, which must be found in the same folder as the other one.

    Args:
        folder: Path of the run's folder.
        source: `Source`; without a name it is the run's own set.
        replicas, xla: See `settings.Settings`.

    Raises:
        OSError: There is no run, or no checkpoint that is whole.
        ValueError: The set does not fit the network, or the run was made by another version of the code.
    """
    settings = _settings(pathlib.Path(folder), source.data_dir, replicas, xla)
    recipe = settings.recipe
    strategy = devices.strategy(replicas)  # before TensorFlow first uses the CPU
    trained, own, size, warnings = _restored(settings, strategy)
    dataset = own if source.name in (None, recipe.dataset) else source.load(size)
    what = f"The network of {folder}"
    _check(what, len(own.class_names), own.channels, dataset)
    computation = steps.Computation(trained.model, strategy, compiled=devices.compiled(xla))
    step = int(trained.position.step)
    origin = {"run": str(folder), "step": step, "settings": settings.deciding()}
    notes = [*warnings, *_other_names(own.class_names, dataset)]
    prepare = state.preprocessing(recipe, own, size)
    return Subject(computation, prepare, dataset, recipe.batch_size, origin, tuple(notes))


def outcome_of_run(folder, data_dir=None):
    """Returns what a run has led to so far, and its recipe: what `Run.train` returns, of the newest whole checkpoint.

    Args:
        folder: Path of the run's folder, which is read alone.
        data_dir: See `datasets.load`.

    Returns:
        `run.Outcome`, whose `result` holds `step` alone if the run has not ended; `Settings`; list of lines about
        damaged checkpoints.

    Raises: As `of_run`.
    """
    settings = _settings(pathlib.Path(folder), data_dir, None, "auto")
    trained, dataset, size, warnings = _restored(settings, devices.strategy())
    model = state.network(settings.recipe, dataset, size, "float32")
    model.set_weights(trained.weights())
    result = run_folder.result(settings.folder) or {"step": int(trained.position.step)}
    return run.Outcome(model, state.preprocessing(settings.recipe, dataset, size), dataset, result), settings, warnings


def of_saved_model(folder, source, replicas=None, xla="auto"):
    """Returns a SavedModel as a network whose logits are the logarithms of what it serves.

    It may be anyone's, if its signature `serving_default` takes `image`, float32 pixels from 0 to 255 of shape
    `(batch, size, size, channels)`, and returns `probabilities`, float32 of shape `(batch, classes)`. A probability
    that was rounded to zero counts as the smallest positive one, 1.2e-38. Where views reach beyond an image, they show
    the mean pixel of the set, which a network trained on it takes as zero.

    Args:
        folder: Path of one version, with its `saved_model.pb`.
        source: `Source`.
        replicas: See `settings.Settings`.
        xla: String, `"auto"` or `"off"`: it is computed as a server does.

    Raises:
        OSError: There is no SavedModel.
        ValueError: It is not of that form, or the set does not fit it.
    """
    folder = pathlib.Path(folder)
    if xla not in ("auto", "off"):
        raise ValueError(f"A SavedModel is computed as a server does, without XLA. Received: xla={xla!r}.")
    if source.name is None:
        raise ValueError("A SavedModel does not know its data set: give `dataset`.")
    _check_one_machine()
    strategy = devices.strategy(replicas)
    with strategy.scope():
        loaded = _loaded(folder)
        (size, _, channels), classes = _shapes(folder, loaded.signatures[_SIGNATURE])
        dataset = source.load(size)
        _check(f"The SavedModel {folder}", classes, channels, dataset)
        mean, _ = datasets.pixel_statistics(dataset)
        model = _model(loaded, (size, size, channels), mean, classes)
    names = folder / _CLASS_NAMES
    notes = _other_names(names.read_text(encoding="utf-8").splitlines(), dataset) if names.exists() else []
    prepare = pipeline.Preprocessing(size, tuple(mean), (1.0,) * channels)
    computation = steps.Computation(model, strategy)
    return Subject(computation, prepare, dataset, _SERVED_TOGETHER, {"saved_model": str(folder)}, tuple(notes))


class ServedLogits(keras.Layer):
    """Logits of a SavedModel: the logarithms of its probabilities.

    Args:
        loaded: SavedModel. It owns the variables of its signature.
        mean: Sequence of floats per channel, what was subtracted from the pixels.
        classes: Integer.
    """

    def __init__(self, loaded, mean, classes):
        super().__init__()
        self._loaded, self._mean, self._classes = loaded, mean, classes

    def call(self, images):
        probabilities = self._loaded.signatures[_SIGNATURE](image=images + self._mean)["probabilities"]
        return tf.math.log(tf.maximum(probabilities, _SMALLEST))

    def compute_output_shape(self, input_shape):
        return input_shape[0], self._classes


def _restored(settings, strategy):
    """Returns the `state.State` of a run with the weights it tests, its own set, the side of its images, warnings."""
    recipe = settings.recipe
    size = recipe.image_size or models.ARCHITECTURES[recipe.arch].input_shape[0]
    own = Source(recipe.dataset, settings.data_dir, settings.skip_bad_records).load(size)
    trained = state.State(settings, own, size, 1, strategy)  # The schedule, of one step, is not used.
    return trained, own, size, trained.read()


def _settings(folder, data_dir, replicas, xla):
    """Returns the `Settings` of a run, for the devices here."""
    path = folder / run_folder.CONFIG
    if not path.exists():
        raise FileNotFoundError(f"`run` must be the folder of a run, with a {run_folder.CONFIG}. Received: {folder}.")
    _check_one_machine()
    try:
        written = json.loads(path.read_text(encoding="utf-8"))["settings"]
        own = {name: written.pop(name) for name in _OWN}
        written = {name: value for name, value in written.items() if name not in ("replicas", "workers")}
        settings = run_settings.Settings(Recipe(**written), **own, workdir=str(folder))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or was made by another version of the code: {error!r}.") from error
    settings = dataclasses.replace(settings, data_dir=data_dir, replicas=replicas, xla=xla)
    settings.check()
    return settings


def _check_one_machine():
    if cluster.size() > 1:
        raise ValueError(
            f"An evaluation runs on one machine: unset TF_CONFIG. Received: one of {cluster.size()} workers in it."
        )


def _check(what, classes, channels, dataset):
    for received, expected, kind in (
        (len(dataset.class_names), classes, "classes"),
        (dataset.channels, channels, "channels"),
    ):
        if received != expected:
            raise ValueError(
                f"{what} has {expected} {kind}, the data set {dataset.name!r} has {received}: choose a set that has as "
                "many."
            )


def _other_names(names, dataset):
    """Returns a note if the classes of a set are called otherwise than those that a network was trained on."""
    pairs = [(i, *pair) for i, pair in enumerate(zip(names, dataset.class_names, strict=True)) if pair[0] != pair[1]]
    if not pairs:
        return []
    number, own, other = pairs[0]
    return [
        f"{len(pairs)} of {len(names)} classes have other names than those trained on; class {number} is {other!r}, "
        f"was {own!r}."
    ]


def _loaded(folder):
    if not (folder / "saved_model.pb").exists():
        raise FileNotFoundError(
            f"`saved_model` must be the folder of one version, with a file saved_model.pb. Received: {folder}."
        )
    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:  # KeyError, IndexError, OpError, ...: TensorFlow 2.21 raises nearly anything
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise OSError(f"The SavedModel {folder} is damaged, or was made for other devices. {reason}") from error
    names = sorted(loaded.signatures)
    if _SIGNATURE not in names:
        raise ValueError(f"A SavedModel must have the signature {_SIGNATURE!r}. Received: {folder}, with {names}.")
    return loaded


def _shapes(folder, serve):
    """Returns (size, size, channels), and the number of classes, of a signature of the form of `of_saved_model`."""
    inputs, outputs = serve.structured_input_signature[1], serve.structured_outputs
    image, probabilities = inputs.get("image"), outputs.get("probabilities")
    if (
        inputs.keys() == {"image"}
        and probabilities is not None
        and image.dtype == probabilities.dtype == tf.float32
        and image.shape.rank == 4
        and image.shape[0] is None
        and image.shape[1:].is_fully_defined()
        and image.shape[1] == image.shape[2]
        and probabilities.shape.rank == 2
        and probabilities.shape[1] is not None
    ):
        return tuple(image.shape[1:]), probabilities.shape[1]
    raise ValueError(
        "The signature of a SavedModel must take `image`, float32 of shape (None, size, size, channels), and return "
        f"`probabilities`, float32 of shape (None, classes). Received: {folder}, which takes "
        f"{_described(inputs)} and returns {_described(outputs)}."
    )


def _described(tensors):
    return ", ".join(f"`{name}`, {t.dtype.name} of shape {tuple(t.shape)}" for name, t in sorted(tensors.items()))


def _model(loaded, image_shape, mean, classes):
    images = keras.Input(image_shape)
    return keras.Model(images, ServedLogits(loaded, mean, classes)(images), name="saved_model")
