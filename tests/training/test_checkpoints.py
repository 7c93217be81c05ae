"""Checkpoints on disk: complete or absent, found again wherever the folder is, and known to be damaged."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.checkpoint import checkpoint_management

from keras_norms.training import checkpoints


class State:
    """A state to be saved, and its checkpoints."""

    def __init__(self, folder, strategy=None, **values):
        strategy = strategy or tf.distribute.get_strategy()
        with strategy.scope():
            self.weight = tf.Variable(np.zeros(1000), dtype=tf.float32, name="weight")
        self.position = checkpoints.Position()
        self.checkpoints = checkpoints.Checkpoints(folder, {"weight": self.weight}, {}, self.position, strategy)

    def save(self, step):
        self.position.step.assign(step)
        self.weight.assign(tf.range(1000.0) + step)
        self.checkpoints.save()

    def restored(self):
        warnings = self.checkpoints.restore()
        np.testing.assert_array_equal(self.weight.numpy(), np.arange(1000) + float(self.position.step))
        return int(self.position.step), warnings


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def saved(folder, *steps):
    state = State(folder)
    for step in steps:
        state.save(step)
    return state


def names(folder):
    return sorted({path.name.split(".")[0] for path in folder.glob("ckpt-*")})


def test_newest_is_taken_up_and_the_last_three_are_kept_also_by_another_process(folder):
    saved(folder, 2, 9, 10, 11)
    assert names(folder) == ["ckpt-10", "ckpt-11", "ckpt-9"]
    later = State(folder)
    assert later.restored() == (11, [])
    later.save(100)
    assert names(folder) == ["ckpt-10", "ckpt-100", "ckpt-11"]
    assert State(folder).restored() == (100, [])


def test_nothing_to_take_up_is_no_error(folder):
    assert State(folder).checkpoints.restore() == []


def test_folder_may_have_been_moved(folder, tmp_path):
    saved(folder, 1, 2, 3)
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    state = State(moved)
    assert state.restored() == (3, [])
    state.save(4)
    assert names(moved) == ["ckpt-2", "ckpt-3", "ckpt-4"]


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_anywhere_is_noticed_and_the_checkpoint_before_is_used(folder, seed):
    saved(folder, 1, 2)
    rng = np.random.default_rng(seed)
    files = sorted(folder.glob("ckpt-2.*"))
    assert {file.suffix for file in files} == {".index", ".data-00000-of-00001", ".sha256"}
    file = files[seed % len(files)]
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(content)
    step, warnings = State(folder).restored()
    # A digest may be written in capitals or small letters, which is what one bit can change in it.
    assert step == 1 or (step == 2 and file.suffix == ".sha256")
    if step == 1:
        assert len(warnings) == 1
        assert "ckpt-2 is damaged" in warnings[0]
        assert State(folder).restored() == (1, [])  # told once
        assert len(list(folder.glob("ckpt-2.*.damaged"))) == 3


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("harm", [pathlib.Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:100])])
def test_missing_or_shortened_files_are_noticed(folder, suffix, harm):
    saved(folder, 1, 2)
    harm(folder / f"ckpt-2{suffix}")
    step, warnings = State(folder).restored()
    assert step == 1
    assert len(warnings) == 1


def test_damage_of_all_is_an_error_and_does_not_start_anew(folder):
    saved(folder, 1, 2)
    for file in folder.glob("ckpt-*.index"):
        file.write_bytes(b"")
    with pytest.raises(OSError, match=r"No checkpoint in .* can be used.*ckpt-1 is damaged.*ckpt-2.*--workdir"):
        State(folder).checkpoints.restore()


def test_what_was_never_completed_is_removed_and_no_matter_for_a_warning(folder):
    saved(folder, 1, 2)
    (folder / "ckpt-2.sha256").unlink()
    (folder / "ckpt-3_temp").mkdir()
    (folder / "ckpt-3_temp" / "part-00000-of-00001.index").write_bytes(b"half")
    (folder / "ckpt-3.data-00000-of-00001").write_bytes(b"half")
    assert State(folder).restored() == (1, [])
    assert names(folder) == ["ckpt-1"]


@pytest.mark.parametrize("content", [None, b"", b"\x00garbage"])
def test_the_list_of_tensorflow_is_not_needed(folder, content):
    saved(folder, 1, 2)
    (folder / "checkpoint").unlink() if content is None else (folder / "checkpoint").write_bytes(content)
    state = State(folder)
    assert state.restored() == (2, [])
    state.save(3)
    state.save(4)
    assert names(folder) == ["ckpt-2", "ckpt-3", "ckpt-4"]


def test_state_that_is_no_number_is_not_saved(folder):
    state = saved(folder, 1)
    state.weight[3].assign(np.inf)
    with pytest.raises(FloatingPointError, match="weight holds values that are no numbers after step 1"):
        state.checkpoints.save()
    assert State(folder).restored() == (1, [])


def test_another_network_is_refused(folder):
    saved(folder, 1)
    position, weight = checkpoints.Position(), tf.Variable(tf.zeros(7))
    other = checkpoints.Checkpoints(folder, {"other": weight}, {}, position, tf.distribute.get_strategy())
    with pytest.raises(ValueError, match=r"not one of this network.*--workdir"):
        other.restore()


def test_all_replicas_get_what_the_first_one_had(folder, strategy):
    state = State(folder, strategy)
    state.save(5)
    other = State(folder, strategy)
    assert other.restored() == (5, [])
    first, second = strategy.experimental_local_results(other.weight)
    np.testing.assert_array_equal(first.numpy(), np.arange(1000) + 5)
    np.testing.assert_array_equal(second.numpy(), first.numpy())


def test_interrupted_rewriting_of_a_checkpoint_leaves_the_one_before(folder, monkeypatch):
    state = saved(folder, 1, 2)

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.run_folder, "sync", killed)
    with pytest.raises(KeyboardInterrupt):
        state.save(2)
    monkeypatch.undo()
    assert State(folder).restored() == (1, [])


def test_interrupted_removal_of_an_old_checkpoint_is_no_damage(folder, monkeypatch):
    state = saved(folder, 1, 2, 3)

    def killed(pattern):
        (folder / "ckpt-1.index").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_management, "_delete_file_if_exists", killed)
    with pytest.raises(KeyboardInterrupt):
        state.save(4)
    monkeypatch.undo()
    assert not (folder / "ckpt-1.index").exists()
    assert State(folder).restored() == (4, [])
    assert names(folder) == ["ckpt-2", "ckpt-3", "ckpt-4"]


def test_copy_of_a_folder_is_as_good(folder, tmp_path):
    saved(folder, 1, 2)
    shutil.copytree(folder, tmp_path / "copy")
    assert State(tmp_path / "copy").restored() == (2, [])
