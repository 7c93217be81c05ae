"""Versions whose files are not what was exported."""

import pathlib
import shutil

import pytest

from keras_norms import export
from keras_norms.export import manifest


@pytest.fixture
def copy(version, tmp_path):
    """A copy of a version, to be damaged."""
    return pathlib.Path(shutil.copytree(version, tmp_path / "1"))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_version_as_it_was_exported_passes(copy):
    export.check_files(copy)
    (copy / manifest.FILE).unlink()
    flip(copy / "saved_model.pb")
    export.check_files(copy)  # nothing to compare with


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "assets/class_names.txt"])
@pytest.mark.parametrize(("harm", "words"), [(flip, "not what was exported"), (pathlib.Path.unlink, "missing")])
def test_damaged_file_is_named(harm, words, name, copy):
    harm(copy / name)
    with pytest.raises(ValueError, match=f"is damaged: {name} is {words}"):
        export.check_files(copy)


def test_damaged_manifest_is_named(copy):
    (copy / manifest.FILE).write_text("{")
    with pytest.raises(ValueError, match=r"keras_norms_manifest\.json is damaged"):
        export.check_files(copy)
