"""Exports a network for benchmarks/inference.py, each way into a folder of its own.

    python -m benchmarks.peers.inference_exports resnet20 FOLDER [--onnx]

Moving statistics are those of a few batches, as after training: what is at its initial value might be left out.
"""

import argparse
import pathlib
import shutil

import keras
import tensorflow as tf

from benchmarks.peers import inference_images, networks_keras
from keras_norms import export, models
from keras_norms.data import pipeline
from keras_norms.export import signatures

CLASS_NAMES = tuple(f"class {number}" for number in range(10))
_BATCHES = 3
_BATCH = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--onnx", action="store_true", help="for ONNX Runtime, too")
    given = parser.parse_args()
    keras.utils.set_random_seed(0)
    size = models.ARCHITECTURES[given.arch].input_shape[0]
    model = trained(networks_keras.ours(given.arch, "batch_norm_before", size, len(CLASS_NAMES)))
    stock = trained(networks_keras.stock(given.arch, "batch_norm_before", size, len(CLASS_NAMES)))
    version = folded(model, given.folder)
    if given.onnx:
        shutil.move(export.convert(version, "onnx"), given.folder / "model.onnx")
    not_folded(model, given.folder / "not_folded")
    stock.export(str(given.folder / "keras"), verbose=False)


def trained(model):
    """Returns the model of the main logits, with statistics of some random images like those it will see."""
    for seed in range(_BATCHES):
        images = inference_images.random(_BATCH, model.input_shape[1], seed)
        model(preprocessing(model)(tf.constant(images)), training=True)
    outputs = model.output
    return keras.Model(model.input, outputs["main"]) if isinstance(outputs, dict) else model


def folded(model, folder):
    """Exports as drivers/export.py does, to `folder/folded`. Returns the path of the version."""
    images = inference_images.random(2, model.input_shape[1], _BATCHES)
    version = export.export(model, folder, "export", CLASS_NAMES, preprocessing(model), images)
    return version.rename(folder / "folded")


def not_folded(model, folder):
    """Saves the same signature of the network as it is."""
    answers = signatures.Answers(model, preprocessing(model), CLASS_NAMES)
    found = signatures.signatures(answers, model.input_shape[1:])
    module = tf.Module()
    module.state = [variable.value for variable in model.variables]
    tf.saved_model.save(module, folder, signatures={signatures.SERVING_DEFAULT: found[signatures.SERVING_DEFAULT]})


def preprocessing(model):
    return pipeline.Preprocessing(model.input_shape[1], (125.3, 123.0, 113.9), (63.0, 62.1, 66.7))


if __name__ == "__main__":
    main()
