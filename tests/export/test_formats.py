"""Versions in other runtimes: ONNX Runtime, LiteRT and OpenVINO, each in a process without TensorFlow."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from keras_norms import export
from keras_norms.export import formats
from tests.export import conftest

INSTALLED = {
    name: all(importlib.util.find_spec(package) for package in packages)
    for name, (packages, _) in export.FORMATS.items()
}


def needs(name):
    return pytest.mark.skipif(not INSTALLED[name], reason=f"needs keras_norms[{name}]")


FORMATS = [pytest.param(name, marks=needs(name)) for name in export.FORMATS]


@pytest.fixture(scope="module")
def converted(tmp_path_factory, pixels):
    """A version of a network with batch norm, whose folder tests may write into."""
    folder = tmp_path_factory.mktemp("formats")
    return export.export(conftest.network(), folder, "net", conftest.CLASS_NAMES, conftest.preprocess, pixels, {"a": 1})


@pytest.mark.parametrize("name", FORMATS)
def test_file_lies_in_a_folder_of_its_own_with_the_manifest(name, converted):
    file = export.convert(converted, name)
    assert file == converted.parents[1] / f"net.{name}" / "1" / formats.FORMATS[name][1]
    assert json.loads((file.parent / "keras_norms_manifest.json").read_text())["origin"] == {"a": 1}
    assert len(list(file.parent.iterdir())) == 2


@pytest.mark.parametrize("name", FORMATS)
def test_what_computes_something_else_is_refused_and_leaves_nothing(name, version, converted, monkeypatch):
    real = getattr(formats, f"_to_{name}")
    monkeypatch.setattr(formats, f"_to_{name}", lambda _, file: real(version, file))  # that of another network
    before = sorted(converted.parents[1].rglob("*"))
    with pytest.raises(RuntimeError, match="must be those of the SavedModel"):
        export.convert(converted, name)
    assert sorted(converted.parents[1].rglob("*")) == before


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"must be among.*'caffe'"):
        export.check_formats(["caffe"])


def test_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ValueError, match=r"needs tf2onnx and onnxruntime.*keras_norms\[onnx\]"):
        export.check_formats(["onnx"])


OPENVINO = """
import sys
import numpy as np
import openvino
folder, examples = sys.argv[1:]
# Where the processor has them, its default is numbers of 16 bits.
exact = {"INFERENCE_PRECISION_HINT": "f32"}
served = openvino.compile_model(openvino.convert_model(folder), "CPU", exact)
with np.load(examples) as file:
    answers = served({"image": file["images"]})
    difference = abs(answers["probabilities"] - file["probabilities"]).max() / file["probabilities"].max()
    assert difference < 1e-5, difference
    assert (answers["class_id"] == file["probabilities"].argmax(-1)).all()
assert not {"tensorflow", "keras", "keras_norms"} & set(sys.modules)
for name in answers["class_name"]:
    print(name)
"""


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs OpenVINO")
def test_openvino_computes_the_same(version, model, pixels, tmp_path):
    expected = conftest.probabilities(model, pixels)
    np.savez(tmp_path / "examples.npz", images=pixels.astype("float32"), probabilities=expected)
    command = [sys.executable, "-P", "-c", OPENVINO, version, tmp_path / "examples.npz"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [conftest.CLASS_NAMES[i] for i in expected.argmax(-1)]
