import json

import pytest

from keras_norms.reports import results
from tests.reports import made_up


def read(folder):
    return results.read(folder, made_up.STUDY, made_up.PUBLISHED)


@pytest.fixture
def folder(tmp_path):
    made_up.write_study(tmp_path, 3)
    return tmp_path


def test_reads_what_has_ended(folder):
    made_up.write_run(folder / "a" / "1", [0.3, 0.6], seconds=7.5, test_loss=1.25)
    found = read(folder)
    assert (found.name, found.command, [row.recipe for row in found.rows]) == (
        "made_up", "python drivers/study.py made_up", ["a", "b", "c", "d"],
    )  # fmt: skip
    run = found.rows[0].runs[1]
    assert (run.seed, run.status, run.reason, run.seconds, run.total_seconds) == (1, "ended", "", (7.5, 7.5), 15)
    assert run.step_seconds == (0.64, 0.64)  # 64 images at 100 a second
    assert [epoch["val_accuracy"] for epoch in run.history] == [0.3, 0.6]
    assert found.rows[0].by_seed("test_loss") == {1: 1.25}
    assert found.rows[0].ended == (run,)


def test_what_is_not_there_is_missing(folder):
    found = read(folder)
    assert [(run.seed, run.status, run.reason) for run in found.rows[0].runs] == [
        (seed, "missing", "not run") for seed in range(3)
    ]
    assert found.rows[0].settings == {}
    assert found.rows[0].drawn == ()


def test_unfinished_runs_say_how_far_they_are(folder):
    made_up.write_run(folder / "a" / "0", [0.3, 0.6], ended=False, settings={"epochs": 8})
    made_up.write_run(folder / "a" / "1", [0.3], ended=False, settings={"epochs": 8, "steps": 77})
    (folder / "a" / "1" / "speed.csv").unlink()
    first, second, _ = read(folder).rows[0].runs
    assert (first.status, first.reason) == ("unfinished", "2 of 8 epochs made")
    assert (second.status, second.reason) == ("unfinished", "1 epochs made")
    assert (second.seconds, second.total_seconds) == ((None,), 0)


def test_an_epoch_that_was_all_warming_up_has_no_step_time(folder):
    made_up.write_run(folder / "a" / "0", [0.3, 0.6])
    speed = folder / "a" / "0" / "speed.csv"
    speed.write_text(speed.read_text().replace(",100,", ",0,", 1))
    assert read(folder).rows[0].runs[0].step_seconds == (0.64,)


def test_failures_have_their_reason_on_one_line(folder):
    made_up.write_failure(folder / "a" / "0", "It\nbroke.")
    made_up.write_run(folder / "a" / "1", [0.3], test_accuracy=float("nan"))
    made_up.write_run(folder / "a" / "2", [0.3])
    made_up.write_failure(folder / "a" / "2", "The further test failed.")
    runs = read(folder).rows[0].runs
    assert [(run.status, run.reason) for run in runs] == [
        ("failed", "It broke."), ("failed", "its test accuracy is nan"), ("ended", "The further test failed."),
    ]  # fmt: skip


def test_more_seeds_than_asked_for_are_read(folder):
    made_up.write_run(folder / "a" / "11", [0.3])
    assert [run.seed for run in read(folder).rows[0].runs] == [0, 1, 2, 11]


def test_the_last_time_of_a_repeated_epoch_is_its_own(folder):
    made_up.write_run(folder / "a" / "0", [0.3, 0.6])
    with open(folder / "a" / "0" / "speed.csv", "a") as file:
        file.write("1,30.0,100,0.1,1000,0\n")
    run = read(folder).rows[0].runs[0]
    assert (run.seconds, run.total_seconds) == ((10, 30), 50)


def test_what_has_ended_is_drawn_before_what_has_not(folder):
    made_up.write_run(folder / "a" / "0", [0.3], ended=False)
    made_up.write_run(folder / "a" / "1", [0.3, 0.5])
    made_up.write_run(folder / "b" / "0", [0.3], ended=False)
    a, b, *_ = read(folder).rows
    assert ([run.seed for run in a.drawn], a.title) == ([1], "Row a")
    assert ([run.seed for run in b.drawn], b.title) == ([0], f"{b.label} (unfinished)")


def test_readings_are_those_of_layers_and_complete(tmp_path):
    made_up.write_probe(tmp_path, {0: [2.0, 3.0]})
    found = results.readings(tmp_path / "probe" / "probe.csv")
    assert [(row["step"], row["depth"], row["value"]) for row in found] == [
        (0, 0, 2.0), (0, 1, 3.0),
    ]  # fmt: skip


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"drivers/study\.py"):
        read(tmp_path)


def test_further_tests_are_read(folder):
    made_up.write_run(folder / "a" / "0", [0.3])
    for size in (20, 50):
        (folder / "a" / "0" / f"test-batch-{size}.json").write_text(json.dumps({"top_1": size / 100}))
    assert read(folder).rows[0].runs[0].tests == ({"top_1": 0.2}, {"top_1": 0.5})


def test_rows_of_one_label_are_told_apart(folder):
    same = {**made_up.PUBLISHED, "c": made_up.published("c", label="Row a")}
    labels = [row.label for row in results.read(folder, made_up.STUDY, same).rows]
    assert labels == ["Row a (a)", "b | <i> & `code` $x$", "Row a (c)", "Row d"]
