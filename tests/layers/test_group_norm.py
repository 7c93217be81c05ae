"""Group and instance normalization, the latter as that of one channel a group."""

import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import group_norm as definition

SCALE, BIAS = np.array([0.5, -2, 3, 1, 4, -1]), np.array([5, 0.1, -1, 2, 0, -4])
MADE = [(lambda **options: layers.GroupNorm(2, **options), 2), (layers.InstanceNorm, 6)]
both = pytest.mark.parametrize(("make", "groups"), MADE, ids=["GroupNorm", "InstanceNorm"])


@both
@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((2, 5, 6), -1), ((2, 6, 4, 3), 1), ((2, 2, 3, 2, 6), -1)])
def test_equals_the_definition_in_training_and_inference(make, groups, use_scale, use_bias, shape, axis, hostile):
    x, layer = hostile(shape, axis), make(axis=axis, use_scale=use_scale, use_bias=use_bias, epsilon=1e-3)
    layer.build(shape)
    assert [v.name for v in layer.weights] == ["scale"] * use_scale + ["bias"] * use_bias
    for weight in layer.weights:
        weight.assign({"scale": SCALE, "bias": BIAS}[weight.name])
    scale, bias = SCALE if use_scale else None, BIAS if use_bias else None
    expected = definition.normalized(x, groups, scale, bias, axis, 1e-3)
    for training in (False, True):
        y = ops.convert_to_numpy(layer(x, training=training))
        np.testing.assert_allclose(y, expected, atol=1e-3, rtol=1e-4)


@both
def test_mask_leaves_positions_out(make, groups, hostile):
    x, mask = hostile((2, 4, 6)), np.array([[True, True, False, True], [True, False, True, False]])
    y = ops.convert_to_numpy(make(epsilon=1e-3)(x, mask=mask))
    np.testing.assert_allclose(y, definition.normalized(x, groups, epsilon=1e-3, mask=mask), atol=1e-3, rtol=1e-4)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match=r"`groups` must divide .* groups=4, channels=6"):
        layers.GroupNorm(4).build((None, 6))
    with pytest.raises(ValueError, match=r"`groups` must divide .* groups=32, channels=6"):
        layers.GroupNorm().build((None, 6))
    with pytest.raises(ValueError, match="`groups` must be an integer, at least 1"):
        layers.GroupNorm(-1)


def test_instance_norm_of_rows_is_refused():
    with pytest.raises(ValueError, match="rank of 3 to 5"):
        layers.InstanceNorm().build((None, 3))


@both
def test_contradictions_are_refused(make, groups):
    with pytest.raises(ValueError, match="use_scale=True"):
        make(use_scale=False, scale_initializer="ones")
    with pytest.raises(ValueError, match="`epsilon`"):
        make(epsilon=0.0)
