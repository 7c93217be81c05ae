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

import environment  # noqa: F401  # first: it sets what TensorFlow reads at its import
import exported_training
import options
import reporting
from absl import app, flags

from keras_norms import export, training

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
        result, version = exported_training.result_and_version(settings, place)
        if training.is_chief():
            print(training.told(result))
            if version:
                print(f"SavedModel: {version}\n", export.query_example(version), sep="\n")


if __name__ == "__main__":
    app.run(main)
