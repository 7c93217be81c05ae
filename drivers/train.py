"""Trains a network and exports it.

    python drivers/train.py --arch googlenet128
    python drivers/train.py --arch resnet20 --dataset cifar10 --data_dir ~/tensorflow_datasets --epochs 3
    python drivers/train.py --recipe caffenet128_bn_after --dataset imagenette128 --epochs 8 --batch_size 64

Without --dataset it draws its images, the set `shapes`. What is not given is the architecture's baseline
(keras_norms/recipes/baselines.py), or as published in the recipe; --list shows the recipes. The run's folder keeps
settings, history, curves and checkpoints; however it was ended, the same command goes on to the same result. SIGTERM
saves and exits 0. The SavedModel is checked in a fresh process before it is moved into place. Several machines:
docs/many_machines.md. Errors with their place: --verbosity=1.
"""

import os

import environment  # first: it sets what TensorFlow reads at its import
import options
import reporting
from absl import app, flags

from keras_norms import export, recipes, training
from keras_norms.data import pipeline
from keras_norms.training import run_folder

flags.DEFINE_string("recipe", None, "published recipe to start from, in place of --arch")
flags.DEFINE_boolean("list", False, "show the published recipes, with results and costs")
flags.DEFINE_string("export_dir", "saved_models", "folder of the SavedModels; none is made if empty")
flags.DEFINE_string("export_name", None, "name of the SavedModel; that of the recipe or architecture if not given")
flags.adopt_module_key_flags(options)


def main(argv):
    with reporting.reported("train.py", argv):
        if flags.FLAGS.list:
            return print(options.listing())
        differences = options.overrides()
        settings = options.settings(options.baseline(flags.FLAGS.recipe, differences), differences)
        name = flags.FLAGS.export_name or settings.recipe.name or settings.recipe.arch
        place = (os.path.abspath(flags.FLAGS.export_dir), name) if flags.FLAGS.export_dir else None
        result = training.finished(settings)
        version = result and place and export.exported(*place, origin(settings, result))
        if not result or (place and not version):
            result, version = train_and_export(settings, place)
        if training.is_chief():
            print(training.told(result))
            if version:
                print(f"SavedModel: {version}\n", export.query_example(version), sep="\n")


def origin(settings, result):
    return {**run_folder.origin(settings.folder, result), "statistics": "moving"}


def train_and_export(settings, place):
    """Returns the result and the version. On several machines the chief alone exports."""
    if place and training.is_chief():
        export.check_folder(*place)
    run = training.Run(settings)
    if run.is_chief:
        print(recipes.told(settings.recipe), run, environment.onednn(), sep="\n", flush=True)
    model, prepare, dataset, result = run.train()
    if not (place and run.is_chief):
        return result, None
    pixels, told = pipeline.example_pixels(dataset, prepare.size), origin(settings, result)
    version = export.exported(*place, told)
    return result, version or export.export(model, *place, dataset.class_names, prepare, pixels, told)


if __name__ == "__main__":
    app.run(main)
