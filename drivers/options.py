"""The flags of the drivers that train: a recipe's entries, and how it is carried out."""

from absl import flags

from keras_norms import models, training
from keras_norms.recipes import (
    BASELINES,
    INITIALIZATIONS,
    LR_SCALINGS,
    OPTIMIZERS,
    PUBLISHED,
    SCHEDULES,
    published,
)

_AS_PUBLISHED = "; the published one if not given"
_OWN_OPTIONS = "; ".join(
    f"{name}: {', '.join(f'{option} of {values}' for option, values in architecture.options.items())}"
    for name, architecture in models.ARCHITECTURES.items()
    if architecture.options
)
_RECIPE = {
    "arch": (flags.DEFINE_string, f"network: {', '.join(models.ARCHITECTURES)}"),
    "dataset": (flags.DEFINE_string, "`shapes`, drawn by this package, or the name of a TensorFlow Datasets set"),
    "normalization": (flags.DEFINE_string, f"{', '.join(models.NORMALIZATIONS)}"),
    "use_scale": (flags.DEFINE_boolean, "learn a scale per channel"),
    "use_bias": (flags.DEFINE_boolean, "learn a bias per channel"),
    "activation": (
        flags.DEFINE_string,
        f"name of a Keras activation, or {', '.join(models.ACTIVATIONS)}" + _AS_PUBLISHED,
    ),
    "dropout": (flags.DEFINE_float, "rate of all dropout layers" + _AS_PUBLISHED),
    "keeps_bias": (flags.DEFINE_boolean, "biases of linear layers also where batch norm cancels them" + _AS_PUBLISHED),
    "options": (flags.DEFINE_list, f"a network's own options, as name:value; {_OWN_OPTIONS}"),
    "initialization": (flags.DEFINE_string, f"before the first step, nothing if empty: {', '.join(INITIALIZATIONS)}"),
    "synchronized": (flags.DEFINE_boolean, "batch statistics of all replicas together"),
    "image_size": (flags.DEFINE_integer, "height and width of the images, in pixels" + _AS_PUBLISHED),
    "margin": (flags.DEFINE_integer, "pixels to crop from, or to add around; an eighth of the size if not given"),
    "pixel_mean": (flags.DEFINE_list, "subtracted from pixels, a number a channel; the set's own if empty"),
    "pixel_deviation": (flags.DEFINE_list, "what they are divided by, a number a channel; the set's own if empty"),
    "crop": (flags.DEFINE_boolean, "crop training images at random"),
    "flip": (flags.DEFINE_boolean, "mirror training images at random"),
    "batch_size": (flags.DEFINE_integer, "images per step, over all replicas"),
    "epochs": (flags.DEFINE_integer, "passes over the training images"),
    "steps": (flags.DEFINE_integer, "training steps, in place of --epochs"),
    "drop_remainder": (flags.DEFINE_boolean, "leave out the images that do not fill a last batch of an epoch"),
    "micro_batches": (flags.DEFINE_integer, "parts of a replica's batch, one after the other, for less memory"),
    "learning_rate": (flags.DEFINE_float, "learning rate at the start, or after a warm-up"),
    "lr_scaling": (flags.DEFINE_string, f"how the rate follows batch_size / lr_batch_size: {', '.join(LR_SCALINGS)}"),
    "lr_batch_size": (flags.DEFINE_integer, "batch size that --learning_rate is meant for"),
    "schedule": (flags.DEFINE_string, f"how the rate falls: {', '.join(SCHEDULES)}"),
    "drops": (flags.DEFINE_list, "parts of the training after which --schedule=step divides the rate by ten: 0.5,0.75"),
    "power": (flags.DEFINE_float, "--schedule=polynomial multiplies the rate by (1 - step / steps) ** power"),
    "decay_rate": (flags.DEFINE_float, "what --schedule=exponential multiplies the rate by over the whole training"),
    "warmup_steps": (flags.DEFINE_integer, "first steps, over which the rate rises"),
    "warmup_rate": (flags.DEFINE_float, "constant rate of the warm-up, in place of a rising one"),
    "warmup_error": (flags.DEFINE_float, "training error below which the warm-up ends, in place of --warmup_steps"),
    "optimizer": (flags.DEFINE_string, f"what momentum accumulates, as in Caffe or Torch: {', '.join(OPTIMIZERS)}"),
    "momentum": (flags.DEFINE_float, "momentum of the gradient descent"),
    "nesterov": (flags.DEFINE_boolean, "Nesterov's momentum"),
    "lr_mult": (flags.DEFINE_list, "factors of the rate by kind of weight, * for all others: bias:2,scale:1"),
    "weight_decay": (flags.DEFINE_float, "L2 decay of the weights that --decay_mult names"),
    "decay_mult": (flags.DEFINE_list, "factors of the decay by kind of weight, * for all others: kernel:1,scale:1"),
    "weight_average": (flags.DEFINE_float, "momentum of a moving average of the weights, to test and export"),
}
_SETTINGS = {
    "seed": (flags.DEFINE_integer, "of weights, order of the images, augmentation and dropout"),
    "replicas": (flags.DEFINE_integer, "GPUs, or parts of the CPU, to train on; all GPUs or one CPU if not given"),
    "xla": (flags.DEFINE_string, f"compile with XLA: {', '.join(training.XLA)}; auto is on for GPUs"),
    "precision": (flags.DEFINE_string, f"{', '.join(training.PRECISIONS)}"),
    "skip_bad_records": (flags.DEFINE_boolean, "leave out records that cannot be used, and count them"),
    "data_dir": (flags.DEFINE_string, "folder of TensorFlow Datasets; ~/tensorflow_datasets if not given"),
    "workdir": (flags.DEFINE_string, "folder to work in; one in runs/, named after what is trained, if not given"),
    "checkpoint_minutes": (flags.DEFINE_float, "longest time between two checkpoints; 10 if not given"),
    "probe_every": (flags.DEFINE_integer, "look into the network every so many steps: norms, dead channels, gradients"),
    "profile": (flags.DEFINE_list, "first and last step that TensorFlow's profiler records: 10,20"),
}
_TRACKERS = {
    "wandb": "log to Weights & Biases, too, where it is installed",
    "mlflow": "log to MLflow, too, where it is installed",
}

