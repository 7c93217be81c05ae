"""A small network with everything that can go wrong in an export, and an export of it that tests share."""

import keras
import numpy as np
import pytest

import keras_norms
from keras_norms import export

CLASS_NAMES = ["cat", "Hühnerhund", "sea lion"]


def network(heads=("main",), normalization=None):
    """Returns a model from images of 8 x 9 to logits, or to a dict of them. No weight has its initial value."""
    inputs = keras.Input((8, 9, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = normalization(x) if normalization else keras_norms.BatchNormBefore("relu", name="batch_norm_before")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.5)(x)
    logits = {head: keras.layers.Dense(3, name=head)(keras.layers.Dense(4)(x)) for head in heads}
    model = keras.Model(inputs, logits if len(heads) > 1 else logits["main"])
    rng = np.random.default_rng(0)
    for weight in model.weights:
        # Variances and gathered weights are positive.
        low = 0.3 if "moving" in weight.path else -0.9
        weight.assign(rng.uniform(low, 0.9, weight.shape))
    return model


def preprocess(pixels):
    return (pixels - 100.0) / 50.0


def probabilities(model, pixels):
    """Returns the softmax of the model's logits in inference."""
    logits = model(preprocess(pixels), training=False)
    logits = np.asarray(logits["main"] if isinstance(logits, dict) else logits, "float64")
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(-1, keepdims=True)


@pytest.fixture(scope="session")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (5, 8, 9, 3), "uint8")


@pytest.fixture(scope="session")
def model():
    return network(heads=("aux1", "main", "aux2"))


@pytest.fixture(scope="session")
def version(model, pixels, tmp_path_factory):
    """The folder of a version. Tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("saved models")
    return export.export(model, folder, "tiny", CLASS_NAMES, preprocess, pixels, {"recipe": "none"})
