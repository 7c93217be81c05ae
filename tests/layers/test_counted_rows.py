import keras
import numpy as np
import pytest

from keras_norms import layers
from keras_norms.layers import counted_rows

FAMILY = [
    layers.BatchNorm(momentum=0.5),
    layers.MeanOnlyBatchNorm(momentum=0.5),
    layers.BatchRenorm(3.0, 5.0, momentum=0.5),
    layers.EvoNormB0(momentum=0.5),
    layers.GhostBatchNorm(8, momentum=0.5),
]
ROWS = np.array([True, False, True, True, False])


def twins(layer, shape):
    pair = [type(layer).from_config(layer.get_config()) for _ in range(2)]
    for twin in pair:
        twin.build(shape)
    return pair


def values(layer):
    return [keras.ops.convert_to_numpy(value) for value in layer.weights]


@pytest.mark.parametrize("layer", FAMILY, ids=lambda layer: type(layer).__name__)
def test_rows_left_out_change_nothing_for_the_others(layer, hostile):
    x = hostile((5, 3, 4, 2))
    some, alone = twins(layer, x.shape)
    filled = x.copy()
    filled[~ROWS] = 1e6
    with counted_rows.counted(ROWS):
        outputs = some(filled, training=True)
    expected = alone(x[ROWS], training=True)
    # The sums of few numbers in another order, at means of tens of deviations.
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(outputs)[ROWS], keras.ops.convert_to_numpy(expected), rtol=1e-3, atol=1e-3
    )
    for ours, theirs in zip(values(some), values(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("layer", FAMILY, ids=lambda layer: type(layer).__name__)
def test_batch_of_which_no_row_counts_moves_nothing(layer, hostile):
    x = hostile((5, 3, 4, 2))
    (layer, _) = twins(layer, x.shape)
    layer(x, training=True)
    before = values(layer)
    with counted_rows.counted(np.zeros(5, bool)):
        outputs = layer(np.zeros_like(x), training=True)
    assert np.isfinite(keras.ops.convert_to_numpy(outputs)).all()
    for ours, theirs in zip(values(layer), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_goes_through_convolutions_and_joins_a_mask(hostile):
    x = hostile((5, 7, 2))
    mask = np.arange(7) < np.array([7, 1, 3, 5, 2])[:, None]
    some, masked = twins(layers.BatchNorm(momentum=0.0), x.shape)
    with counted_rows.counted(ROWS):
        some(x, training=True, mask=mask)
    masked(x, training=True, mask=mask & ROWS[:, None])
    for ours, theirs in zip(values(some), values(masked), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model = keras.Sequential(
        [keras.Input((7, 2)), keras.layers.Conv1D(3, 3), layers.BatchNorm(momentum=0.0, name="norm")]
    )
    with counted_rows.counted(ROWS):
        model(x, training=True)
    convolved = keras.ops.convert_to_numpy(model.layers[0](x[ROWS]))
    mean, _ = model.get_layer("norm").statistics()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(mean), convolved.mean((0, 1)), rtol=1e-4)


def test_ends_with_its_context_also_after_an_error():
    with counted_rows.counted(ROWS):
        with pytest.raises(RuntimeError, match="inside"), counted_rows.counted(~ROWS):
            raise RuntimeError("inside")
        assert counted_rows.rows_that_count() is ROWS
    assert counted_rows.rows_that_count() is None


def test_inputs_whose_first_axis_is_not_the_batch_are_refused():
    layer = layers.BatchNorm()
    words = r"Received: inputs of shape \(10, 2\), rows of shape \(5,\)"
    with pytest.raises(ValueError, match=words), counted_rows.counted(ROWS):
        layer(np.ones((10, 2), "float32"), training=True)
