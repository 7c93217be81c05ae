"""Trains a network and exports it.

    python drivers/train.py --arch googlenet128
    python drivers/train.py --arch resnet20 --dataset cifar10 --data_dir ~/tensorflow_datasets --epochs 3

Without --dataset it draws its images, the set `shapes`. What is not given is the architecture's baseline
(keras_norms/recipes/baselines.py). The run's folder keeps settings, history, curves and checkpoints; the same command
goes on where it was interrupted. The SavedModel is checked in a fresh process before it is moved into place.
"""

import sys

import environment  # first: it sets what TensorFlow reads at its import
import options
from absl import app, flags

from keras_norms import export, training

flags.adopt_module_key_flags(options)


def main(_):
    try:
        settings = options.settings()
        export_dir, name = flags.FLAGS.export_dir, flags.FLAGS.export_name or settings.recipe.arch
        export.check_folder(export_dir, name)
        run = training.Run(settings)
    except (ValueError, OSError) as error:
        sys.exit(f"train.py: {error}")
    print(f"{environment.onednn()}\n{run}", flush=True)
    try:
        outcome = run.train()
        version = outcome.saved_model or run.exported(outcome, export_dir, name)
    except KeyboardInterrupt as interrupt:
        sys.exit(f"train.py: {interrupt}")
    except (FloatingPointError, RuntimeError) as error:
        sys.exit(f"train.py: {error}")
    print(f"Test accuracy {outcome.result['test_accuracy']:.4f}. SavedModel: {version}\n")
    print(export.query_example(version))


if __name__ == "__main__":
    app.run(main)
