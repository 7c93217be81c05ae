"""Layer normalization and its kin without mean."""

import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import layer_norm, rms_norm

PAIRS = [(layers.LayerNorm, layer_norm), (layers.RMSNorm, rms_norm)]
both = pytest.mark.parametrize(("kind", "definition"), PAIRS, ids=["LayerNorm", "RMSNorm"])


@both
@pytest.mark.parametrize(
    ("shape", "axis", "lengths"),
    [
        ((2, 7), -1, (7,)),
        ((2, 6, 4, 3), 1, (6,)),
        ((2, 4, 5, 3), (1, 2, 3), (4, 5, 3)),
        ((2, 4, 5, 3), [-1, 1], (4, 3)),
    ],
)
def test_equals_the_definition_in_training_and_inference(kind, definition, shape, axis, lengths, hostile):
    x, layer, rng = hostile(shape, seed=2), kind(axis=axis, use_bias=True, epsilon=1e-3), np.random.default_rng(1)
    layer.build(shape)
    assert [tuple(weight.shape) for weight in (layer.scale, layer.bias)] == [lengths] * 2
    scale, bias = rng.normal(1, 2, lengths), rng.normal(3, 2, lengths)
    layer.scale.assign(scale)
    layer.bias.assign(bias)
    expected = definition.normalized(x, scale, bias, np.atleast_1d(axis), 1e-3)
    for training in (False, True):
        y = ops.convert_to_numpy(layer(x, training=training))
        np.testing.assert_allclose(y, expected, atol=1e-4, rtol=1e-4)


def test_defaults_are_the_published_ones():
    layer, root = layers.LayerNorm(), layers.RMSNorm()
    for made in (layer, root):
        made.build((None, 3))
    assert [v.name for v in layer.weights] == ["scale", "bias"]
    assert [v.name for v in root.weights] == ["scale"]
    assert (layer.epsilon, root.epsilon) == (1e-5, 1e-6)


@both
def test_mask_changes_nothing_for_one_axis_and_is_refused_for_several(kind, definition, hostile):
    x, mask = hostile((2, 4, 3)), np.array([[True, True, False, True], [True, False, True, False]])
    np.testing.assert_array_equal(*(ops.convert_to_numpy(kind()(x, mask=m)) for m in (None, mask)))
    with pytest.raises(ValueError, match="GroupNorm"):
        kind(axis=(1, 2))(x, mask=mask)


@both
@pytest.mark.parametrize(
    ("axis", "words"),
    [(0, "batch axis"), (4, "axis=4"), ((1, -3), "each axis once"), ((), "name an axis"), (None, "name an axis")],
)
def test_impossible_axes_are_refused(kind, definition, axis, words):
    with pytest.raises(ValueError, match=words):
        kind(axis=axis).build((2, 3, 4, 5))


@both
@pytest.mark.parametrize("axis", ["channels", 1.0, [1, True]])
def test_axis_of_another_type_is_refused(kind, definition, axis):
    with pytest.raises(ValueError, match="`axis` must be"):
        kind(axis=axis)


@both
def test_other_lengths_are_refused(kind, definition):
    layer = kind(axis=(1, 2))
    layer.build((None, 3, 4, None))
    with pytest.raises(ValueError, match="axis"):
        layer(np.zeros((2, 3, 5, 4), "float32"))
    with pytest.raises(ValueError, match="known length"):
        kind().build((None, 3, None))
