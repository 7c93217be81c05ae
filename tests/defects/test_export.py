"""H11: names of exported tensors."""

import keras
import numpy as np
import tensorflow as tf

from keras_norms import export
from tests.defects.sides import sides

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), "uint8")


def network():
    images = keras.Input((4, 4, 3), name="image")
    logits = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(images))
    return images, logits


def export_with_keras(folder):
    images, logits = network()
    keras.Model(images, keras.layers.Softmax(name="probabilities")(logits)).export(folder / "1", verbose=False)
    return folder / "1"


def export_with_ours(folder):
    return export.export(keras.Model(*network()), folder, "model", ["cat", "dog"], lambda pixels: pixels, IMAGES)


@sides(
    "H11 an output is called output_0, whatever its name (keras#19458, keras#21258)",
    export_with_keras,
    export_with_ours,
)
def test_exported_tensors_have_names_that_say_what_they_are(side, tmp_path):
    signature = tf.saved_model.load(side(tmp_path)).signatures["serving_default"]
    assert list(signature.structured_input_signature[1]) == ["image"]
    assert "probabilities" in signature.structured_outputs
