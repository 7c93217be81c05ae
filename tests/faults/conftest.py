"""Runs to compare with, real images in few files, and the count of what was killed."""

import importlib.util
import pathlib
import shutil

import pytest

from tests.faults import runs

_PREPARE = pathlib.Path(__file__).parents[3] / "shared" / "data" / "prepare_tfds.py"
_EXAMPLES = {"train": 2560, "test": 500}


@pytest.fixture(scope="session")
def tally():
    """List with an entry for each process that was killed: whether it was writing a checkpoint or a file then."""
    return []


@pytest.fixture(autouse=True)
def counted(tally, record_property):
    """Leaves the tally of a test, and of what was made for it, in its report."""
    yield
    record_property("killed", [*tally])
    tally.clear()


def pytest_terminal_summary(terminalreporter):
    reports = [report for some in terminalreporter.stats.values() for report in some]
    ends = [dict(report.user_properties) for report in reports if getattr(report, "when", None) == "teardown"]
    killed = [writing for properties in ends for writing in properties.get("killed", ())]
    terminalreporter.write_line(f"{len(killed)} runs were killed, {sum(killed)} of them while they wrote.")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The small run that nobody disturbs."""
    run = runs.Run(tmp_path_factory.mktemp("undisturbed"), runs.FLAGS)
    run.finish()
    return run


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Folder with the first images of CIFAR-10, as TensorFlow Datasets prepares it."""
    if not _PREPARE.exists():
        pytest.skip(f"CIFAR-10 is not there: {_PREPARE}")
    specification = importlib.util.spec_from_file_location("prepare_tfds", _PREPARE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    read = module.read_cifar10

    def first(path):
        count = _EXAMPLES[path.stem.removeprefix("cifar10_")]
        return (part[:count] for part in read(path))

    module.read_cifar10 = first
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    module.cifar10(str(folder)).download_and_prepare()
    return folder


@pytest.fixture
def cifar10(prepared, tmp_path):
    """A copy of that folder, to be damaged."""
    shutil.copytree(prepared, tmp_path / "tensorflow_datasets")
    return tmp_path / "tensorflow_datasets"
