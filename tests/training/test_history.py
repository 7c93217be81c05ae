import csv
import math
import struct

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf

from keras_norms.training import history

# Numbers that a decimal of fewer than 17 digits, or float32, would change.
ACCURACIES = [0.1, 1 / 3, 0.7000000000000001, 0.7, math.nextafter(0.5, 1), 0.6, 2 / 3]


def logs(accuracy, epoch=0):
    return {
        "step": 391 * (epoch + 1),
        "learning_rate": 0.1 / 3,
        "loss": np.float32(2.3) / (epoch + 1),
        "accuracy": 1 / 7 + epoch / 10,
        "val_loss": 1e-17 + 2 / (epoch + 1),
        "val_accuracy": accuracy,
    }


@pytest.fixture
def rows():
    made = history.Rows()
    for epoch, accuracy in enumerate(ACCURACIES):
        made.append(epoch, logs(accuracy, epoch))
    return made


def bits(rows):
    return [{name: struct.pack("<d", value) for name, value in row.items()} for row in rows]


def test_best_and_mean_are_those_of_the_epochs_so_far(rows):
    for number, row in enumerate(rows, 1):
        assert row["best_val_accuracy"] == max(ACCURACIES[:number])
        assert row["mean_val_accuracy"] == pytest.approx(np.mean(ACCURACIES[max(0, number - 5) : number]), rel=1e-15)
    assert rows.last["epoch"] == 6
    assert rows.best["epoch"] == 2


def test_epochs_that_have_not_ended_are_forgotten(rows):
    again = rows.last
    rows.keep(6)
    assert len(rows) == 6
    assert rows.append(6, logs(ACCURACIES[6], 6)) == again


def test_the_first_of_equal_epochs_is_the_best():
    rows = history.Rows()
    for epoch, accuracy in enumerate([0.25, 0.5, 0.5]):
        rows.append(epoch, logs(accuracy, epoch))
    assert rows.best["epoch"] == 1


def test_summary_tells_last_mean_and_best(rows):
    assert rows.summary() == {
        "test_accuracy": 2 / 3,
        "mean_test_accuracy": pytest.approx((0.7000000000000001 + 0.7 + 0.5 + 0.6 + 2 / 3) / 5, rel=1e-15),
        "mean_of_epochs": 5,
        "best_test_accuracy": 0.7000000000000001,
        "best_epoch": 2,
        "test_loss": rows.last["val_loss"],
        "train_accuracy": 1 / 7 + 6 / 10,
        "train_loss": rows.last["loss"],
        "epochs": 7,
    }


def test_mean_of_few_epochs_says_so():
    rows = history.Rows()
    rows.append(0, logs(0.25))
    assert rows.summary()["mean_of_epochs"] == 1
    assert rows.summary()["mean_test_accuracy"] == 0.25


def test_a_checkpoint_keeps_every_bit(rows, tmp_path):
    path = tf.train.Checkpoint(rows=rows).save(str(tmp_path / "state"))
    fresh = history.Rows()
    tf.train.Checkpoint(rows=fresh).restore(path).assert_consumed()
    assert bits(fresh) == bits(rows)
    assert [list(row) for row in fresh] == [list(row) for row in rows]  # columns in the same order
    # Going on from it is going on from the other.
    assert fresh.append(7, logs(0.9, 7)) == rows.append(7, logs(0.9, 7))


def test_an_empty_history_can_be_saved(tmp_path):
    path = tf.train.Checkpoint(rows=history.Rows()).save(str(tmp_path / "state"))
    fresh = history.Rows()
    tf.train.Checkpoint(rows=fresh).restore(path).assert_consumed()
    assert len(fresh) == 0


def test_a_file_keeps_every_bit_and_is_the_same_after_a_break(rows, tmp_path):
    history.write(rows, tmp_path / "whole.csv")
    fresh = history.Rows()
    fresh.deserialize(rows.serialize())
    history.write(fresh, tmp_path / "resumed.csv")
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "resumed.csv").read_bytes()
    assert bits(history.read(tmp_path / "whole.csv")) == bits(rows)
    with open(tmp_path / "whole.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == list("0123456")


@pytest.mark.parametrize("name", ["loss", "val_loss", "val_accuracy"])
@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("-inf")])
def test_what_is_no_number_is_an_error_and_not_kept(rows, name, value):
    before = rows.serialize()
    with pytest.raises(FloatingPointError, match=f"`{name}` must be a finite number.*in epoch 8"):
        rows.append(7, {**logs(0.5, 7), name: value})
    assert rows.serialize() == before


@pytest.mark.parametrize("epoch", [6, 8])
def test_an_epoch_that_is_repeated_or_left_out_is_an_error(rows, epoch):
    with pytest.raises(ValueError, match="`epoch` must be the number of rows, 7"):
        rows.append(epoch, logs(0.5, epoch))


def test_picture_shows_training_test_and_rolling_mean(rows, tmp_path, monkeypatch):
    figures = []
    save = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure,
        "savefig",
        lambda figure, *args, **kwargs: (figures.append(figure), save(figure, *args, **kwargs)),
    )
    history.draw(rows, tmp_path / "curves.png")
    assert matplotlib.image.imread(tmp_path / "curves.png").shape[:2] == (480, 1200)
    losses, errors = figures[0].axes
    shown = {line.get_label(): list(line.get_ydata()) for line in errors.lines}
    assert list(shown) == ["training", "test", "test, mean of 5 epochs"]
    np.testing.assert_allclose(shown["test"], 100 - 100 * np.array(ACCURACIES))
    assert shown["test, mean of 5 epochs"][0] == pytest.approx(90)
    assert shown["test, mean of 5 epochs"][6] == pytest.approx(100 - 100 * rows.last["mean_val_accuracy"])
    np.testing.assert_allclose(losses.lines[0].get_ydata(), [row["loss"] for row in rows])
    assert list(losses.lines[1].get_xdata()) == [1, 2, 3, 4, 5, 6, 7]
    styles = [(line.get_linestyle(), line.get_marker()) for line in errors.lines]
    assert len(set(styles)) == 3  # told apart without colour
    assert errors.get_title() == "test error: last 33.33%, mean of 5 36.67%, best 30.00%"


def test_picture_of_one_epoch_can_be_drawn(tmp_path):
    rows = history.Rows()
    rows.append(0, logs(0.5))
    history.draw(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_result_is_told_with_the_last_the_mean_and_the_best(rows):
    assert history.told(rows.summary()) == (
        "Test accuracy 0.6667 after epoch 7; mean of the last 5: 0.6333; best: 0.7000 after epoch 3."
    )
