"""Disks that are full or cannot be written: a clear error, nothing lost, and the same command goes on."""

import contextlib
import pathlib
import re
import shutil
import subprocess

import pytest

from tests.faults import processes, runs


class Disk:
    """A small file system of its own.

    Args:
        folder: Path, where it is mounted.
    """

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    def mount(self, *options):
        """Mounts it, or mounts it anew with other options."""
        command = ["mount", "-t", "tmpfs", "-o", ",".join(("size=4m", *options)), "tmpfs", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self):
        """Leaves no byte."""
        with open(self._filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass

    def free(self, count=None):
        """Frees some bytes, or all that were filled."""
        if count is None:
            self._filler.unlink()
        else:
            with open(self._filler, "r+b") as file:
                file.truncate(self._filler.stat().st_size - count)


@pytest.fixture
def disk(tmp_path):
    """Returns a function of a folder that makes it a `Disk`."""
    with contextlib.ExitStack() as stack:

        def mounted(folder):
            folder.mkdir()
            made = Disk(folder)
            try:
                made.mount()
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"no file system can be mounted here: {error}")
            stack.callback(made.unmount)
            return made

        yield mounted


def test_full_and_then_not_writable_while_training(disk, undisturbed, tmp_path):
    small = disk(tmp_path / "disk")
    run = runs.Run(tmp_path, runs.FLAGS, workdir=small.folder / "run")
    process = run.start()
    run.wait(process, 10)
    small.fill()
    told = runs.failed(process)
    assert "No checkpoint could be written after step" in told
    assert re.search(rf"ckpt-{run.step()}, is intact.*the same command goes on", told)
    assert len(run.saved()) >= 2
    assert not run.halves()
    small.free()
    small.mount("remount", "ro")
    assert "Read-only file system" in run.fail()
    small.mount("remount", "rw")
    run.finish()
    runs.assert_equal(run, undisturbed)


def test_full_where_history_and_curves_are_written(disk, undisturbed, tmp_path):
    small = disk(tmp_path / "disk")
    run = runs.Run(tmp_path, runs.FLAGS, workdir=small.folder / "run")
    shutil.copytree(undisturbed.workdir, run.workdir)
    (run.workdir / "result.json").unlink()
    small.fill()
    assert re.search(r"/run/history\.csv cannot be written: .*No space left on device", run.fail())
    small.free(4096)
    assert re.search(r"/run/curves\.png cannot be written: .*No space left on device", run.fail())
    small.free()
    run.finish()
    runs.assert_equal(run, undisturbed)


@pytest.mark.parametrize(
    ("where", "flags", "named", "first"),
    [
        ("tensorboard", (), "tensorboard", 41),
        ("probe/tensorboard", ("--probe_every=30",), "probe/tensorboard", 0),
        ("probe", ("--probe_every=30",), "probe/probe.csv", 0),
    ],
)
def test_full_where_events_are_written(where, flags, named, first, disk, undisturbed, tmp_path):
    run = runs.Run(tmp_path, (*runs.FLAGS, *flags))
    (run.workdir / where).parent.mkdir(parents=True)
    shutil.copy(undisturbed.workdir / "config.json", run.workdir)
    small = disk(run.workdir / where)
    small.fill()
    assert re.search(f"/run/{named} cannot be written: .*No space left on device", run.fail())
    assert run.step() == first


def test_full_where_the_saved_model_is_written(disk, tmp_path):
    flags = ("--arch=resnet20", "--image_size=16", "--steps=1", "--batch_size=8")
    run = runs.Run(tmp_path, flags, processes.DRIVER)
    small = disk(tmp_path / "saved_models")
    small.fill()
    assert re.search(r"saved_models cannot be written: .*No space left on device", run.fail())
    assert [path.name for path in small.folder.iterdir()] == ["filler"]
    small.free()
    assert "epoch 1/1" not in run.finish().out
    assert (small.folder / "resnet20" / "1" / "saved_model.pb").exists()


def test_folder_cannot_be_made(disk, tmp_path):
    small = disk(tmp_path / "disk")
    small.mount("remount", "ro")
    told = runs.Run(tmp_path, runs.FLAGS, workdir=small.folder / "run").fail()
    assert "`workdir` must be a folder that can be written" in told
    assert not list(pathlib.Path(small.folder).iterdir())
