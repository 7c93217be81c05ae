import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import NormProp, NormPropActivation, PReLU, TReLU

DRAWN = np.random.default_rng(0).normal(size=(200_000, 4)).astype("float32")


@pytest.mark.parametrize("activation", ["relu", "gelu", "glu", keras.layers.LeakyReLU(0.1), TReLU(), PReLU(), None])
def test_standard_normal_inputs_stay_standard(activation):
    y = ops.convert_to_numpy(NormPropActivation(activation)(DRAWN)).astype("float64")
    fourth = ((y - y.mean()) ** 4).mean() / y.var() ** 2
    assert abs(y.mean()) < 5 / np.sqrt(y.size)
    assert abs(y.var() - 1) < 5 * np.sqrt((fourth - 1) / y.size)


@pytest.mark.parametrize("activation", ["relu", "tanh", "glu"])
def test_is_normprop_without_its_linear_layer(activation):
    """Around an identity, at scale 1."""
    linear = keras.layers.Dense(4, use_bias=False, kernel_initializer="identity")
    around = NormProp(linear, activation, use_scale=False)
    x = DRAWN[:8]
    expected = ops.convert_to_numpy(around(x))
    np.testing.assert_allclose(ops.convert_to_numpy(NormPropActivation(activation)(x)), expected, rtol=1e-5, atol=1e-6)


def test_shape_is_that_of_the_activation():
    assert NormPropActivation("glu").compute_output_shape((None, 3, 8)) == (None, 3, 4)
    assert NormPropActivation(TReLU()).compute_output_shape((None, 3, 8)) == (None, 3, 8)


def test_weights_of_the_activation_are_its_own():
    layer = NormPropActivation(TReLU())
    layer.build((None, 3))
    assert [weight.name for weight in layer.trainable_weights] == ["threshold"]


def test_a_class_is_refused():
    with pytest.raises(ValueError, match="not a class"):
        NormPropActivation(keras.layers.ReLU)
