import re

import keras
import pytest
import tensorflow as tf

from keras_norms.training import profile


@tf.function
def marked(step):
    return step + 1


def train(observer, first_step, last_step, interrupted_in=None):
    """Makes steps as a run does, each with an event of its own name on the profile."""
    observers = keras.callbacks.CallbackList([observer], first_step=first_step)
    observers.on_train_begin()
    for step in range(first_step + 1, last_step + 1):
        observers.on_train_batch_begin(step)
        with tf.profiler.experimental.Trace(f"the step {step}"):
            marked(step)
        if step != interrupted_in:
            observers.on_train_batch_end(step, {})
    observers.on_train_end()


def recorded(folder):
    """Returns the sets of the steps that each profile in the folder shows."""
    files = sorted(folder.glob("plugins/profile/*/*.xplane.pb"))
    return [{int(step) for step in re.findall(rb"the step (\d+)", path.read_bytes())} for path in files]


@pytest.mark.parametrize(
    ("first_step", "expected"),
    [(0, {3, 4, 5}), (3, {4, 5}), (5, None)],
    ids=["from the start", "resumed amid them", "resumed after them"],
)
def test_the_chosen_steps_of_the_run_are_recorded(tmp_path, first_step, expected):
    train(profile.Profile(tmp_path, (3, 5)), first_step, 7)
    assert recorded(tmp_path) == ([expected] if expected else [])


def test_a_run_that_ends_or_is_interrupted_amid_them_keeps_what_there_is(tmp_path):
    train(profile.Profile(tmp_path / "ended", (2, 9)), 0, 3)
    assert recorded(tmp_path / "ended") == [{2, 3}]
    train(profile.Profile(tmp_path / "interrupted", (2, 9)), 0, 3, interrupted_in=3)
    assert recorded(tmp_path / "interrupted") == [{2, 3}]
    # The profiler is free for the next.
    train(profile.Profile(tmp_path / "next", (1, 1)), 0, 2)
    assert recorded(tmp_path / "next") == [{1}]


@pytest.mark.parametrize("steps", [(0, 5), (6, 5), (3,), (1, 2, 3)])
def test_steps_that_are_no_range_are_an_error(tmp_path, steps):
    with pytest.raises(ValueError, match="`profile` must be a first step"):
        profile.Profile(tmp_path, steps)
