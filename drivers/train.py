"""Trains a network and exports it.

    python drivers/train.py --arch googlenet128
    python drivers/train.py --arch resnet20 --dataset cifar10 --data_dir ~/tensorflow_datasets --epochs 3

Without --dataset it draws its images, the set `shapes`. What is not given is the architecture's baseline
(keras_norms/recipes/baselines.py). The run's folder keeps settings, history, curves and checkpoints; the same command
goes on where it was interrupted. The SavedModel is checked in a fresh process before it is moved into place.
--verbosity=1 shows where an error comes from.
"""

import os
import sys

import environment  # first: it sets what TensorFlow reads at its import
import options
from absl import app, flags, logging

from keras_norms import export, training
from keras_norms.data import pipeline

flags.adopt_module_key_flags(options)


def main(_):
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        settings = options.settings()
        result = training.finished(settings)
        if not (result and os.path.isdir(result.get("saved_model", ""))):
            result = train_and_export(settings, flags.FLAGS.export_name or settings.recipe.arch)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        if flags.FLAGS.verbosity > 0:
            raise
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt as interrupt:
        print(f"train.py: {str(interrupt) or 'Interrupted before the first step.'}")
        sys.exit(130)
    print(f"Test accuracy {result['test_accuracy']:.4f}. SavedModel: {result['saved_model']}\n")
    print(export.query_example(result["saved_model"]))


def train_and_export(settings, name):
    export.check_folder(flags.FLAGS.export_dir, name)
    run = training.Run(settings)
    print(f"{run}\n{environment.onednn()}", flush=True)
    model, prepare, dataset, result = run.train()
    pixels = pipeline.example_pixels(dataset, prepare.size)
    origin = {**result, "settings": settings.deciding()}
    version = export.export(model, flags.FLAGS.export_dir, name, dataset.class_names, prepare, pixels, origin)
    return run.record(saved_model=str(version))


if __name__ == "__main__":
    app.run(main)
