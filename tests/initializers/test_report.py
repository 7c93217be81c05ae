import pytest

from keras_norms import initializers

ROWS = (
    initializers.Row("a", (3, 3, 4, 16), 0.123456, 1.0, -0.5, 2),
    initializers.Row("wrapper/inner", note="skipped: `use_scale=False`"),
)


def test_prints_as_a_table():
    lines = str(initializers.Report("variance", ROWS)).splitlines()
    assert lines == [
        "layer          weight          variance before  after  mean  rescales  note",
        "a              3 x 3 x 4 x 16  0.1235           1      -0.5  2",
        "wrapper/inner                                                0         skipped: `use_scale=False`",
    ]


def test_rows_are_found_by_the_names_of_layers_and_wrappers():
    report = initializers.Report("variance", ROWS)
    assert report["a"] is ROWS[0]
    assert report["inner"] is report["wrapper"] is report["wrapper/inner"] is ROWS[1]
    with pytest.raises(KeyError, match="b"):
        report["b"]
