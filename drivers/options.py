"""The flags of the drivers that train: a recipe's entries, and how it is carried out."""

from absl import flags

from keras_norms import models, training
from keras_norms.recipes import BASELINES, LR_SCALINGS, OPTIMIZERS, SCHEDULES

_AS_PUBLISHED = "; the published one if not given"
_RECIPE = {
    "arch": (flags.DEFINE_string, f"network: {', '.join(models.ARCHITECTURES)}"),
    "dataset": (flags.DEFINE_string, "`shapes`, drawn by this package, or the name of a TensorFlow Datasets set"),
    "normalization": (flags.DEFINE_string, f"{', '.join(models.NORMALIZATIONS)}"),
    "use_scale": (flags.DEFINE_boolean, "learn a scale per channel"),
    "use_bias": (flags.DEFINE_boolean, "learn a bias per channel"),
    "activation": (flags.DEFINE_string, f"name of a Keras activation, or {', '.join(models.ACTIVATIONS)}"),
    "dropout": (flags.DEFINE_float, "rate of all dropout layers" + _AS_PUBLISHED),
    "synchronized": (flags.DEFINE_boolean, "batch statistics of all replicas together"),
    "image_size": (flags.DEFINE_integer, "height and width of the images, in pixels" + _AS_PUBLISHED),
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
    "workdir": (flags.DEFINE_string, "folder of the run; runs/<arch>-<dataset>-<normalization>/<seed> if not given"),
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
flags.DEFINE_string("export_dir", "saved_models", "folder of the SavedModels")
flags.DEFINE_string("export_name", None, "name of the SavedModel; that of the architecture if not given")
for _short, _name in {"norm": "normalization", "scale": "use_scale", "bias": "use_bias"}.items():
    flags.DEFINE_alias(_short, _name)
flags.mark_flag_as_required("arch")


def settings():
    """Returns the `training.Settings` of the command line: the architecture's baseline, and what differs.

    Raises:
        ValueError: There is no such architecture, or an entry has an impossible value.
    """
    given = {name: flags.FLAGS[name].value for name in (*_RECIPE, *_SETTINGS)}
    given = {name: value for name, value in given.items() if value is not None}
    if given["arch"] not in BASELINES:
        raise ValueError(f"`arch` must be one of {list(BASELINES)}. Received: arch={given['arch']!r}.")
    if {"steps", "epochs"} <= given.keys():
        raise ValueError(
            f"`steps` takes the place of `epochs`: give one. Received: {given['steps']}, {given['epochs']}."
        )
    for name, parse in (("drops", float), ("lr_mult", _pair), ("decay_mult", _pair), ("profile", int)):
        if name in given:
            given[name] = _parsed(name, given[name], parse)
    recipe = BASELINES[given["arch"]].but(**{name: given[name] for name in _RECIPE if name in given})
    trackers = tuple(name for name in _TRACKERS if flags.FLAGS[name].value)
    return training.Settings(recipe, **{name: given[name] for name in _SETTINGS if name in given}, trackers=trackers)


def _parsed(name, words, parse):
    try:
        return tuple(parse(word) for word in words)
    except ValueError as error:
        form = "kind:factor,kind:factor" if parse is _pair else "number,number"
        raise ValueError(f"`{name}` must have the form {form}. Received: {name}={','.join(words)}.") from error


def _pair(word):
    kind, factor = word.split(":")
    return kind.strip(), float(factor)
