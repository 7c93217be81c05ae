import pytest

from keras_norms import surgery

REPORT = surgery.Report(
    (
        surgery.Row("net/conv1", "folded into net/conv1"),
        surgery.Row("net/norm", reason="its input is used elsewhere"),
    )
)


def test_prints_as_a_table():
    assert repr(REPORT).splitlines() == [
        "layer      done                   reason",
        "net/conv1  folded into net/conv1",
        "net/norm   left                   its input is used elsewhere",
    ]


def test_tells_what_was_done_and_what_was_left():
    assert [row.layer for row in REPORT.done] == ["net/conv1"]
    assert [row.layer for row in REPORT.left] == ["net/norm"]


@pytest.mark.parametrize("name", ["norm", "net/norm"])
def test_a_row_is_found_by_path_or_name(name):
    assert REPORT[name].reason == "its input is used elsewhere"


def test_unknown_layer_is_refused():
    with pytest.raises(KeyError, match="No row of a layer 'conv2'"):
        REPORT["conv2"]
