import os
import pathlib
import re

import pytest

from keras_norms.export import versions


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "saved_model.pb").write_text("new")
    return source


@pytest.fixture
def unprivileged():
    """Permissions do not stop root."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    yield
    os.seteuid(user)


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["resnet20", "3", "_a-b.c", "X"])
def test_good_folder_is_made_and_left_empty(name, tmp_path):
    versions.check_folder(tmp_path / "new" / "folder", name)
    assert everything(tmp_path) == ["new", "new/folder"]


def test_versions_that_exist_are_left_alone(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    versions.check_folder(str(tmp_path), "m")
    assert everything(tmp_path) == ["m", "m/1"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", ".hidden", "-flag", "a b", "a\n", "a\\b", "ä", "$HOME", "/"])
def test_bad_names_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"name={name!r}")):
        versions.check_folder(tmp_path / "folder", name)
    assert everything(tmp_path) == []


def test_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    for folder in ("file", "file/folder"):
        with pytest.raises(NotADirectoryError, match=f"`folder` must be.*'m'.*{folder}.*Not a directory"):
            versions.check_folder(tmp_path / folder, "m")
    with pytest.raises(NotADirectoryError, match="Not a directory"):
        versions.check_folder(tmp_path, "file")
    assert everything(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not pathlib.Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.parametrize("folder", ["/proc", "/proc/models"])
def test_folder_that_not_even_root_can_write_is_refused(folder):
    with pytest.raises(OSError, match=f"`folder` must be.*{folder}"):
        versions.check_folder(folder, "m")


def test_folder_without_permission_is_refused(tmp_path, unprivileged):
    with pytest.raises(PermissionError, match=r"`folder` must be.*Permission denied"):
        versions.check_folder(tmp_path / "folder", "m")


def test_model_whose_folder_alone_cannot_be_written_is_refused(tmp_path):
    # A broken link is there, but no place for a version.
    (tmp_path / "m").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="`folder` must be"):
        versions.check_folder(tmp_path, "m")
    assert everything(tmp_path) == ["m"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second file system")
def test_model_on_another_file_system_is_refused(tmp_path):
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    (tmp_path / "m").symlink_to("/dev/shm")
    with pytest.raises(OSError, match=r"`folder` must be.*cross-device"):
        versions.check_folder(tmp_path, "m")
    assert everything(tmp_path) == ["m"]


def test_temporary_folder_is_beside_the_model_and_does_not_stay(tmp_path):
    with versions.temporary(tmp_path, "m") as temporary:
        path = pathlib.Path(temporary)
        (path / "half").write_text("written")
        assert path.parent == tmp_path
        assert path.name.startswith(".m-")
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], "1"),
        (["1"], "2"),
        (["1", "2", "17"], "18"),
        (["0"], "1"),
        (["3", "009"], "10"),
        (["9", "10"], "11"),
        (["new", "5.old", "-7", "x8", ".9", "1e3"], "1"),
    ],
)
def test_version_is_one_more_than_the_largest(present, expected, source, tmp_path):
    for name in present:
        (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / name / "saved_model.pb").write_text("old")
    version = versions.publish(source, tmp_path, "m")
    assert version == tmp_path / "m" / expected
    assert everything(version) == ["saved_model.pb"]
    assert (version / "saved_model.pb").read_text() == "new"
    assert all((tmp_path / "m" / name / "saved_model.pb").read_text() == "old" for name in present)
    assert not source.exists()


def test_file_or_broken_link_keeps_its_number(source, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "1").write_text("a file")
    (tmp_path / "m" / "2").symlink_to(tmp_path / "nowhere")
    assert versions.publish(source, tmp_path, "m").name == "3"
    assert (tmp_path / "m" / "1").read_text() == "a file"


def test_versions_taken_meanwhile_are_not_overwritten(source, tmp_path, monkeypatch):
    rename = os.rename

    def late(source, target):
        # Others take 1, 2 and 3 after the folder was read.
        for taken in (tmp_path / "m" / "1", tmp_path / "m" / "2"):
            taken.mkdir(exist_ok=True)
            (taken / "saved_model.pb").write_text("of another")
        if not os.path.lexists(tmp_path / "m" / "3"):
            (tmp_path / "m" / "3").symlink_to(tmp_path / "nowhere")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert versions.publish(source, tmp_path, "m").name == "4"
    for taken in ("1", "2"):
        assert (tmp_path / "m" / taken / "saved_model.pb").read_text() == "of another"


def test_move_that_fails_for_another_reason_is_not_tried_for_ever(source, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        versions.publish(source, tmp_path, "m")
