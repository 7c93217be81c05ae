"""What to type to query an exported model."""

import pathlib
import shlex

from keras_norms.export import signatures


def query_example(version):
    """Returns a text that shows how to query a version, from Python and through TensorFlow Serving.

    Args:
        version: Path, as `export` returns it.
    """
    return f"In Python:\n\n{python_example(version)}\nWith TensorFlow Serving:\n\n{serving_example(version)}"


def python_example(version):
    """Returns a program that classifies the file `image.jpg`."""
    return f"""\
import pathlib

import tensorflow as tf

serve = tf.saved_model.load({str(pathlib.Path(version).resolve())!r}).signatures["{signatures.IMAGE_BYTES}"]
served = serve(image_bytes=tf.constant([pathlib.Path("image.jpg").read_bytes()]))
print(served["class_name"][0].numpy().decode(), float(tf.reduce_max(served["probabilities"])))
"""


def serving_example(version):
    """Returns two commands: one starts a server of all versions of the model, the other asks it about `image.jpg`."""
    folder = pathlib.Path(version).resolve().parent
    volume = shlex.quote(f"{folder}:/models/{folder.name}")
    return f"""\
docker run -p 8501:8501 -v {volume} -e MODEL_NAME={folder.name} tensorflow/serving:2.20.0
python drivers/query.py --server localhost:8501 --model {folder.name} image.jpg
"""
