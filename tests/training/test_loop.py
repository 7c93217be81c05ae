import types

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.training import interruption, loop, speed, steps


class Observer:
    def __init__(self):
        self.seen = []

    def on_train_batch_begin(self, batch):
        self.seen.append(batch)

    def on_train_batch_end(self, batch, logs):
        self.seen.append((batch, logs))


def made(told, seconds=1e9):
    """A loop over made-up steps, of which each tells what is given."""
    position = types.SimpleNamespace(step=tf.Variable(0, dtype=tf.int64))
    optimizer = types.SimpleNamespace(learning_rate=0.25)
    state = types.SimpleNamespace(position=position, model=types.SimpleNamespace(optimizer=optimizer))
    asked, saved = [], []

    def step(batch, stopping):
        asked.append((batch, stopping))
        position.step.assign_add(1)
        sums, broken, stopped = told[batch]
        return steps.Progress(tf.constant(sums), tf.constant(broken), tf.constant(stopped))

    observer = Observer()
    save = lambda: saved.append(int(position.step))  # noqa: E731
    steps_made = loop.Loop(step, iter(range(99)), state, speed.Speed(4), observer, save, seconds / 60)
    return steps_made, observer, asked, saved


GOOD = ([8.0, 2.0, 4.0], 0.0, 0.0)


def test_makes_the_steps_up_to_the_last_one_and_tells_of_each():
    steps_made, observer, asked, saved = made([GOOD] * 9)
    steps_made.advance(0, 2, interruption.Request())
    steps_made.advance(2, 3, interruption.Request())
    logs = {"loss": 2.0, "accuracy": 0.5, "learning_rate": 0.25}
    assert observer.seen == [0, (0, logs), 1, (1, logs), 0, (0, logs)]
    assert asked == [(0, 0.0), (1, 0.0), (2, 0.0)]
    assert saved == []


def test_saves_after_each_step_that_comes_too_late_after_the_last_time(monkeypatch):
    clock = iter(np.arange(100.0))  # a second between two looks at it
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    steps_made, _, _, saved = made([GOOD] * 9, seconds=3.5)
    steps_made.advance(0, 9, interruption.Request())
    # Looked at when it begins, after each step, and after a saving: 1, 2, 3, 4 > 3.5 seconds after the first look.
    assert saved == [4, 8]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (([np.nan, 2.0, 4.0], 0.0, 0.0), "loss became no number in step 3"),
        (([np.inf, 2.0, 4.0], 0.0, 0.0), "loss became no number in step 3"),
        (([8.0, 2.0, 4.0], 1.0, 0.0), "statistics became no number in step 3"),
    ],
)
def test_broken_step_ends_it_and_is_not_saved(told, words):
    steps_made, observer, _, saved = made([GOOD, GOOD, told, GOOD], seconds=1e-9)
    with pytest.raises(loop.BrokenStepError, match=words) as error:
        steps_made.advance(0, 9, interruption.Request())
    assert error.value.number == 3
    assert saved == [1, 2]
    assert len(observer.seen) == 5


def test_stops_after_the_step_that_all_workers_agree_on():
    steps_made, observer, asked, _ = made([GOOD, ([8.0, 2.0, 4.0], 0.0, 1.0), GOOD])
    request = interruption.Request()
    with pytest.raises(interruption.Preempted):
        steps_made.advance(0, 9, request)
    assert len(observer.seen) == 4
    # It was not this worker that wanted it; this one would tell the others so.
    assert [stopping for _, stopping in asked] == [0.0, 0.0]
    request.make()
    steps_made, _, asked, _ = made([GOOD])
    steps_made.advance(0, 1, request)
    assert asked == [(0, 1.0)]


def test_interrupt_ends_it_after_a_whole_step():
    steps_made, observer, asked, _ = made([GOOD] * 2)
    request = interruption.Request()
    request.interrupt()
    with pytest.raises(KeyboardInterrupt):
        steps_made.advance(0, 2, request)
    assert len(observer.seen) == 2
    assert asked == [(0, 0.0)]  # the other workers are not told
