"""The SavedModel of the tree: what its manifest says, and what it answers to the images beside it."""

import hashlib
import json

import pytest

from tests.serving import sample

VERSION = sample.MODEL / "1"


@pytest.fixture(scope="module")
def manifest():
    return json.loads((VERSION / "assets.extra" / "keras_norms_manifest.json").read_text())


def test_images_get_the_classes_they_are_named_after():
    found = sample.answers()
    assert len(found) == 20
    assert len({wanted for wanted, _, _ in found.values()}) == 10
    assert sample.share_right(found) >= 0.9


def test_manifest_tells_how_it_was_trained_and_how_well_it_does(manifest):
    origin = manifest["origin"]
    assert origin["result"]["test_accuracy"] >= 0.92
    assert origin["result"]["test_examples"] == 10_000
    assert (origin["settings"]["arch"], origin["settings"]["dataset"]) == ("resnet20", "fashion_mnist")
    assert not origin["environment"]["commit"].endswith("-dirty")


def test_files_are_those_of_the_manifest_and_small(manifest):
    files = {str(path.relative_to(VERSION)): path.read_bytes() for path in VERSION.rglob("*") if path.is_file()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    del digests["assets.extra/keras_norms_manifest.json"]
    assert manifest["sha256"] == digests
    assert sum(map(len, files.values())) < 2_500_000
