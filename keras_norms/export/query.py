"""What to type to query an exported model."""

import json
import pathlib
import shlex

from keras_norms.export import saved_model


def query_example(version):
    """Returns a text that shows how to query a version, from Python and through TensorFlow Serving.

    Args:
        version: Path, as `export` returns it.
    """
    return f"In Python:\n\n{python_example(version)}\nWith TensorFlow Serving:\n\n{serving_example(version)}"


def python_example(version):
    """Returns a program that classifies the file `image.jpg`, and writes the same request to `request.json`."""
    version = pathlib.Path(version).resolve()
    manifest = json.loads((version / saved_model.MANIFEST).read_text(encoding="utf-8"))
    _, *size, channels = manifest["signature"]["inputs"]["image"]["shape"]
    return f"""\
import json
import pathlib

import tensorflow as tf

version = pathlib.Path({str(version)!r})
image = tf.io.decode_image(tf.io.read_file("image.jpg"), channels={channels})
images = tf.image.resize(image, {size})[tf.newaxis]  # pixels from 0 to 255
served = tf.saved_model.load(version).signatures["{saved_model.SIGNATURE}"](image=images)
class_names = (version / "assets/{saved_model.CLASS_NAMES}").read_text(encoding="utf-8").splitlines()
print(class_names[int(served["class_id"][0])], float(tf.reduce_max(served["probabilities"])))

pathlib.Path("request.json").write_text(json.dumps({{"instances": images.numpy().tolist()}}))
"""


def serving_example(version):
    """Returns two commands: one starts a server of all versions of the model, the other sends it `request.json`."""
    folder = pathlib.Path(version).resolve().parent
    volume = shlex.quote(f"{folder}:/models/{folder.name}")
    return f"""\
docker run -p 8501:8501 -v {volume} -e MODEL_NAME={folder.name} tensorflow/serving
curl -d @request.json http://localhost:8501/v1/models/{folder.name}:predict
"""