for _name, (_define, _help) in {**_RECIPE, **_SETTINGS}.items():
    _define(_name, None, _help)
for _name, _help in _TRACKERS.items():
    flags.DEFINE_boolean(_name, False, _help)
for _short, _name in {"norm": "normalization", "scale": "use_scale", "bias": "use_bias"}.items():
    flags.DEFINE_alias(_short, _name)


def overrides():
    """Returns what the command line says of a recipe: a dict from entries to values."""
    given = _given(_RECIPE)
    if {"steps", "epochs"} <= given.keys():
        raise ValueError(
            f"`steps` takes the place of `epochs`: give one. Received: {given['steps']}, {given['epochs']}."
        )
    return {**given, "steps": None} if "epochs" in given else given


def settings(recipe, differences, **more):
    """Returns the `training.Settings` of a recipe and the command line.

    Args:
        recipe: `Recipe`.
        differences: Dict, see `overrides`.
        more: What is not the command line's to say.

    Raises:
        ValueError: Something has an impossible value.
    """
    trackers = tuple(name for name in _TRACKERS if flags.FLAGS[name].value)
    return training.Settings(recipe.but(**differences), **{**_given(_SETTINGS), "trackers": trackers, **more})


def baseline(name, differences):
    """Returns the recipe that a training starts from: the one of a name, or without a name that of an architecture.

    Raises:
        ValueError: There is none.
    """
    if name:
        return published(name).recipe
    if differences.get("arch") not in BASELINES:
        raise ValueError(
            f"`arch` must be one of {list(BASELINES)}; or give a published recipe with --recipe, --list shows them. "
            f"Received: arch={differences.get('arch')!r}."
        )
    return BASELINES[differences["arch"]]


def listing():
    """Returns the published recipes, a line each: name, row of the table, published result, cost of the training."""
    names, labels = (max(map(len, words)) for words in (PUBLISHED, [row.label for row in PUBLISHED.values()]))
    return "\n".join(f"{name:{names}}  {row.label:{labels}}  {row.told()}" for name, row in PUBLISHED.items())


def serialized(*but):
    """Returns the flags of the command line that are defined here, as they are written there, but for some."""
    names = [name for name in (*_RECIPE, *_SETTINGS, *_TRACKERS) if name not in but and flags.FLAGS[name].present]
    return [flags.FLAGS[name].serialize() for name in names]


def _given(defined):
    given = {name: flags.FLAGS[name].value for name in defined if flags.FLAGS[name].value is not None}
    parsed = {name: _parsed(name, value) if isinstance(value, list) else value for name, value in given.items()}
    return {name: None if name in _NONE_IF_EMPTY and not value else value for name, value in parsed.items()}


def _parsed(name, words):
    parse = _PARSED[name]
    try:
        return tuple(parse(word) for word in words)
    except ValueError as error:
        form = {_factor: "kind:factor,kind:factor", _option: "name:value,name:value"}.get(parse, "number,number")
        raise ValueError(f"`{name}` must have the form {form}. Received: {name}={','.join(words)}.") from error


def _factor(word):
    kind, factor = word.rsplit(":", 1)
    return kind.strip(), float(factor)


def _option(word):
    name, value = word.split(":")
    named = {"true": True, "false": False, **({value: int(value)} if value.isdecimal() else {})}
    return name.strip(), named.get(value, value)


_NONE_IF_EMPTY = ("initialization", "pixel_mean", "pixel_deviation")
_PARSED = {
    "drops": float,
    "pixel_mean": float,
    "pixel_deviation": float,
    "lr_mult": _factor,
    "decay_mult": _factor,
    "options": _option,
    "profile": int,
}
