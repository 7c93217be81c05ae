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

flags.adopt_module_key_flags(options)


def main(argv):
    with reporting.reported("train.py", argv):
        settings = options.settings()
        folder = os.path.abspath(flags.FLAGS.export_dir)
        name = flags.FLAGS.export_name or settings.recipe.arch
        result = training.finished(settings)
        if not is_exported(result, folder, name):
            result = train_and_export(settings, folder, name)
        if training.is_chief():
            print(training.told(result), f"SavedModel: {result['saved_model']}\n", sep="\n")
            print(export.query_example(result["saved_model"]))


def is_exported(result, folder, name):
    saved = (result or {}).get("saved_model", "")
    return os.path.isdir(saved) and os.path.dirname(saved) == os.path.join(folder, name)


def train_and_export(settings, folder, name):
    """Returns the result. On several machines the chief alone exports."""
    if training.is_chief():
        export.check_folder(folder, name)
    run = training.Run(settings)
    if run.is_chief:
        print(f"{run}\n{environment.onednn()}", flush=True)
    model, prepare, dataset, result = run.train()
    if not run.is_chief or is_exported(result, folder, name):
        return result
    pixels = pipeline.example_pixels(dataset, prepare.size)
    origin = {**result, "settings": settings.deciding()}
    version = export.export(model, folder, name, dataset.class_names, prepare, pixels, origin)
    return run.record(saved_model=str(version))


if __name__ == "__main__":
    app.run(main)
