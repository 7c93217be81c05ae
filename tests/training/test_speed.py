import contextlib

import pytest

from keras_norms.training import memory, speed


class Clock:
    """Stands still unless it is moved."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def measured(clock):
    return speed.Speed(batch_size=10, clock=clock)


def make_step(measured, clock, waiting, computing):
    with measured.waiting():
        clock.seconds += waiting
    with measured.step():
        clock.seconds += computing


def test_rates_are_those_of_the_steps_after_the_first_two(measured, clock):
    measured.begin_epoch()
    for waiting, computing in [(50, 100), (0, 70), (0.5, 1.5), (1, 5)]:
        make_step(measured, clock, waiting, computing)
        clock.seconds += 1000  # what callbacks do is no step
    assert measured.images_per_second == pytest.approx(20 / 8)
    assert measured.waiting_share == pytest.approx(1.5 / 8)
    assert measured.seconds == pytest.approx(4000 + 50 + 100 + 70 + 2 + 6)


def test_an_epoch_is_measured_without_the_one_before(measured, clock):
    for _ in range(3):
        make_step(measured, clock, 1, 1)
    clock.seconds += 500
    measured.begin_epoch()
    assert (measured.images_per_second, measured.waiting_share, measured.seconds) == (0, 0, 0)
    make_step(measured, clock, 1, 3)  # the third step of the process was made before: this one counts
    assert measured.images_per_second == pytest.approx(2.5)
    assert measured.waiting_share == pytest.approx(0.25)


def test_the_time_left_counts_what_lies_between_steps(measured, clock):
    for step in range(4):
        assert (measured.seconds_left(5) is None) == (step < 3)
        make_step(measured, clock, 1, 2)
    clock.seconds += 4  # a test
    measured.begin_epoch()
    assert measured.seconds_left(5) == pytest.approx((2 * 3 + 4) / 2 * 5)
    assert measured.seconds_left(0) == 0


def test_an_interrupted_step_is_not_counted(measured, clock):
    for _ in range(3):
        make_step(measured, clock, 0, 1)
    with contextlib.suppress(KeyboardInterrupt), measured.step():
        clock.seconds += 77
        raise KeyboardInterrupt
    assert measured.images_per_second == 10


def test_rows_are_appended_and_add_up(measured, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "resident", lambda: 12345678901)
    monkeypatch.setattr(memory, "on_devices", lambda: 0)
    path = tmp_path / "speed.csv"
    assert speed.total_seconds(path) == 0
    for epoch in (0, 1, 1):
        measured.begin_epoch()
        for _ in range(3):
            make_step(measured, clock, 0.1, 0.2 + epoch)
        speed.append(measured.row(epoch), path)
    rows = speed.read(path)
    assert [row["epoch"] for row in rows] == [0, 1, 1]
    assert [row["memory"] for row in rows] == [12345678901] * 3
    assert rows[2]["images_per_second"] == measured.images_per_second == pytest.approx(10 / 1.3)
    assert rows[2]["waiting_share"] == measured.waiting_share
    assert speed.total_seconds(path) == pytest.approx(0.9 + 3.9 + 3.9)
    assert [entry.name for entry in tmp_path.iterdir()] == ["speed.csv"]


def test_a_write_that_fails_leaves_the_rows_before(measured, tmp_path):
    path = tmp_path / "speed.csv"
    speed.append(measured.row(0), path)
    before = path.read_text()
    with pytest.raises(ValueError, match="dict contains fields not in fieldnames"):
        speed.append({**measured.row(1), "other": 1.0}, path)
    assert path.read_text() == before
