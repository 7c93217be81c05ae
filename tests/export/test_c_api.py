"""What the C API of TensorFlow says of versions that serve, and of such that do not."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.export import saved_model
from tests.export import conftest


@pytest.fixture
def run(version, model, pixels, tmp_path):
    """Returns a function of what differs from a check of the version that all tests share."""

    def check(folder=version, inputs=None, factor=1.0):
        examples = tmp_path / "examples.npz"
        expected = factor * conftest.probabilities(model, pixels)
        np.savez(examples, images=pixels.astype("float32"), probabilities=expected, tolerance=1e-5)
        given, output = saved_model._tensors(version)
        arguments = [os.path.dirname(tf.__file__), folder, inputs or given, output, examples]
        return subprocess.run(
            [sys.executable, "-P", saved_model.CHECKS["c_api.py"], *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    return check


def test_the_version_passes(run):
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "5 images get the probabilities of the model through the C API, up to 1e-05 of the largest.\n"
    )


@pytest.mark.parametrize("factor", [1 + 2e-5, np.nan])
def test_other_probabilities_are_found(factor, run):
    result = run(factor=factor)
    assert result.returncode == 1
    assert "must give the probabilities of the model" in result.stdout


def test_what_cannot_be_loaded_is_one_line(run, tmp_path):
    result = run(folder=tmp_path)
    assert result.returncode == 1
    (line,) = result.stdout.splitlines()
    assert "must load and run in the C API" in line
    assert "SavedModel" in line


def test_operation_that_is_missing_is_named(run):
    result = run(inputs="nothing:0")
    assert result.returncode == 1
    assert "no operation 'nothing'" in result.stdout


def test_python_of_tensorflow_takes_no_part():
    path = str(saved_model.CHECKS["c_api.py"])
    program = f"import runpy, sys; runpy.run_path({path!r}); print('tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
