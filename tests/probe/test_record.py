import csv

import numpy as np
import pytest

from keras_norms.probe import measurement, record

MEASURED = measurement.Measurement(
    [
        measurement.Reading(None, "", "", "loss", 2.5),
        measurement.Reading(0, "one, the first", "", "dead", 1 / 3),
        measurement.Reading(1, "two", "two/kernel", "gradient_norm", 1e-12),
        measurement.Reading(None, "idle", "idle/kernel", "weight_norm", float("nan")),
    ],
    [measurement.Channels(0, "one, the first", np.float32([0.1, -2]), np.float32([3, 0]))],
)


@pytest.fixture
def folder(tmp_path):
    record.Record(tmp_path / "a" / "probe", 0).write(0, MEASURED)
    return tmp_path / "a" / "probe"


def steps(folder):
    return [
        sorted({int(row["step"]) for row in csv.DictReader(open(folder / name))})
        for name in ("probe.csv", "channels.csv")
    ]


def test_writes_a_line_a_reading_and_a_line_a_channel(folder):
    assert (folder / "probe.csv").read_text() == (
        "step,depth,layer,weight,quantity,value\n"
        "0,,,,loss,2.5\n"
        '0,0,"one, the first",,dead,0.333333333\n'
        "0,1,two,two/kernel,gradient_norm,1e-12\n"
        "0,,idle,idle/kernel,weight_norm,nan\n"
    )
    # Nine digits tell all float32 apart.
    assert (folder / "channels.csv").read_text() == (
        'step,depth,layer,channel,mean,variance\n0,0,"one, the first",0,0.100000001,3\n0,0,"one, the first",1,-2,0\n'
    )


def test_reads_what_it_has_written(folder):
    rows = record.read(folder / "probe.csv")
    assert rows[1] == {
        "step": 0, "depth": 0, "layer": "one, the first", "weight": "", "quantity": "dead",
        "value": pytest.approx(1 / 3, rel=1e-8),
    }  # fmt: skip
    assert [row["depth"] for row in rows] == [None, 0, 1, None]
    assert np.isnan(rows[3]["value"])


def test_goes_on_at_a_step_without_repeating_any(folder):
    written = record.Record(folder, 1)
    for step in (10, 20, 30):
        written.write(step, MEASURED)
    assert steps(folder) == [[0, 10, 20, 30]] * 2
    record.Record(folder, 20).write(20, MEASURED)
    assert steps(folder) == [[0, 10, 20]] * 2
    assert len(record.read(folder / "probe.csv")) == 3 * 4
    assert sorted(path.name for path in folder.iterdir()) == ["channels.csv", "probe.csv"]


def test_a_line_that_was_being_written_does_not_count(folder):
    for name in ("probe.csv", "channels.csv"):
        with open(folder / name, "a") as file:
            file.write("10,0,one")
    assert len(record.read(folder / "probe.csv")) == 4
    record.Record(folder, 11).write(20, MEASURED)
    assert steps(folder) == [[0, 20]] * 2
    assert len(record.read(folder / "probe.csv")) == 8
