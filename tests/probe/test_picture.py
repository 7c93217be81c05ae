import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib.figure
import matplotlib.image

from keras_norms import probe
from keras_norms.probe import measurement, record

STEPS, DEPTHS = (0, 5, 30), 4


def norm(step, depth):
    return (1 + step) * 10.0**depth


@pytest.fixture
def readings(tmp_path):
    written = record.Record(tmp_path, 0)
    for step in STEPS:
        found = [measurement.Reading(None, "", "", "loss", 1.0)]
        for depth in range(DEPTHS):
            name = f"layer{depth}"
            found.append(measurement.Reading(depth, name, "", "output_norm", norm(step, depth)))
            found.append(measurement.Reading(depth, name, "", "variance", 0.0 if depth == 1 else 100.0))
            found.append(measurement.Reading(depth, name, "", "dead", depth / 4))
        found.append(measurement.Reading(2, "layer2", "layer2/kernel", "gradient_norm", 3.0))
        found.append(measurement.Reading(2, "layer2", "layer2/bias", "gradient_norm", 4.0))
        written.write(step, measurement.Measurement(found, []))
    return tmp_path / "probe.csv"


@pytest.fixture
def drawn(readings, monkeypatch):
    """The figure that is saved."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def kept(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", kept)
    probe.plot(readings, readings.parent / "probe.png")
    return figures[0]


def test_writes_a_picture_and_nothing_else(drawn, readings):
    pixels = matplotlib.image.imread(readings.parent / "probe.png")
    assert pixels.shape[:2] == (1320, 1440)
    assert {path.name for path in readings.parent.iterdir()} == {"probe.csv", "channels.csv", "probe.png"}


def test_lines_are_norms_by_depth_with_steps_told_apart_without_colour(drawn):
    lines = drawn.axes[0].lines
    for line, step in zip(lines, STEPS, strict=True):
        np.testing.assert_allclose(line.get_ydata(), [norm(step, depth) for depth in range(DEPTHS)])
        assert line.get_label() == f"step {step}"
    assert len({line.get_marker() for line in lines}) == len({line.get_color() for line in lines}) == 3
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == [f"layer{d}" for d in range(DEPTHS)]


def test_maps_are_by_depth_and_step(drawn):
    maps = [axes.images[0].get_array() for axes in drawn.axes if axes.images]
    norms, variances, dead, gradients = maps
    np.testing.assert_allclose(norms, [[np.log10(norm(step, depth)) for depth in range(DEPTHS)] for step in STEPS])
    # Zero has no logarithm, and most layers no weights: these places are left out.
    np.testing.assert_array_equal(variances.mask, [[False, True, False, False]] * 3)
    np.testing.assert_allclose(variances[:, 0], 2)
    np.testing.assert_allclose(dead, [[0, 0.25, 0.5, 0.75]] * 3)
    np.testing.assert_array_equal(gradients.mask, [[True, True, False, True]] * 3)
    np.testing.assert_allclose(gradients[:, 2], np.log10(5))


def test_one_step_of_one_layer_can_be_drawn(tmp_path):
    found = [measurement.Reading(0, "only", "", "output_norm", 2.0)]
    record.Record(tmp_path, 0).write(0, measurement.Measurement(found, []))
    probe.plot(tmp_path / "probe.csv", str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_deep_networks_are_numbered(tmp_path):
    found = [measurement.Reading(depth, f"layer{depth}", "", "output_norm", 2.0) for depth in range(100)]
    record.Record(tmp_path, 0).write(0, measurement.Measurement(found, []))
    probe.plot(tmp_path / "probe.csv", tmp_path / "picture.png")


def test_no_readings_are_an_error(tmp_path):
    record.Record(tmp_path, 0)
    with pytest.raises(ValueError, match="at least one step"):
        probe.plot(tmp_path / "probe.csv", tmp_path / "picture.png")
