"""A trained model as a SavedModel: pixels in, probabilities out, checked before it is there."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_norms import surgery
from keras_norms.export import batching, manifest, signatures, versions, warmup

CLASS_NAMES = "class_names.txt"
CLASSIFY_METHOD = "tensorflow/serving/classify"
CHECKS = {name: pathlib.Path(__file__).with_name(name) for name in ("verification.py", "c_api.py")}
# How far a served probability may be from the model's, as a part of the largest, by the dtype of the layers. In
# float32 an image alone takes other orders of summation than one in a batch, and a folded network others than the
# network: through the 57 batch norms of an untrained GoogLeNet128 up to 1.7e-5. In 16 bits that can turn the last bit
# of a logit, a part of 2**-11 or 2**-8, and several of them move a probability by ten times that.
TOLERANCES = {"float16": 1e-2, "bfloat16": 1e-1}
TOLERANCE = 5e-5


def export(model, folder, name, class_names, preprocess, images, origin=None):
    """Writes the next version of a model, `<folder>/<name>/<version>/`, as TensorFlow Serving reads it.

    `signatures` says what it answers. In the folder of the version are also `assets/class_names.txt`, the classes, one
    a line; in `assets.extra` the requests with which a server warms up and `keras_norms_manifest.json`, which says
    what the version is and where it comes from; and `batching_params.pbtxt`.

    Normalizations are folded into the layers beside them where that is exact (`surgery.fold`). The version is written
    into a temporary folder, loaded in a fresh process that has neither Keras nor keras_norms, and in another one
    through the C API of TensorFlow, searched for what does not belong into an inference, compared with the model that
    was given, and only then moved into place. If anything fails on the way, nothing is left.

    Args:
        model: Functional `keras.Model` of any dtype policy. It returns logits of shape `(batch, classes)`, or a dict
            of them, of which "main" is exported alone.
        folder, name: As in `check_folder`.
        class_names: Sequence of as many strings as there are classes.
        preprocess: Function of float32 pixels from 0 to 255, shaped like `images` in all but their number. Returns
            what the model takes. It becomes part of the SavedModel: TensorFlow operations, without variables.
        images: Array of shape `(batch, height, width, channels)`, at least two real images, for the comparison.
        origin: What JSON can hold, kept in the manifest as where the model comes from.

    Returns:
        `pathlib.Path` of the version.

    Raises:
        ValueError, TypeError: An argument is not as described.
        OSError: The folder cannot be written.
        RuntimeError: The SavedModel does not pass its verification.
    """
    versions.check_folder(folder, name)
    classifier = _classifier(model)
    _check_class_names(class_names, classifier.output_shape[-1])
    json.dumps(origin, allow_nan=False)  # Refuses now what cannot be written later.
    images = np.asarray(images, "float32")
    _check_images(images)
    folded, report = surgery.fold(classifier)
    with versions.temporary(folder, name) as temporary:
        # A folder inside it: the temporary one can be read by its owner alone.
        version = pathlib.Path(temporary, "version")
        answers = signatures.Answers(folded, preprocess, class_names)
        with versions.writing(folder):
            _write(folded, signatures.signatures(answers, images.shape[1:]), class_names, version)
            batching.write(version)
            warmup.write(version, name, images[0])
        verification = _verify(classifier, preprocess, images, version)
        manifest.write(version, folded=report, verification=verification, origin=origin)
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


def _write(classifier, functions, class_names, version):
    # Not keras.export.ExportArchive (Keras 3.15): it takes no assets, and writes the variables of a model made for
    # several replicas twice.
    archive = tf.Module()
    archive.state = list(_read_by(functions.values(), classifier))
    class_names_file = version.with_name(CLASS_NAMES)
    class_names_file.write_text("".join(f"{class_name}\n" for class_name in class_names), encoding="utf-8")
    archive.class_names = tf.saved_model.Asset(class_names_file)
    tf.saved_model.save(archive, version, signatures=functions)
    if signatures.CLASSIFY in functions:
        # TensorFlow names the method of all signatures `predict`, which strict servers do not take for `classify`.
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(version))
        updater.replace_method_name(signatures.CLASSIFY, CLASSIFY_METHOD, tags="serve")
        updater.save()


def _read_by(functions, classifier):
    """Yields the variables that the functions read, each once; others, as the random states of dropout, are not kept.

    On several replicas they are the variables of all of them together, which are saved as one.
    """
    graphs = [function.get_concrete_function().graph for function in functions]
    captured = {id(outside) for graph in graphs for outside, _ in graph.captures}
    for variable in classifier.variables:
        value = variable.value
        parts = value.values if isinstance(value, tf.distribute.DistributedValues) else (value,)
        if any(id(part.handle) in captured for part in parts):
            yield value


def _verify(classifier, preprocess, images, version):
    """Returns what fresh processes say for a version that serves what the model computes, and refuses another."""
    tolerance = max(TOLERANCES.get(layer.compute_dtype, TOLERANCE) for layer in classifier.layers)
    examples = version.with_name("examples.npz")
    probabilities = _probabilities(classifier, preprocess, images)
    np.savez(examples, images=images, probabilities=probabilities, tolerance=tolerance)
    libraries = os.path.dirname(tf.__file__)
    said = [
        _run(CHECKS["verification.py"], version, examples),
        _run(CHECKS["c_api.py"], libraries, version, *_tensors(version), examples),
    ]
    problems = [line for status, line in said if status]
    if problems:
        raise RuntimeError(
            "The SavedModel must serve what the model computes. It was not kept, for:\n" + "\n".join(problems)
        )
    return [line for _, line in said]


def _run(program, *arguments):
    """Returns the exit status of a program, and what it says."""
    result = subprocess.run(
        # -P: this folder must not be searched for modules.
        [sys.executable, "-P", program, *arguments],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    nothing = f"{program.name} ended with status {result.returncode}."
    return result.returncode, result.stdout.strip() or result.stderr.strip() or nothing


def _tensors(version):
    """Returns the names of the tensors that `serving_default` takes as its image and gives as its probabilities."""
    saved_model = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    signature = saved_model.meta_graphs[0].signature_def[signatures.SERVING_DEFAULT]
    return signature.inputs["image"].name, signature.outputs["probabilities"].name


def _probabilities(classifier, preprocess, images):
    """Returns the softmax, in float64, of logits computed eagerly on the device of the fresh process."""
    with tf.device("CPU"):
        logits = classifier(preprocess(tf.constant(images)), training=False)
    logits = tf.cast(logits, "float64").numpy()
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
