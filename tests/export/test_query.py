import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_norms import export
from keras_norms.export import query
from tests.export import conftest


def test_python_example_runs(version, pixels, tmp_path):
    # Of one colour, which JPEG keeps, and of another size.
    image = np.full((16, 18, 3), 64, "uint8")
    (tmp_path / "image.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
    program = [sys.executable, "-c", query.python_example(version)]
    result = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    serve = tf.saved_model.load(version).signatures["serving_default"]
    expected = serve(image=tf.constant(image[None, :8, :9], tf.float32))["probabilities"].numpy()
    class_name, probability = result.stdout.rsplit(" ", 1)
    assert class_name == conftest.CLASS_NAMES[expected.argmax()]
    assert float(probability) == pytest.approx(expected.max(), abs=1e-5)


def test_serving_example_names_the_model(version):
    server, request = query.serving_example(version).splitlines()
    # The folder of the tests has a space in its name.
    assert f"-v '{version.parent.resolve()}:/models/tiny' -e MODEL_NAME=tiny tensorflow/serving:2.20.0" in server
    assert request == "python drivers/query.py --server localhost:8501 --model tiny image.jpg"


def test_query_example_has_both(version, monkeypatch):
    monkeypatch.chdir(version.parents[1])
    text = export.query_example("tiny/1")
    assert query.python_example(version) in text
    assert query.serving_example(version) in text
