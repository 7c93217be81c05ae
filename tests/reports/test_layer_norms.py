import math

import numpy as np

from keras_norms.reports import layer_norms, results
from tests.reports import made_up


def test_by_depth_by_step_and_gradients(found):
    by_depth, by_step, gradients = layer_norms.pictures(found.rows)
    (panel,) = by_depth.panels
    assert (panel.title, panel.logarithmic) == ("Row a", True)
    assert [line.label for line in panel.lines] == ["at the start", "after 1/2", "at the end"]
    assert panel.lines[-1].x == (0, 1, 2)
    np.testing.assert_allclose(panel.lines[-1].y, [21, 10, 100])
    first, middle, last = by_step.panels[0].lines
    np.testing.assert_allclose([first.y, middle.y, last.y], [[1, 11, 21], [10] * 3, [100] * 3])
    assert first.x == (0, 10, 20)
    # Two weights of a layer, 3 and 4.
    np.testing.assert_allclose(gradients.panels[0].lines[0].y, [5])
    assert gradients.panels[0].lines[0].x == (1,)


def test_rows_share_a_scale_and_failures_say_so(folder):
    made_up.write_failure(folder / "d" / "0", "broke")
    made_up.write_probe(folder / "d" / "0", {0: [1e-3, 0.0, math.inf]})
    found = results.read(folder, made_up.STUDY, made_up.PUBLISHED)
    a, d = layer_norms.pictures(found.rows)[0].panels
    assert d.title == "Row d (failed)"
    assert a.y_limits == d.y_limits
    assert a.y_limits[0] < 1e-3 < 100 < a.y_limits[1]
    np.testing.assert_array_equal(np.isnan(d.lines[0].y), [False, True, True])


def test_one_step_is_a_picture_and_no_probe_is_none(folder):
    made_up.write_probe(folder / "d" / "0", {5: [2.0]})
    found = results.read(folder, made_up.STUDY, made_up.PUBLISHED)
    assert [line.label for line in layer_norms.pictures(found.rows[3:])[0].panels[0].lines] == ["at the start"]
    assert layer_norms.pictures(found.rows[1:3]) == []
