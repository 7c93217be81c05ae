import numpy as np
import pytest

from keras_norms.reports import looks, results, training_curves
from tests.reports import made_up


def lines(picture, title):
    (panel,) = (panel for panel in picture.panels if panel.title == title)
    return {line.label: line for line in panel.lines}


def test_lines_are_means_and_bands_the_extremes(found):
    (picture,) = training_curves.pictures(found.rows)
    line = lines(picture, "Test accuracy by epoch")["Row a"]
    assert line.x == (1, 2, 3)
    np.testing.assert_allclose(line.y, [0.1, 0.5, 0.6])
    np.testing.assert_allclose([line.low, line.high], [[0.1, 0.4, 0.5], [0.1, 0.6, 0.7]])
    np.testing.assert_allclose(lines(picture, "Training loss by epoch")["Row a"].y, [2, 1, 2 / 3])


def test_time_is_that_since_the_start(found):
    (picture,) = training_curves.pictures(found.rows)
    line = lines(picture, "Test accuracy by time")["Row a"]
    np.testing.assert_allclose(line.x, np.array([101, 202, 303]) / 60)
    assert picture.panels[-1].x_label == "time in minutes"


def test_rows_without_epochs_have_no_line(found):
    (picture,) = training_curves.pictures(found.rows)
    assert set(lines(picture, "Training loss by epoch")) == {"Row a", made_up.PUBLISHED["b"].label}


def test_runs_of_unequal_length_are_drawn_as_far_as_all_go(folder):
    made_up.write_run(folder / "d" / "0", [0.1, 0.3, 0.5], ended=False)
    made_up.write_run(folder / "d" / "1", [0.2], ended=False)
    found = results.read(folder, made_up.STUDY, made_up.PUBLISHED)
    line = lines(training_curves.pictures(found.rows)[0], "Test accuracy by epoch")["Row d (unfinished)"]
    assert line.x == (1,)
    np.testing.assert_allclose(line.y, [0.15])


def test_a_time_that_is_not_known_is_not_drawn(folder):
    (folder / "b" / "0" / "speed.csv").unlink()
    found = results.read(folder, made_up.STUDY, made_up.PUBLISHED)
    assert set(lines(training_curves.pictures(found.rows)[0], "Test accuracy by time")) == {"Row a"}


def test_a_diverging_loss_is_cut_off_and_said_to_be(folder):
    made_up.write_run(folder / "d" / "0", [0.1, 0.1], losses=[2.0, 1e6])
    (picture,) = training_curves.pictures(results.read(folder, made_up.STUDY, made_up.PUBLISHED).rows)
    assert "Losses above 6 are cut off" in picture.caption
    assert [panel.y_limits for panel in picture.panels] == [(0, 6), None, (0, 6), None]


@pytest.mark.parametrize(("number", "groups"), [(1, [1]), (8, [8]), (11, [5, 6]), (40, [8] * 5)])
def test_many_rows_are_spread_over_several_pictures(number, groups):
    run = results.Run(0, "ended", history=({"loss": 1.0, "val_accuracy": 0.5},), seconds=(1.0,))
    rows = [results.Row(str(place), f"Row {place}", None, (run,)) for place in range(number)]
    pictures = training_curves.pictures(rows)
    assert [len(picture.panels[0].lines) for picture in pictures] == groups
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert [line.label for picture in pictures for line in picture.panels[0].lines] == [row.label for row in rows]


def test_looks_differ_without_colour():
    found = [looks.of_row(place) for place in range(looks.ROWS)]
    assert len({look["marker"] for look in found}) == len({str(look["linestyle"]) for look in found}) == looks.ROWS
    shades = [float(looks.in_order(place, 5)["color"]) for place in range(5)]
    assert shades == sorted(shades, reverse=True)
    assert shades[-1] == 0


def test_published_curve_of_another_length_runs_from_0_to_1(found):
    (picture,) = training_curves.published_pictures(found.rows, {"curve_a": made_up.CURVE}.get)
    (panel,) = picture.panels
    published, measured = panel.lines
    assert (published.x, published.y) == ((0.25, 1), (0.2, 0.5))
    np.testing.assert_allclose(measured.x, [1 / 3, 2 / 3, 1])
    assert panel.x_label == "part of the training"
    assert "Published on ILSVRC-2012, measured on imagenette128: compare the shapes" in picture.caption
    assert "from 0 to 1" in picture.caption


@pytest.mark.parametrize("settings", [{"epochs": 8}, {"epochs": 3, "steps": 80}])
def test_a_training_that_has_not_ended_does_not_reach_1(folder, settings):
    published = {**made_up.PUBLISHED, "a": made_up.published("a"), "d": made_up.published("d", curve="curve")}
    made_up.write_run(folder / "d" / "0", [0.1, 0.3], ended=False, settings=settings)
    found = results.read(folder, made_up.STUDY, published)
    (picture,) = training_curves.published_pictures(found.rows, lambda name: made_up.CURVE)
    assert picture.panels[0].title == "Row d (unfinished)"
    assert picture.panels[0].lines[1].x == (1 / 8, 2 / 8)


def test_published_curve_of_the_same_data_and_length_is_drawn_as_it_is(folder):
    published = {**made_up.PUBLISHED, "a": made_up.published("a", curve="curve")}
    for seed in range(3):
        made_up.write_run(folder.parent / "same" / "a" / str(seed), [0.3, 0.5], settings={"dataset": "imagenet2012"})
    made_up.write_study(folder.parent / "same", 3)
    found = results.read(folder.parent / "same", made_up.STUDY, published)
    curve = [{"epoch": epoch, "test_accuracy": 0.4, "train_loss": 1.5} for epoch in (1.0, 2.0)]
    accuracy, loss = training_curves.published_pictures(found.rows, lambda name: curve)
    assert accuracy.panels[0].lines[0].x == (1, 2)
    assert loss.panels[0].lines[0].y == (1.5, 1.5)
    assert accuracy.panels[0].x_label == "epoch"
    assert "compare" not in accuracy.caption


def test_without_curves_there_is_no_picture(found):
    assert training_curves.published_pictures(found.rows[1:], None) == []
