"""Runs small.py, with its flags, and keeps what this process ends with in `weights.npz`."""

import pathlib
import runpy
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "drivers"))

import environment  # noqa: F401 (first, as in the drivers)
import numpy as np

from keras_norms import training


class Run(training.Run):
    def train(self):
        outcome = super().train()
        variables = [*self.model.variables, *self.model.optimizer.variables]
        parts = [self.strategy.experimental_local_results(variable.value) for variable in variables]
        names = [f"{number} {variable.path}" for number, variable in enumerate(variables)]
        np.savez("weights.npz", **{name: part[0].numpy() for name, part in zip(names, parts, strict=True)})
        return outcome


if __name__ == "__main__":
    training.Run = Run
    runpy.run_path(str(pathlib.Path(__file__).with_name("small.py")), run_name="__main__")
