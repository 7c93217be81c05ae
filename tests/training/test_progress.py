import os
import pty
import re
import select
import subprocess
import sys

import pytest

from keras_norms.training import memory, progress

LOGS = {"loss": 1.23456, "accuracy": 0.5678, "learning_rate": 0.00123}
TESTED = {**LOGS, "val_loss": 2.34567, "val_accuracy": 0.4567}


class Measured:
    """A `Speed` that has measured."""

    images_per_second, waiting_share = 12345.6, 0.034

    def seconds_left(self, steps):
        return 0.5 * steps


class NotYet:
    images_per_second = waiting_share = 0.0

    def seconds_left(self, steps):
        return None


@pytest.fixture(autouse=True)
def held(monkeypatch):
    monkeypatch.setattr(memory, "resident", lambda: 12_300_000_000)
    monkeypatch.setattr(memory, "on_devices", lambda: 0)


def shown(speed, first_step=0):
    """Goes through an epoch of two steps of a run of 10,000."""
    observer = progress.Progress(10_000, first_step, epochs=160, speed=speed)
    observer.on_train_begin()
    observer.on_epoch_begin(11)
    for batch in range(2):
        observer.on_train_batch_begin(batch)
        observer.on_train_batch_end(batch, LOGS)
    observer.on_epoch_end(11, TESTED)
    observer.on_train_end()


def test_a_pipe_gets_a_line_an_epoch_with_all_of_it(capsys):
    shown(Measured(), first_step=2798)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        "epoch 12/160  loss 1.2346  accuracy 0.568  test loss 2.3457  test accuracy 0.457  learning rate 0.00123  "
        "12346 images/s  waiting 3%  1:00:00 left  12.3 GB"
    )


def test_what_is_not_known_yet_is_left_out(capsys):
    shown(NotYet())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("learning rate 0.00123  12.3 GB")


def test_devices_are_told_where_there_are_some(capsys, monkeypatch):
    monkeypatch.setattr(memory, "on_devices", lambda: 70_100_000_000)
    shown(Measured())
    assert capsys.readouterr().out.endswith("12.3 GB  70.1 GB on GPUs\n")


_PROGRAM = """
import time
from tests.training import test_progress
from keras_norms.training import memory, progress

memory.resident, memory.on_devices = (lambda: 12_300_000_000), (lambda: 70_100_000_000)
observer = progress.Progress(640_000, 123_454, epochs=160, speed=test_progress.Measured())
observer.on_train_begin()
observer.on_epoch_begin(159)
for batch in range(2):
    observer.on_train_batch_begin(batch)
    observer.on_train_batch_end(batch, test_progress.LOGS)
time.sleep(0.6)
observer.on_epoch_end(159, test_progress.TESTED)
time.sleep(0.6)
observer.on_train_end()
"""


def on_terminal(program, columns):
    """Returns what the program writes to a terminal of this width."""
    main, side = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=side, env=environment)
    os.close(side)
    written = b""
    try:
        while select.select([main], [], [], 60)[0]:
            chunk = os.read(main, 4096)
            if not chunk:
                break
            written += chunk
    except OSError:  # how Linux says that the other side has been closed
        pass
    os.close(main)
    assert process.wait() == 0
    return written.decode()


def test_a_terminal_of_80_columns_shows_two_live_lines():
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split("[\r\n]+", on_terminal(_PROGRAM, 80))]
    live = [line for line in lines if line.startswith("epoch 160/160 ━")]
    assert live
    assert all(len(line) <= 80 for line in live)
    assert live[-1].endswith(" 123456/640000  12346 images/s  waiting 3%  2 days, 23:44:32 left")
    under = [line for line in lines if line.startswith("loss")]
    assert under
    assert {line.rstrip() for line in under} == {
        "loss 1.2346  accuracy 0.568  learning rate 0.00123  12.3 GB  70.1 GB on GPUs"
    }
    # And the line of the epoch, which stays.
    assert [line for line in lines if line.startswith("epoch 160/160  loss 1.2346  accuracy 0.568  test loss")]
