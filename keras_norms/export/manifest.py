"""What a version is and where it comes from: `assets.extra/keras_norms_manifest.json`."""

import hashlib
import json
import pathlib
import shlex
import sys

import keras
import tensorflow as tf

from keras_norms.version import __version__

FILE = "assets.extra/keras_norms_manifest.json"
_INIT = "__saved_model_init_op"


def write(version, folded, verification, origin):
    """Writes the manifest of a version, last of all: it has the digests of the other files.

    Args:
        version: Path of its folder.
        folded: `surgery.Report` of what was folded.
        verification: List of strings, what the verification has found.
        origin: What JSON can hold.
    """
    content = {
        "singleprint": tf.saved_model.experimental.read_fingerprint(str(version)).singleprint(),
        "versions": {"keras_norms": __version__, "keras": keras.__version__, "tensorflow": tf.__version__},
        "command": shlex.join(sys.argv),
        "signatures": _signatures(version),
        "classes": len((version / "assets" / "class_names.txt").read_text(encoding="utf-8").splitlines()),
        "folded": {row.layer: row.done for row in folded.done},
        "verification": verification,
        "origin": origin,
        "sha256": {
            str(path.relative_to(version)): _digest(path) for path in sorted(version.rglob("*")) if path.is_file()
        },
    }
    path = version / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(version):
    """Returns the manifest of a version, or None if it has none.

    Raises:
        ValueError: It is no JSON.
    """
    path = version / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def check_files(version):
    """Compares the files of a version with the digests in its manifest. Without a manifest there is nothing to compare.

    Raises:
        ValueError: A file is missing or is not what was exported, or the manifest is damaged.
    """
    version = pathlib.Path(version)
    try:
        digests = (read(version) or {}).get("sha256", {})
    except ValueError as error:
        raise ValueError(f"{version / FILE} is damaged: {error}.") from error
    for name, digest in digests.items():
        path = version / name
        if not path.is_file() or _digest(path) != digest:
            what = "not what was exported" if path.exists() else "missing"
            raise ValueError(f"The version {version} is damaged: {name} is {what}. Export it again.")


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _signatures(version):
    return {
        name: {
            "inputs": _described(signature.structured_input_signature[1]),
            "outputs": _described(signature.structured_outputs),
        }
        for name, signature in tf.saved_model.load(version).signatures.items()
        if name != _INIT
    }


def _described(tensors):
    return {key: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for key, spec in tensors.items()}
