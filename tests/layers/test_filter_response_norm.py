import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests import autodiff
from tests.reference import filter_response_norm as definition


@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("use_learned_epsilon", [False, True])
def test_weights_exist_only_where_they_are_used(use_scale, use_bias, use_learned_epsilon):
    layer = layers.FilterResponseNorm(use_scale=use_scale, use_bias=use_bias, use_learned_epsilon=use_learned_epsilon)
    layer.build((None, 4, 3))
    names = ["scale"] * use_scale + ["bias"] * use_bias + ["learned_epsilon"] * use_learned_epsilon
    assert [v.name for v in layer.trainable_weights] == names


@pytest.mark.parametrize(("shape", "axis"), [((2, 5, 3), -1), ((2, 3, 4, 5), 1), ((2, 2, 3, 2, 3), -1)])
def test_equals_the_definition_in_training_and_inference(shape, axis, hostile):
    x, layer = hostile(shape, axis), layers.FilterResponseNorm(axis=axis)
    layer.build(shape)
    layer.scale.assign([0.5, -2, 3])
    layer.bias.assign([5, 0.1, -1])
    expected = definition.normalized(x, [0.5, -2, 3], [5, 0.1, -1], axis)
    for training in (False, True):
        np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=training)), expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("learned", [1e-4, 0.5, -0.5])
def test_magnitude_of_the_learned_epsilon_is_added(learned, hostile):
    x, layer = hostile((4, 1, 1, 3)) / 30, layers.FilterResponseNorm(epsilon=1e-2, use_learned_epsilon=True)
    layer.build(x.shape)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.learned_epsilon), 1e-4)
    layer.learned_epsilon.assign(learned)
    expected = definition.normalized(x, epsilon=1e-2 + abs(learned))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=3e-6, atol=3e-6)


def test_learned_epsilon_keeps_a_gradient_where_one_position_has_none(hostile):
    x = hostile((4, 1, 1, 3))
    plain, soft = layers.FilterResponseNorm(), layers.FilterResponseNorm(use_learned_epsilon=True)
    soft.build(x.shape)
    soft.learned_epsilon.assign(1e3)
    (flat,) = autodiff.gradient(lambda x: ops.sum(plain(x)), x)
    (steep,) = autodiff.gradient(lambda x: ops.sum(soft(x)), x)
    np.testing.assert_allclose(flat, 0, atol=1e-5)
    assert (steep > 1e-3).all()


def test_mask_leaves_positions_out(hostile):
    x, mask = hostile((2, 4, 3)), np.array([[True, True, False, True], [True, False, False, False]])
    y = ops.convert_to_numpy(layers.FilterResponseNorm()(x, mask=mask))
    np.testing.assert_allclose(y, definition.normalized(x, mask=mask), rtol=3e-6, atol=3e-6)


def test_pair_of_the_paper_trains(hostile):
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.FilterResponseNorm(), layers.TReLU()])
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(hostile((8, 4, 4, 3)), hostile((8, 4, 4, 3), seed=1), verbose=0)
    for value, start in zip(model.get_weights(), before, strict=True):
        assert np.isfinite(value).all()
        assert (value != start).any()


def test_rows_are_refused():
    with pytest.raises(ValueError, match="rank of 3 to 5"):
        layers.FilterResponseNorm().build((None, 3))
