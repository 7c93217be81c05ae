"""What the fork server of `forked` imports, as the drivers do. The set that is drawn has fewer images."""

import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the drivers have it, not the tests
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "drivers"))

import environment  # noqa: F401 (first, as in the drivers)

from keras_norms import export, models, recipes, reports, training  # noqa: F401
from keras_norms.data import shapes

shapes._SPLITS = {"train": 1300, "test": 260}
