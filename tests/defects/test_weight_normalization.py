"""H12: weight normalization that starts from data."""

import json
import pathlib

import keras
import numpy as np

from keras_norms import initializers, layers
from tests.defects.sides import sides

# What TensorFlow Addons 0.23 made of inputs x and directions v, from tests/golden/addons.py.
GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "addons.json").read_text())
GOLDEN = {name: np.array(value, "float32") for name, value in GOLDEN["weight_normalization_from_data"].items()}


def addons(x, v):
    return GOLDEN["y"]


def ours(x, v):
    dense = keras.layers.Dense(v.shape[1], kernel_initializer=keras.initializers.Constant(v))
    model = keras.Sequential([keras.Input((len(v),)), layers.WeightNormalization(dense)])
    initializers.weight_norm(model, x)
    return model(x).numpy()


@sides("H12 deviation 1 / ||v|| instead of 1 (tfa#2869, super-resolution#28)", addons, ours)
def test_outputs_start_with_mean_zero_and_deviation_one(side):
    y = side(GOLDEN["x"], GOLDEN["v"])
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-3)
