"""Trains as drivers/train.py does, with its flags, and keeps what this process ends with in weights<worker>.npz."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "drivers"))

import environment  # noqa: F401 (first, as in the drivers)
import numpy as np
import options
import reporting
from absl import app

from keras_norms import training
from keras_norms.training import cluster


def main(argv):
    with reporting.reported("trained.py", argv):
        run = training.Run(options.settings())
        run.train()
        model = run.state.model
        variables = [*model.variables, *model.optimizer.variables]
        values = [run.strategy.experimental_local_results(variable.value)[0].numpy() for variable in variables]
        np.savez(f"weights{cluster.index()}.npz", *values)


if __name__ == "__main__":
    app.run(main)
