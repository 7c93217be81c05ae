"""A version in the formats of other runtimes, checked there: ONNX, and LiteRT (`.tflite`).

They are made of the signature `serving_default`, and lie in folders of their own, as NVIDIA's Triton reads them:
`<folder>/<name>.onnx/<version>/model.onnx`. A server of SavedModels counts all files of a version as memory it needs.
"""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import tensorflow as tf

from keras_norms.export import manifest, signatures, versions

# What each is made and checked with, and its file.
FORMATS = {"onnx": (("tf2onnx", "onnxruntime"), "model.onnx"), "litert": (("ai_edge_litert",), "model.tflite")}
RUNTIMES = pathlib.Path(__file__).with_name("runtimes.py")
_OPSET = "18"


def check_formats(formats):
    """Refuses formats that are unknown, or cannot be made here.

    Raises:
        ValueError: One of them.
    """
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"`format` must be among {list(FORMATS)}. Received: format={name!r}.")
        missing = [package for package in FORMATS[name][0] if importlib.util.find_spec(package) is None]
        if missing:
            raise ValueError(
                f"The format {name!r} needs {' and '.join(missing)}, which is not installed: "
                f"pip install 'keras_norms[{name}]'."
            )


def convert(version, name):
    """Writes a version in another format, next to the folder of its model.

    Args:
        version: Path, as `export` returns it.
        name: String, one of `FORMATS`.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        ValueError: The format is unknown, or cannot be made here.
        RuntimeError: It cannot be converted, or the other runtime does not compute what the version does.
        OSError: The folder cannot be written.
    """
    check_formats([name])
    folder, model = version.parents[1], f"{version.parent.name}.{name}"
    versions.check_folder(folder, model)
    with versions.temporary(folder, model) as temporary:
        own = pathlib.Path(temporary, "version")
        own.mkdir()
        file = own / FORMATS[name][1]
        {"onnx": _to_onnx, "litert": _to_litert}[name](version, file)
        _verify(version, file, own.with_name("examples.npz"))
        shutil.copyfile(version / manifest.FILE, own / pathlib.Path(manifest.FILE).name)
        return versions.publish(own, folder, model) / file.name


def _to_onnx(version, file):
    # In a process of its own: it changes the state of TensorFlow.
    command = ["-m", "tf2onnx.convert", "--saved-model", version, "--signature_def", signatures.SERVING_DEFAULT]
    _run([*command, "--opset", _OPSET, "--output", file])


def _to_litert(version, file):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(version), signature_keys=[signatures.SERVING_DEFAULT])
    try:
        file.write_bytes(converter.convert())
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise RuntimeError(f"LiteRT cannot express the model: {str(error).partition(chr(10))[0]}") from error


def _verify(version, file, examples):
    served = tf.saved_model.load(version).signatures[signatures.SERVING_DEFAULT]
    shape = served.structured_input_signature[1]["image"].shape[1:]
    images = np.random.default_rng(0).uniform(0, 255, (4, *shape)).astype("float32")
    np.savez(examples, images=images, probabilities=served(image=tf.constant(images))["probabilities"])
    _run(["-P", RUNTIMES, file, examples])


def _run(arguments):
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        said = (result.stdout.strip() or result.stderr.strip() or f"Exit status {result.returncode}.").splitlines()[-1]
        raise RuntimeError(f"The model could not be converted: {said}")
