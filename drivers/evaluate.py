"""Tests the network of a run, or a SavedModel, on a set of images.

    python drivers/evaluate.py --run runs/resnet20-cifar10-batch_norm_before/0 --data_dir ~/tensorflow_datasets
    python drivers/evaluate.py --saved_model saved_models/resnet20/1 --dataset cifar10 --crops 10

Prints how many images have the class that is guessed first (top-1), and among the first five (top-5), the log-loss,
and how they were looked at. A run is tested with its newest checkpoint, also while it is trained: nothing in its folder
is written. docs/evaluation.md says more. --verbosity=1 shows where an error comes from.
"""

import pathlib

import environment  # noqa: F401  # first: it sets what TensorFlow reads at its import
import reporting
from absl import app, flags

from keras_norms import export, training
from keras_norms.training import evaluation, run_folder, subjects

flags.DEFINE_string("run", None, "folder of a run")
flags.DEFINE_string("saved_model", None, "folder of one version of a SavedModel, in place of --run")
flags.DEFINE_string("dataset", None, "`shapes`, or the name of a TensorFlow Datasets set; the run's own if not given")
flags.DEFINE_string("data_dir", None, "folder of TensorFlow Datasets; ~/tensorflow_datasets if not given")
flags.DEFINE_boolean("skip_bad_records", False, "leave out records that cannot be used")
flags.DEFINE_enum("split", "test", evaluation.SPLITS, "images to test on")
flags.DEFINE_enum("crops", "1", [str(crops) for crops in evaluation.CROPS], "views of each image")
flags.DEFINE_enum("statistics", "moving", evaluation.STATISTICS, "what batch norm normalizes with")
flags.DEFINE_integer("batch_size", None, "images at a time, over all replicas; it decides the batch statistics")
flags.DEFINE_integer("replicas", None, "GPUs, or parts of the CPU; all GPUs or one CPU if not given")
flags.DEFINE_enum("xla", "auto", training.XLA, "compile with XLA; auto is on for the network of a run on GPUs")
flags.DEFINE_string("json", None, "file for the same as JSON, and what it was found with")


def main(argv):
    with reporting.reported("evaluate.py", argv):
        given = flags.FLAGS
        if (given.run is None) == (given.saved_model is None):
            raise ValueError("Give one of --run and --saved_model.")
        if given.json and not pathlib.Path(given.json).absolute().parent.is_dir():
            raise FileNotFoundError(f"`json` must be in a folder that exists. Received: json={given.json}.")
        if given.saved_model:
            export.check_files(given.saved_model)
        source = subjects.Source(given.dataset, given.data_dir, given.skip_bad_records)
        subject_of = subjects.of_saved_model if given.run is None else subjects.of_run
        subject = subject_of(given.run or given.saved_model, source, given.replicas, given.xla)
        protocol = evaluation.Protocol(int(given.crops), given.statistics, given.split)
        report = evaluation.report(subject, protocol, given.batch_size)
        print("\n".join(evaluation.lines(report)))
        if given.json:
            run_folder.write(pathlib.Path(given.json), report)


if __name__ == "__main__":
    app.run(main)
