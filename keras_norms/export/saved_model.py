"""A trained model as a SavedModel: pixels in, probabilities out, checked before it is there."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_norms.export import versions
from keras_norms.version import __version__

SIGNATURE = "serving_default"
CLASS_NAMES = "class_names.txt"
MANIFEST = "assets.extra/keras_norms_manifest.json"
VERIFICATION = pathlib.Path(__file__).with_name("verification.py")
# How far a served probability may be from the model's, as a part of the largest, by the dtype of the layers. Both are
# computed on the CPU, with the same kernels, and agree to 2e-7; but an image alone takes other orders of summation
# than one in a batch. That makes up to 7e-6 in the networks of keras_norms.models. In 16 bits it can turn the last
# bit of a logit, a part of 2**-11 or 2**-8, and several of them move a probability by ten times that.
TOLERANCES = {"float16": 1e-2, "bfloat16": 1e-1}
TOLERANCE = 1e-4


def export(model, folder, name, class_names, preprocess, images, manifest=None):
    """Writes the next version of a model, `<folder>/<name>/<version>/`.

    The SavedModel has one signature, `serving_default`: `image`, float32 pixels from 0 to 255 of shape
    `(batch, height, width, channels)`, to `probabilities`, float32 of shape `(batch, classes)`, and `class_id`, int64
    of shape `(batch,)`. `assets/class_names.txt` has the names of the classes, one a line, and
    `assets.extra/keras_norms_manifest.json` says what the version is and where it comes from.

    It is written into a temporary folder, loaded in a fresh process that has neither Keras nor keras_norms, searched
    for what does not belong into an inference, compared with the model, and only then moved into place. If anything
    fails on the way, nothing is left.

    Args:
        model: Functional `keras.Model` of any dtype policy. It returns logits of shape `(batch, classes)`, or a dict
            of them, of which "main" is exported alone.
        folder, name: As in `check_folder`.
        class_names: Sequence of as many strings as there are classes.
        preprocess: Function of float32 pixels, shaped like `images` in all but their number. Returns what the model
            takes. It becomes part of the SavedModel: TensorFlow operations, without variables.
        images: Array of shape `(batch, height, width, channels)`, at least two real images, for the comparison.
        manifest: What JSON can hold, kept as the "origin" of the model.

    Returns:
        `pathlib.Path` of the version.

    Raises:
        ValueError, TypeError: An argument is not as described.
        OSError: The folder cannot be written.
        RuntimeError: The SavedModel does not pass its verification.
    """
    versions.check_folder(folder, name)
    classifier = _classifier(model)
    classes = classifier.output_shape[-1]
    _check_class_names(class_names, classes)
    json.dumps(manifest, allow_nan=False)  # Refuses now what cannot be written later.
    images = np.asarray(images, "float32")
    _check_images(images)
    with versions.temporary(folder, name) as temporary:
        # A folder inside it: the temporary one can be read by its owner alone.
        version = pathlib.Path(temporary, "version")
        _write(classifier, preprocess, images.shape[1:], class_names, version)
        verification = _verify(classifier, preprocess, images, version)
        _write_manifest(version, images.shape[1:], classes, verification, manifest)
        return versions.publish(version, folder, name)


def _classifier(model):
    """Returns the model of the main logits alone, without the variables of other heads."""
    outputs = model.output
    if isinstance(outputs, dict) and "main" not in outputs:
        raise ValueError(f"`model` must have one output, or one called 'main'. Received: outputs={list(outputs)}.")
    logits = outputs["main"] if isinstance(outputs, dict) else outputs
    if len(logits.shape) != 2:
        raise ValueError(f"`model` must return logits of shape `(batch, classes)`. Received: shape={logits.shape}.")
    return keras.Model(model.input, logits)


def _check_class_names(class_names, classes):
    if len(class_names) != classes:
        raise ValueError(f"`class_names` must be as many as the {classes} classes. Received: {len(class_names)} names.")
    for class_name in class_names:
        if class_name.splitlines() != [class_name]:
            raise ValueError(f"`class_names` must be one line of text each. Received: {class_name!r}.")


def _check_images(images):
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(
            "`images` must be of shape `(batch, height, width, channels)`, and at least two, to see that one alone "
            f"gives what it gives beside others. Received: shape={images.shape}."
        )


def _write(classifier, preprocess, image_shape, class_names, version):
    # Not keras.export.ExportArchive (Keras 3.15): it takes no assets, and writes the variables of a model made for
    # several replicas twice.
    archive = tf.Module()
    archive.state = [variable.value for variable in classifier.variables]
    class_names_file = version.with_name(CLASS_NAMES)
    class_names_file.write_text("".join(f"{class_name}\n" for class_name in class_names), encoding="utf-8")
    archive.class_names = tf.saved_model.Asset(class_names_file)

    def serve(image):
        logits = classifier(preprocess(image), training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, "float32"))
        return {"probabilities": probabilities, "class_id": tf.argmax(probabilities, axis=-1)}

    pixels = tf.TensorSpec((None, *image_shape), "float32", name="image")
    signature = tf.function(serve, input_signature=[pixels], autograph=False)
    tf.saved_model.save(archive, version, signatures={SIGNATURE: signature})


def _verify(classifier, preprocess, images, version):
    """Returns what a fresh process says for a version that serves what the model computes, and refuses another."""
    tolerance = max(TOLERANCES.get(layer.compute_dtype, TOLERANCE) for layer in classifier.layers)
    examples = version.with_name("examples.npz")
    probabilities = _probabilities(classifier, preprocess, images)
    np.savez(examples, images=images, probabilities=probabilities, tolerance=tolerance)
    result = subprocess.run(
        # -P: this folder must not be searched for modules.
        [sys.executable, "-P", VERIFICATION, version, examples],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        problems = result.stdout.strip() or result.stderr.strip() or f"Exit status {result.returncode}."
        raise RuntimeError(f"The SavedModel must serve what the model computes. It was not kept, for:\n{problems}")
    return result.stdout.strip()


def _probabilities(classifier, preprocess, images):
    """Returns the softmax, in float64, of logits computed eagerly on the device of the fresh process."""
    with tf.device("CPU"):
        logits = classifier(preprocess(tf.constant(images)), training=False)
    logits = tf.cast(logits, "float64").numpy()
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _write_manifest(version, image_shape, classes, verification, origin):
    manifest = {
        "singleprint": tf.saved_model.experimental.read_fingerprint(str(version)).singleprint(),
        "versions": {
            "keras_norms": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
        "signature": {
            "name": SIGNATURE,
            "inputs": {"image": {"dtype": "float32", "shape": [None, *image_shape]}},
            "outputs": {
                "probabilities": {"dtype": "float32", "shape": [None, classes]},
                "class_id": {"dtype": "int64", "shape": [None]},
            },
        },
        "classes": classes,
        "verification": verification,
        "origin": origin,
    }
    path = version / MANIFEST
    path.parent.mkdir()
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
