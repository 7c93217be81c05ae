"""Trains a network and exports it.

    python drivers/train.py --arch googlenet128
    python drivers/train.py --arch resnet20 --dataset cifar10 --data_dir ~/tensorflow_datasets --epochs 3

Without --dataset it draws its images, the set `shapes`. What is not given is the architecture's baseline
(keras_norms/recipes/baselines.py). The run's folder keeps settings, history, curves and checkpoints; the same command
goes on where it was interrupted. The SavedModel is checked in a fresh process before it is moved into place.
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
        folder, name = flags.FLAGS.export_dir, flags.FLAGS.export_name or settings.recipe.arch
        export.check_folder(folder, name)
        run = training.Run(settings)
    except (ValueError, OSError) as error:
        sys.exit(f"train.py: {error}")
    print(f"{run}\n{environment.onednn()}", flush=True)
    try:
        outcome = run.train()
        version = exported(run, outcome, folder, name)
    except KeyboardInterrupt as interrupt:
        print(f"train.py: {str(interrupt) or 'Interrupted.'}")
        sys.exit(130)
    except (FloatingPointError, RuntimeError) as error:
        sys.exit(f"train.py: {error}")
    print(f"Test accuracy {outcome.result['test_accuracy']:.4f}. SavedModel: {version}\n")
    print(export.query_example(version))


def exported(run, outcome, folder, name):
    """Returns the SavedModel of the run: the one it has, or a new one."""
    saved = outcome.result.get("saved_model")
    if saved and os.path.isdir(saved):
        return saved
    pixels = pipeline.example_pixels(outcome.dataset, outcome.prepare.size)
    origin = {**outcome.result, "settings": run.settings.deciding()}
    version = export.export(outcome.model, folder, name, outcome.dataset.class_names, outcome.prepare, pixels, origin)
    run.record(saved_model=str(version))
    return version


if __name__ == "__main__":
    app.run(main)
