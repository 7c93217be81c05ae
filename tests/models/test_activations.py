import keras
import numpy as np
import pytest

from keras_norms.models import activations


@pytest.mark.parametrize("activation", ["relu", "tanh", keras.activations.elu, keras.ops.sin, keras.layers.ReLU()])
def test_passes_what_is_an_activation(activation):
    assert activations.checked(activation) is activation


@pytest.mark.parametrize("identity", ["linear", keras.activations.linear])
def test_the_identity_is_none(identity):
    assert activations.checked(identity) is None


@pytest.mark.parametrize("activation", ["foo", None, 3, keras.layers.ReLU, {"class_name": "relu"}])
def test_refuses_what_is_none(activation):
    with pytest.raises(ValueError, match=r"`activation` must be the name of a Keras activation .* Received") as error:
        activations.checked(activation)
    assert str(error.value).endswith(f"activation={activation!r}.")


@pytest.mark.parametrize(
    "activation", ["leaky_relu", keras.activations.leaky_relu, keras.layers.LeakyReLU(negative_slope=0.2)]
)
def test_layer_applies_the_activation(activation, hostile):
    layer = activations.layer(activation, "named")
    x = hostile((3, 4))
    assert layer.name == "named"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), np.where(x > 0, x, 0.2 * x), rtol=1e-6)


def test_a_layer_is_made_anew_with_its_arguments():
    activation = keras.layers.LeakyReLU(negative_slope=0.7, name="mine")
    one, other = activations.fresh(activation, "one"), activations.fresh(activation, "other")
    assert len({id(activation), id(one), id(other)}) == 3
    assert (one.name, other.name, activation.name) == ("one", "other", "mine")
    assert one.negative_slope == 0.7
