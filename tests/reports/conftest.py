import pytest

from keras_norms.reports import results
from tests.reports import made_up


@pytest.fixture
def folder(tmp_path):
    """The folder of a study as `made_up.write` writes it."""
    return made_up.write(tmp_path / "study")


@pytest.fixture
def found(folder):
    return results.read(folder, made_up.STUDY, made_up.PUBLISHED)
