import itertools
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data import streamed
from keras_norms.data.records import READING_ERRORS
from keras_norms.data.streamed import Streamed
from tests.data import record_files

LENGTHS = (5, 3, 0, 4, 6, 2, 7, 1, 2)  # 30 records
EXAMPLES = sum(LENGTHS)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(streamed, "_WINDOW_EXAMPLES", 8)
    monkeypatch.setattr(streamed, "_PREFETCHED_EXAMPLES", 1)


@pytest.fixture
def numbered(tmp_path):
    """Records that hold nothing but their number, in place of an undecoded example."""
    written = [str(number).encode() for number in range(EXAMPLES)]
    return record_files.stored(tmp_path, written, LENGTHS, (None, None, 3), 4)


def order(records, batch_size, seed=0, first_step=0, batches=1, drop_remainder=True):
    stream = Streamed(records).shuffled(batch_size, seed, first_step, drop_remainder)
    return [list(map(int, batch)) for batch in itertools.islice(stream.as_numpy_iterator(), batches)]


def file_of(number):
    return int(np.searchsorted(np.cumsum(LENGTHS), number, side="right"))


@pytest.mark.parametrize("batch_size", [1, 4, 7, 30])
@pytest.mark.parametrize("drop_remainder", [True, False])
def test_every_epoch_has_every_record_at_most_once(numbered, batch_size, drop_remainder):
    steps = EXAMPLES // batch_size if drop_remainder else -(-EXAMPLES // batch_size)
    batches = order(numbered, batch_size, 3, 0, 3 * steps, drop_remainder)
    epochs = [list(itertools.chain(*batches[first : first + steps])) for first in range(0, 3 * steps, steps)]
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch) == (steps * batch_size if drop_remainder else EXAMPLES)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("batch_size", [1, 4, 7])
@pytest.mark.parametrize("drop_remainder", [True, False])
def test_stream_continues_at_any_step(numbered, batch_size, drop_remainder):
    whole = order(numbered, batch_size, 1, 0, 12, drop_remainder)
    for first_step in (1, 3, 4, 5, 8):
        assert order(numbered, batch_size, 1, first_step, 3, drop_remainder) == whole[first_step : first_step + 3]


def test_order_is_a_function_of_the_seed_alone(numbered):
    orders = []
    for global_seed, seed in ((0, 3), (11, 3), (0, 4)):
        tf.random.set_seed(global_seed)
        orders.append(order(numbered, 10, seed, 0, 6))
    assert orders[0] == orders[1] != orders[2]


def windows(epoch):
    """Returns the sets of files that an order is made of, each shuffled by itself."""
    files, found, left = [file_of(number) for number in epoch], [], list(LENGTHS)
    for file in files:
        if not found or all(left[other] == 0 for other in found[-1]):
            found.append(set())
        found[-1].add(file)
        left[file] -= 1
    return found


def test_a_window_is_some_files_shuffled_wholly(numbered):
    first_files, first_records, mixed = set(), set(), 0
    for epoch in order(numbered, EXAMPLES, batches=60):
        found = windows(epoch)
        # Every file is in one window, and the last file of a window has begun before its 8th example or so.
        assert sum(map(len, found)) == len(LENGTHS) - 1
        assert all(sum(LENGTHS[file] for file in window) < 8 + max(LENGTHS) for window in found)
        assert len(found) >= 3
        mixed += sum(len(window) > 1 for window in found)
        first_files.add(file_of(epoch[0]))
        first_records.add(epoch[0])
    assert first_files == {file for file, length in enumerate(LENGTHS) if length}
    assert len(first_records) > 20
    assert mixed > 60


def test_windows_before_a_step_are_not_opened(numbered):
    whole = order(numbered, 5, 2, 0, 6)
    rest = {file_of(number) for number in list(itertools.chain(*whole[4:]))}
    for file in set(range(len(LENGTHS))) - rest - {2}:
        pathlib.Path(numbered.files[file]).write_bytes(b"")
    assert len(rest) < 7
    stream = Streamed(numbered).shuffled(5, 2, 4, True).take(2)
    assert [list(map(int, batch)) for batch in stream.as_numpy_iterator()] == whole[4:]
    with pytest.raises(READING_ERRORS):
        order(numbered, 5, 2, 0, 6)


def test_records_that_are_left_out_never_come(numbered):
    left_out = (0, 5, 6, 7, 29)
    kept = numbered.without(left_out)
    assert kept.examples == 25
    batches = order(kept, 4, 0, 0, 14, drop_remainder=False)
    for first in (0, 7):
        assert sorted(itertools.chain(*batches[first : first + 7])) == sorted(set(range(30)) - set(left_out))
    assert order(kept, 4, 0, 5, 9, drop_remainder=False) == batches[5:]


def test_file_that_ends_early_is_no_silent_shift(numbered):
    os.remove(numbered.files[4])
    record_files.write(numbered.files[4], [b"12"])
    with pytest.raises(READING_ERRORS, match="expected to contain 6 elements"):
        order(numbered, 7, 0, 0, 4)
