import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import evonorm as definition

SLOPE, SCALE, BIAS = np.array([1, -0.5, 2]), np.array([0.5, -2, 3]), np.array([5, 0.1, -1])


def moved(layer, shape):
    layer.build(shape)
    layer.slope.assign(SLOPE)
    layer.scale.assign(SCALE)
    layer.bias.assign(BIAS)
    return layer


@pytest.mark.parametrize(("shape", "axis"), [((4, 5, 3), -1), ((2, 3, 4, 2), 1)])
def test_b0_uses_the_variance_of_the_batch_in_training(shape, axis, hostile):
    x, layer = hostile(shape, axis), moved(layers.EvoNormB0(axis=axis), shape)
    variance = np.moveaxis(x.astype("float64"), axis, -1).reshape(-1, 3).var(0)
    expected = definition.batch_activated(x, variance, SLOPE, SCALE, BIAS, axis, 1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), expected, rtol=1e-3, atol=1e-4)


def test_b0_uses_the_moving_variance_in_inference(hostile):
    layer, x = moved(layers.EvoNormB0(momentum=0.5), (2, 4, 3)), hostile((2, 4, 3), seed=7)
    for seed in range(2):
        layer(hostile((8, 4, 3), seed=seed), training=True)
    variances = [hostile((8, 4, 3), seed=seed).astype("float64").var((0, 1), ddof=1) for seed in range(2)]
    expected = definition.batch_activated(x, (variances[0] + 2 * variances[1]) / 3, SLOPE, SCALE, BIAS)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("shape", "axis"), [((4, 3), -1), ((4, 5, 3), -1), ((2, 3, 4, 2), 1)])
@pytest.mark.parametrize("groups", [1, 3])
def test_s0_is_the_same_in_training_and_inference(shape, axis, groups, hostile):
    x, layer = hostile(shape, axis), moved(layers.EvoNormS0(groups, axis=axis), shape)
    expected = definition.sample_activated(x, groups, SLOPE, SCALE, BIAS, axis)
    for training in (False, True):
        y = ops.convert_to_numpy(layer(x, training=training))
        np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layer", [layers.EvoNormB0(), layers.EvoNormS0(3)])
def test_masks_leave_positions_out(layer, hostile):
    x, mask = hostile((2, 4, 3)), np.array([[True, True, False, True], [True, False, True, False]])
    y = ops.convert_to_numpy(moved(layer, x.shape)(x, training=True, mask=mask))
    if isinstance(layer, layers.EvoNormB0):
        variance = x[mask].astype("float64").var(0)
        expected = definition.batch_activated(x, variance, SLOPE, SCALE, BIAS, mask=mask)
    else:
        expected = definition.sample_activated(x, 3, SLOPE, SCALE, BIAS, mask=mask)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


def test_weights_and_their_starts():
    for layer, statistics in ((layers.EvoNormB0(), ["moving_variance", "moving_weight"]), (layers.EvoNormS0(3), [])):
        layer.build((None, 4, 3))
        starts = {v.name: ops.convert_to_numpy(v).tolist() for v in layer.trainable_weights}
        assert starts == {"scale": [1, 1, 1], "bias": [0, 0, 0], "slope": [1, 1, 1]}
        assert [v.name for v in layer.non_trainable_weights] == statistics
    bare = layers.EvoNormS0(3, use_scale=False, use_bias=False)
    bare.build((None, 3))
    assert [v.name for v in bare.trainable_weights] == ["slope"]


def test_impossible_inputs_are_refused():
    with pytest.raises(
        ValueError, match=r"`groups` must divide the number of channels. Received: groups=32, channels=3"
    ):
        layers.EvoNormS0().build((None, 4, 3))
    with pytest.raises(ValueError, match="rank of 3 to 5"):
        layers.EvoNormB0().build((None, 3))
