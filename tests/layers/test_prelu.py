import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import PReLU
from tests.reference import leaky_relu as definition

SLOPE = np.array([0.4, -0.7, 1.6], "float32")


@pytest.mark.parametrize(("shape", "axis"), [((8, 3), -1), ((2, 3, 4, 5), 1), ((2, 4, 5, 3), 3), ((2, 4, 3), 2)])
def test_one_slope_per_channel(shape, axis, hostile):
    x = hostile(shape, axis) - 10
    layer = PReLU(axis=axis)
    layer.build(shape)
    assert layer.slope.shape == (3,)
    layer.slope.assign(SLOPE)
    along = np.moveaxis(np.broadcast_to(SLOPE, np.moveaxis(x, axis, -1).shape), -1, axis)
    # One rounding, of the product.
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), definition.leaky_relu(x, along), rtol=2.0**-23)


@pytest.mark.parametrize("shape", [(8, 3), (2, 4, 5, 3), (6,)])
def test_one_slope_for_all(shape, hostile):
    x = hostile(shape) - 10
    layer = PReLU(axis=None)
    layer.build(shape)
    assert layer.slope.shape == ()
    layer.slope.assign(0.7)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), np.where(x > 0, x, np.float32(0.7) * x), rtol=2.0**-23)


def test_one_slope_for_all_serves_unknown_and_changing_shapes():
    layer = PReLU(axis=None)
    assert layer(keras.Input((None, None))).shape == (None, None, None)
    assert ops.convert_to_numpy(layer(np.full((2, 5, 7), -4.0))).mean() == -1


def test_starts_at_a_quarter(hostile):
    x = hostile((8, 3)) - 10
    for layer in (PReLU(), PReLU(axis=None)):
        np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), np.where(x > 0, x, x / 4))


def test_equals_that_of_keras_once_it_is_told_what_to_share(hostile):
    x = hostile((2, 4, 5, 3)) - 10
    ours, shared, unshared = PReLU(), keras.layers.PReLU(shared_axes=[1, 2]), keras.layers.PReLU()
    for layer in (ours, shared, unshared):
        layer.build(x.shape)
    ours.slope.assign(SLOPE)
    shared.alpha.assign(SLOPE.reshape(1, 1, 3))
    np.testing.assert_allclose(ops.convert_to_numpy(ours(x)), ops.convert_to_numpy(shared(x)), rtol=1e-6)
    assert (ours.count_params(), shared.count_params(), unshared.count_params()) == (3, 3, 60)


def test_initializer_regularizer_and_constraint_reach_the_slope():
    layer = PReLU(
        slope_initializer=keras.initializers.Constant(0.5),
        slope_regularizer=keras.regularizers.L2(2.0),
        slope_constraint=keras.constraints.NonNeg(),
    )
    layer.build((None, 3))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.slope), [0.5, 0.5, 0.5])
    assert float(layer.losses[0]) == 2 * 3 * 0.25
    assert type(layer.slope.constraint) is keras.constraints.NonNeg


def test_integers_are_computed_with_as_numbers():
    np.testing.assert_array_equal(ops.convert_to_numpy(PReLU()(np.array([[-3, 0, 2]], "int32"))), [[-0.75, 0, 2]])


def test_passes_masks_on():
    assert PReLU()(keras.layers.Masking()(keras.Input((4, 3))))._keras_mask is not None


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="channel axis needs a known length"):
        PReLU()(keras.Input((3, None)))
    with pytest.raises(ValueError, match="`axis` must name an axis"):
        PReLU(axis=4)(keras.Input((3, 3, 8)))
    for axis in ("channels", 1.5, True, [1]):
        with pytest.raises(ValueError, match="`axis` must be an integer"):
            PReLU(axis=axis)
