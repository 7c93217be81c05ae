"""Trains as drivers/train.py does, with its flags, on few images, and keeps what it ends with in `weights.npz`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "drivers"))

import environment  # noqa: F401 (first, as in the drivers)
import numpy as np
import options
import reporting
from absl import app

from keras_norms import training
from keras_norms.data import shapes


def main(argv):
    with reporting.reported("trained.py", argv):
        run = training.Run(options.settings())
        run.train()
        variables = [*run.model.variables, *run.model.optimizer.variables]
        parts = [run.strategy.experimental_local_results(variable.value) for variable in variables]
        names = [f"{number} {variable.path}" for number, variable in enumerate(variables)]
        np.savez("weights.npz", **{name: part[0].numpy() for name, part in zip(names, parts, strict=True)})


if __name__ == "__main__":
    shapes._SPLITS = {"train": 200, "test": 50}
    app.run(main)
