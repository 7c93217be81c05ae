import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import batch_norm as definition

ACTIVATIONS = {
    "name": "relu",
    "function": keras.activations.tanh,
    "layer": keras.layers.LeakyReLU(negative_slope=0.3),
    "callable": lambda x: ops.abs(x),
    "none": None,
}
IN_NUMPY = {
    "name": lambda x: np.maximum(x, 0),
    "function": np.tanh,
    "layer": lambda x: np.where(x > 0, x, 0.3 * x),
    "callable": np.abs,
    "none": lambda x: x,
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(16, 3), (4, 5, 5, 3)])
def test_before_normalizes_and_then_activates(kind, shape, hostile):
    x = hostile(shape)
    y = layers.BatchNormBefore(ACTIVATIONS[kind])(x, training=True)
    expected = IN_NUMPY[kind](definition.batch_normalized(x))
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(16, 3), (4, 5, 5, 3)])
def test_after_activates_and_then_normalizes(kind, shape, hostile):
    x = hostile(shape) / 20
    y = layers.BatchNormAfter(ACTIVATIONS[kind])(x, training=True)
    expected = definition.batch_normalized(IN_NUMPY[kind](x.astype("float64")))
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, atol=3e-3)


@pytest.mark.parametrize("placed", [layers.BatchNormBefore, layers.BatchNormAfter])
def test_arguments_are_those_of_batch_norm(placed):
    layer = placed("relu", axis=1, momentum=0.5, use_scale=False, use_global_stats=True, name="here")
    assert (layer.axis, layer.momentum, layer.use_scale, layer.use_global_stats, layer.name) == (
        1,
        0.5,
        False,
        True,
        "here",
    )
    with pytest.raises(ValueError, match="momentum"):
        placed("relu", momentum=2.0)


@pytest.mark.parametrize("placed", [layers.BatchNormBefore, layers.BatchNormAfter])
def test_unknown_activation_is_refused(placed):
    with pytest.raises(ValueError, match="no_such_activation"):
        placed("no_such_activation")


def test_weights_of_the_activation_are_the_layers():
    layer = layers.BatchNormAfter(keras.layers.PReLU(shared_axes=[1, 2]))
    layer.build((None, 4, 4, 3))
    assert sum("alpha" in v.path for v in layer.trainable_weights) == 1


def test_random_activation_knows_training(hostile):
    layer = layers.BatchNormBefore(keras.layers.Dropout(0.9))
    x = hostile((16, 3))
    assert (ops.convert_to_numpy(layer(x, training=True)) == 0).mean() > 0.5
    assert (ops.convert_to_numpy(layer(x)) == 0).mean() == 0


@pytest.mark.parametrize("placed", [layers.BatchNormBefore, layers.BatchNormAfter])
def test_an_activation_that_changes_the_shape_is_refused(placed):
    with pytest.raises(ValueError, match=r"must keep the shape.*from shape \(2, 4\) to \(2, 2\)"):
        placed(layers.Maxout(pieces=2)).build((2, 4))
