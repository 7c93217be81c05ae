"""The examples of docs/serving.md, as written, against the stub servers."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from tests.serving import core, tiny

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "serving.md").read_text()
MODEL = "resnet20_fashion_mnist"
COLOUR = (12, 230, 40)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def served(versions):
    """The model of the page: what it sees in a green image is "green" in version 1."""
    return core.Core({MODEL: {1: versions["1"]}}, labels={(MODEL, "stable"): 1, (MODEL, "canary"): 1})


@pytest.fixture
def here(both, tmp_path, monkeypatch):
    """A folder with `image.png`, and a function that puts the addresses of the stubs in place of those of the page."""
    (tmp_path / "image.png").write_bytes(tiny.file(COLOUR))
    monkeypatch.chdir(tmp_path)
    return lambda text: text.replace("localhost:8501", both["rest"]).replace("localhost:8500", both["grpc"])


@pytest.mark.parametrize("block", blocks("py"))
def test_python(block, here, capsys):
    exec(compile(here(block), "serving.md", "exec"), {"__name__": "documentation"})
    printed = capsys.readouterr().out
    if "image.png" in block:
        assert "green" in printed
        return
    # Black pixels: all logits are zero, and the first of the six classes counts as the largest.
    assert printed.startswith("[0 0]" if "grpc" in block else "red")
    assert printed.count("0.166666") == 2


def test_there_are_examples_of_all_signatures():
    text = "\n".join(blocks("py") + blocks("bash"))
    for words in ("image_bytes", "classify", '":predict"', "Classify(", "make_tensor_proto(np."):
        assert words in text


@pytest.mark.skipif(not shutil.which("curl") or os.name == "nt", reason="the examples are for bash and curl")
@pytest.mark.parametrize("block", blocks("bash"))
def test_curl(block, here):
    command = ["bash", "-euo", "pipefail", "-c", here(block)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if ":predict" in block or ":classify" in block:
        reply = json.loads(printed)
        rows = {
            "instances": lambda: reply["predictions"][0]["class_name"],
            "inputs": lambda: reply["outputs"]["class_name"][0],
            "examples": lambda: reply["results"][0][0][0],
        }
        (form,) = (name for name in rows if f'"{name}"' in block)
        assert rows[form]() == "green"
    else:
        assert '"AVAILABLE"' in printed
        assert all(f'"{name}"' in printed for name in ("serving_default", "image_bytes", "classify"))
