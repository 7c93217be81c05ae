"""The examples of docstrings, of the README and of the documentation run as written."""

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
PORTABLE = (
    "keras_norms.initializers.",
    "keras_norms.layers.",
    "keras_norms.models.",
    "keras_norms.ops.",
    "keras_norms.probe.",
    "keras_norms.surgery.",
)
MODULES = [m.name for m in pkgutil.walk_packages(keras_norms.__path__, "keras_norms.") if m.name.startswith(PORTABLE)]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith(("_tensorflow", "_jax", "_torch"))])
def test_examples_of_docstrings(name):
    names = {"np": np, "keras": keras, "keras_norms": keras_norms}
    assert doctest.testmod(importlib.import_module(name), extraglobs=names).failed == 0


def test_every_public_layer_has_an_example():
    for name in keras_norms.layers.__all__:
        assert ">>>" in getattr(keras_norms.layers, name).__doc__, name


README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
CARDS = sorted((ROOT / "docs" / "methods").glob("*.md"))


def blocks(language, page=README):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def python_blocks():
    for page in PAGES:
        for number, block in enumerate(blocks("python", page), start=1):
            yield pytest.param(page, block, id=f"{page.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize(("page", "block"), list(python_blocks()))
def test_python_of_the_documentation(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page.name, "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_a_page_names_exists(page):
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / path).exists(), path


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_every_card_has_its_parts(card):
    headings = re.findall(r"^## (.*)$", card.read_text(), re.MULTILINE)
    expected = ["Equation", "When to use it", "Cost", "Pitfalls", "Parity", "Example", "Reference"]
    assert headings == expected
    assert blocks("python", card)


def test_every_public_layer_has_a_card():
    titles = "\n".join(card.read_text().splitlines()[0] for card in CARDS)
    for name in keras_norms.layers.__all__:
        assert re.search(rf"\b{name}\b", titles), name


def test_every_card_is_on_the_page_that_helps_to_choose():
    page = (ROOT / "docs" / "choosing.md").read_text()
    assert [card.name for card in CARDS if f"methods/{card.name}" not in page] == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\S+)", "\n".join(blocks("sh")), re.MULTILINE))))
def test_every_make_target_of_the_readme_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
