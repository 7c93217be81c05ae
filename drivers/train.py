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


def main(argv):
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if argv[1:]:
        sys.exit(f"train.py: every option must be a --flag or a --noflag. Received: {' '.join(argv[1:])}.")
    try:
        settings = options.settings()
        folder = os.path.abspath(flags.FLAGS.export_dir)
        name = flags.FLAGS.export_name or settings.recipe.arch
        result = training.finished(settings) or {}
        saved = result.get("saved_model", "")
        if not (os.path.isdir(saved) and os.path.dirname(saved) == os.path.join(folder, name)):
            result = train_and_export(settings, folder, name)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        if flags.FLAGS.verbosity > 0:
            raise
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt as interrupt:
        print(f"train.py: {str(interrupt) or 'Interrupted. What the run has saved is kept; the same command goes on.'}")
        sys.exit(130)
    print(f"Test accuracy {result['test_accuracy']:.4f}. SavedModel: {result['saved_model']}\n")
    print(export.query_example(result["saved_model"]))


def train_and_export(settings, folder, name):
    export.check_folder(folder, name)
    run = training.Run(settings)
    print(f"{run}\n{environment.onednn()}", flush=True)
    model, prepare, dataset, result = run.train()
    pixels = pipeline.example_pixels(dataset, prepare.size)
    origin = {**result, "settings": settings.deciding()}
    version = export.export(model, folder, name, dataset.class_names, prepare, pixels, origin)
    return run.record(saved_model=str(version))


if __name__ == "__main__":
    app.run(main)
