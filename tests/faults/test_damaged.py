"""Checkpoints that are damaged after a kill: the one before is used, and the run comes to the same bits."""

import hashlib
import pathlib
import shutil

import pytest

from tests.faults import runs


@pytest.fixture(scope="module")
def killed(tmp_path_factory, tally):
    """A run that was killed, with three checkpoints."""
    run = runs.Run(tmp_path_factory.mktemp("killed"), runs.FLAGS)
    runs.Killer(run, 4, tally).after(lambda: run.step() >= 30, 0.15)
    return run


@pytest.fixture
def copy(killed, tmp_path):
    """A copy of it, to be damaged."""
    shutil.copytree(killed.workdir, tmp_path / "run")
    return runs.Run(tmp_path, runs.FLAGS)


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def cut_off(file):
    file.write_bytes(file.read_bytes()[:-1])


def digests(run, steps):
    """Returns what is in the files of checkpoints, whatever their names are by now."""
    files = [file for step in steps for file in run.checkpoints.glob(f"ckpt-{step}.*")]
    return sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def test_newest_are_damaged(copy, undisturbed):
    first, second, third = copy.saved()
    flip(copy.checkpoints / f"ckpt-{third}.data-00000-of-00001")
    cut_off(copy.checkpoints / f"ckpt-{second}.index")
    told = copy.finish().out
    for step in (second, third):
        assert f"ckpt-{step} is damaged" in told
    assert f"ckpt-{first} is damaged" not in told
    runs.assert_equal(copy, undisturbed)


def test_files_of_the_newest_are_missing(copy, undisturbed):
    newest = copy.step()
    (copy.checkpoints / f"ckpt-{newest}.index").unlink()
    (copy.checkpoints / "checkpoint").unlink()
    assert f"ckpt-{newest} is damaged" in copy.finish().out
    runs.assert_equal(copy, undisturbed)


def test_all_are_damaged(copy):
    steps = copy.saved()
    for step, harm in zip(steps, (flip, cut_off, pathlib.Path.unlink), strict=True):
        harm(copy.checkpoints / f"ckpt-{step}.data-00000-of-00001")
    before, config = digests(copy, steps), (copy.workdir / "config.json").read_bytes()
    told = copy.fail()
    assert "can be used" in told
    assert "--workdir" in told
    assert digests(copy, steps) == before
    assert (copy.workdir / "config.json").read_bytes() == config
    assert not (copy.workdir / "result.json").exists()
