"""Checks a model file in the runtime it is for, in a process without TensorFlow.

    python -P runtimes.py <model.onnx or model.tflite> <examples.npz>

The examples are `images`, and the `probabilities` that the SavedModel gives for them.
"""

import importlib
import sys

import numpy as np

# Other kernels, other orders of summation: a part of the largest probability.
TOLERANCE = 5e-5


def by_onnx(file, images):
    """Returns the probabilities that ONNX Runtime computes."""
    session = importlib.import_module("onnxruntime").InferenceSession(file)
    return session.run(["probabilities"], {"image": images})[0]


def by_litert(file, images):
    """Returns the probabilities that LiteRT computes."""
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(file)
    return interpreter.get_signature_runner("serving_default")(image=images)["probabilities"]


def main(file, examples):
    """Prints what is wrong and returns the exit status."""
    with np.load(examples) as opened:
        images, probabilities = opened["images"], opened["probabilities"]
    found = (by_onnx if file.endswith(".onnx") else by_litert)(file, images)
    difference = abs(found - probabilities).max() / probabilities.max()
    if difference <= TOLERANCE:
        return 0
    print(f"The probabilities must be those of the SavedModel. They differ by {difference:.1e} of the largest.")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
