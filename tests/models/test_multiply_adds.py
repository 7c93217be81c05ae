import keras
import pytest

import keras_norms
from keras_norms import models
from keras_norms.layers import grouped_convolution


def counted(layer, shape):
    images = keras.Input(shape)
    return models.multiply_adds(keras.Model(images, layer(images)))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (keras.layers.Dense(7), (5,), 5 * 7),
        (keras.layers.Dense(7), (3, 4, 5), 12 * 5 * 7),
        (keras.layers.Conv2D(7, (3, 2), padding="same"), (6, 4, 5), 24 * 6 * 5 * 7),
        (keras.layers.Conv2D(7, 3, strides=2), (9, 7, 5), 4 * 3 * 9 * 5 * 7),
        (keras.layers.Conv2D(8, 3, groups=2), (9, 7, 6), 7 * 5 * 9 * 3 * 8),
        (grouped_convolution.GroupedConv2D(8, 3, groups=2), (9, 7, 6), 7 * 5 * 9 * 3 * 8),
        (keras.layers.Conv2D(7, 3, dilation_rate=2), (9, 7, 5), 5 * 3 * 9 * 5 * 7),
        (keras.layers.Conv2D(7, 3, data_format="channels_first"), (5, 9, 8), 7 * 6 * 9 * 5 * 7),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 7, 5), 7 * 5 * 9 * 5 * 2),
        (keras.layers.SeparableConv2D(7, 3), (9, 7, 5), 7 * 5 * (9 * 5 + 5 * 7)),
        (keras.layers.Conv1D(7, 3), (9, 5), 7 * 3 * 5 * 7),
        (keras.layers.TimeDistributed(keras.layers.Dense(7)), (3, 5), 3 * 5 * 7),
        (keras_norms.WeightNormalization(keras.layers.Conv2D(7, 3)), (9, 7, 5), 7 * 5 * 9 * 5 * 7),
        (keras_norms.NormProp(keras.layers.Dense(7), "relu"), (5,), 5 * 7),
        (keras_norms.WeightNormalization(keras_norms.WeightStandardization(keras.layers.Dense(7))), (5,), 5 * 7),
        (keras.layers.MaxPooling2D(3), (9, 7, 5), 0),
        (keras_norms.BatchNormAfter("relu"), (9, 7, 5), 0),
    ],
)
def test_layers(layer, shape, expected):
    assert counted(layer, shape) == expected


def test_nested_models_count_and_layers_beside_the_outputs_do_not():
    images = keras.Input((6, 6, 3))
    shared = keras.layers.Conv2D(4, 1, name="shared")(images)
    keras.layers.Conv2D(5, 1)(shared)
    inner = keras.Sequential([keras.Input((6, 6, 4)), keras.layers.Conv2D(2, 3)])
    assert models.multiply_adds(keras.Model(images, inner(shared))) == 36 * 3 * 4 + 16 * 9 * 4 * 2


@pytest.mark.parametrize("normalization", models.NORMALIZATIONS)
def test_no_normalization_adds_any(normalization):
    # Stages of 16 x 16, 8 x 8 and 4 x 4; the first kernels of the second and third read half as many channels.
    stage = 256 * 9 * 16 * 16
    expected = 256 * 9 * 3 * 16 + stage * (6 + 2 * 5.5) + 64 * 5
    model = models.build("resnet20", (16, 16, 3), classes=5, normalization=normalization)
    assert models.multiply_adds(model) == expected


@pytest.mark.parametrize(
    ("name", "options", "giga"),
    [
        ("resnet50", {"version": "v1"}, 3.858),
        ("resnet50", {"version": "v1.5"}, 4.089),
        ("resnet20", {"normalized_sum": True}, 0.0406),
    ],
)
def test_networks_cost_what_was_published(name, options, giga):
    normalization = "batch_norm_before"
    cost = models.multiply_adds(models.build(name, normalization=normalization, options=options))
    assert cost / 1e9 == pytest.approx(giga, abs=5e-4 if giga > 1 else 5e-5)


def test_refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match=r"Received: Conv2DTranspose 'up'\.$"):
        counted(keras.layers.Conv2DTranspose(7, 3, name="up"), (9, 7, 5))
    with pytest.raises(ValueError, match=r"known sizes. Received: outputs of shape \(None, None, None, 7\) of 'conv'"):
        counted(keras.layers.Conv2D(7, 3, name="conv"), (None, None, 5))
