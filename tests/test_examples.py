"""The examples of docstrings and of the README run as written."""

import doctest
import importlib
import pathlib
import pkgutil
import re

import keras
import numpy as np
import pytest

import keras_norms

ROOT = pathlib.Path(__file__).parents[1]
PORTABLE = ("keras_norms.layers.", "keras_norms.models.", "keras_norms.ops.")
MODULES = [m.name for m in pkgutil.walk_packages(keras_norms.__path__, "keras_norms.") if m.name.startswith(PORTABLE)]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("_tensorflow")])
def test_examples_of_docstrings(name):
    names = {"np": np, "keras": keras, "keras_norms": keras_norms}
    assert doctest.testmod(importlib.import_module(name), extraglobs=names).failed == 0


def test_every_public_layer_has_an_example():
    for name in keras_norms.layers.__all__:
        assert ">>>" in getattr(keras_norms.layers, name).__doc__, name


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_of_the_readme(block):
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_every_file_the_readme_names_exists():
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\S+)", "\n".join(blocks("sh")), re.MULTILINE))))
def test_every_make_target_of_the_readme_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
