"""Trains a network and exports it.

    python drivers/train.py --arch googlenet128
    python drivers/train.py --arch resnet20 --dataset cifar10 --data_dir ~/tensorflow_datasets --epochs 3

Without --dataset it draws its images, the set `shapes`. What is not given is the architecture's baseline
(keras_norms/recipes/baselines.py). The run's folder keeps settings, history, curves and checkpoints; however it was
ended, the same command goes on to the same result. SIGTERM saves and exits 0. The SavedModel is checked in a fresh
process before it is moved into place. Several machines: docs/many_machines.md. Errors with their place: --verbosity=1.
"""

import os

import environment  # first: it sets what TensorFlow reads at its import
import options
import reporting
from absl import app, flags

from keras_norms import export, training
from keras_norms.data import pipeline
from keras_norms.training import run_folder

flags.adopt_module_key_flags(options)


def main(argv):
    with reporting.reported("train.py", argv):
        settings = options.settings()
        place = os.path.abspath(flags.FLAGS.export_dir), flags.FLAGS.export_name or settings.recipe.arch
        result = training.finished(settings)
        version = result and export.exported(*place, origin(settings, result))
        if not version:
            result, version = train_and_export(settings, place)
        if training.is_chief():
            print(training.told(result), f"SavedModel: {version}\n", sep="\n")
            print(export.query_example(version))


def origin(settings, result):
    return {**run_folder.origin(settings.folder, result), "statistics": "moving"}


def train_and_export(settings, place):
    """Returns the result and the version. On several machines the chief alone exports."""
    if training.is_chief():
        export.check_folder(*place)
    run = training.Run(settings)
    if run.is_chief:
        print(f"{run}\n{environment.onednn()}", flush=True)
    model, prepare, dataset, result = run.train()
    if not run.is_chief:
        return result, None
    pixels, told = pipeline.example_pixels(dataset, prepare.size), origin(settings, result)
    version = export.exported(*place, told)
    return result, version or export.export(model, *place, dataset.class_names, prepare, pixels, told)


if __name__ == "__main__":
    app.run(main)
