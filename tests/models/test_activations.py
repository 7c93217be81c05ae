import keras
import numpy as np
import pytest

import keras_norms
from keras_norms import models
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


OURS = {
    "prelu": keras_norms.PReLU,
    "prelu_0.3": keras_norms.PReLU,
    "rrelu": keras_norms.RReLU,
    "rrelu_10_30": keras_norms.DivisorRReLU,
    "divisor_rrelu": keras_norms.DivisorRReLU,
    "vlrelu": keras_norms.VLReLU,
    "trelu": keras_norms.TReLU,
    "tprelu": keras_norms.TPReLU,
}
CAFFENET = {"input_shape": (39, 39, 1), "classes": 2}
CHANNELS = {"conv1": 96, "conv2": 256, "conv3": 384, "conv4": 384, "conv5": 256, "fc6": 2048, "fc7": 2048}


def test_ours_have_names():
    assert list(models.ACTIVATIONS) == list(OURS)
    for name, kind in OURS.items():
        assert type(activations.checked(name)) is kind
        assert name in str(activations._error("foo"))
    # No name of Keras is hidden by one of ours.
    for name in OURS:
        with pytest.raises(ValueError, match="Could not interpret"):
            keras.activations.get(name)


def test_those_of_the_caffenet_benchmark_have_its_arguments():
    layer = activations.checked("prelu_0.3")
    layer.build((None, 2))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.slope), np.float32([0.3, 0.3]))
    divisors = activations.checked("rrelu_10_30")
    assert (divisors.lower, divisors.upper) == (10, 30)
    assert divisors.inference_slope == pytest.approx((np.log(30) - np.log(10)) / 20)


@pytest.mark.parametrize(
    ("normalization", "name"),
    [*(("none", name) for name in OURS), ("batch_norm_before", "rrelu"), ("batch_norm_after", "rrelu")],
)
def test_ours_by_name_in_a_network(name, normalization, moved, predicted, hostile):
    model = moved(models.build("resnet20", (8, 8, 3), classes=3, normalization=normalization, activation=name))
    assert len({id(layer) for layer in model._flatten_layers() if type(layer) is OURS[name]}) == 19
    x = hostile((4, 8, 8, 3))
    logits = predicted(model, x)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(predicted(model, x), logits)
    in_training = [keras.ops.convert_to_numpy(model(x, training=True)) for _ in range(2)]
    assert (in_training[0] != in_training[1]).any() == ("rrelu" in name)


@pytest.mark.parametrize("normalization", ["none", "batch_norm_after"])
@pytest.mark.parametrize(("axis", "slopes"), [(-1, sum(CHANNELS.values())), (None, len(CHANNELS))])
def test_one_prelu_serves_convolutions_and_dense_layers(axis, slopes, normalization):
    arguments = {**CAFFENET, "normalization": normalization}
    model = models.build("caffenet128", **arguments, activation=keras_norms.PReLU(axis=axis))
    plain = models.build("caffenet128", **arguments)
    assert model.count_params() - plain.count_params() == slopes
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras_norms.PReLU)]
    assert [layer.name for layer in layers] == [f"{name}_activation" for name in CHANNELS]
    shapes = [(channels,) if axis else () for channels in CHANNELS.values()]
    assert [tuple(layer.slope.shape) for layer in layers] == shapes


def test_prelu_of_keras_is_not_one_for_both():
    with pytest.raises((ValueError, IndexError)):
        models.build("caffenet128", **CAFFENET, activation=keras.layers.PReLU(shared_axes=[1, 2]))


@pytest.mark.parametrize(
    ("activation", "alpha"), [("elu", 1.0), (keras.layers.ELU(), 1.0), (keras.layers.ELU(0.5), 0.5)]
)
def test_elu_of_keras_serves_convolutions_and_dense_layers(activation, alpha, output_of, hostile):
    model = models.build("caffenet128", **CAFFENET, activation=activation)
    assert [layer.name for layer in model.layers if layer.name.endswith("_activation")] == [
        f"{name}_activation" for name in CHANNELS
    ]
    x = hostile((2, 39, 39, 1)) * 10
    for name in ("conv1", "fc6"):
        before = output_of(model, name, x).astype("float64")
        assert (before < 0).any()
        assert (before > 0).any()
        expected = np.where(before > 0, before, alpha * np.expm1(before))
        np.testing.assert_allclose(output_of(model, f"{name}_activation", x), expected, rtol=1e-5, atol=1e-6)


def test_maxout_shares_the_channels_of_each_layer_out():
    model = models.build("caffenet128", **CAFFENET, activation=keras_norms.Maxout(pieces=2))
    for name, channels in CHANNELS.items():
        assert model.get_layer(name).output.shape[-1] == channels
        assert model.get_layer(f"{name}_activation").output.shape[-1] == channels // 2
