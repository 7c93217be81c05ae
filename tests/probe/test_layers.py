"""Every public layer can be looked into."""

import keras
import numpy as np
import pytest

from keras_norms.probe import measurement
from tests.layers import catalogue, test_contract

ENTRIES = {entry.layer: entry for entry in catalogue.ENTRIES}.values()  # one a layer: on JAX they take a second each


def some_number(labels, outputs):
    return keras.ops.mean(keras.ops.square(outputs - 1))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_outputs_weights_and_moving_statistics_are_measured_and_left_alone(entry, hostile):
    layer, x = test_contract.built(entry), test_contract.example(entry, hostile)
    model = test_contract.in_model(layer, entry)
    before = test_contract.values(model.variables)
    readings = measurement.measure(model, (x, np.zeros(1)), some_number).readings
    assert np.isfinite([reading.value for reading in readings]).all()
    assert {reading.depth for reading in readings} == {None, 0}
    assert {reading.weight for reading in readings} == {"", *(v.path for v in layer.trainable_variables)}
    drifts = {reading.quantity for reading in readings if "drift" in reading.quantity}
    assert drifts == {f"{name}_drift" for name in getattr(layer, "moving", ())}
    test_contract.assert_unmoved(model.variables, before)
    if not entry.random:
        outputs = test_contract.outputs(layer, x, training=True).astype("float64")
        norm = np.linalg.norm(outputs.reshape(len(outputs), -1), axis=1).mean()
        (measured,) = [reading.value for reading in readings if reading.quantity == "output_norm"]
        # Other kernels may round differently, hostile inputs make that visible.
        assert measured == pytest.approx(norm, rel=1e-4)
