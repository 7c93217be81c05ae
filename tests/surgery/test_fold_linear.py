"""The weights after folding: the layer computes a map of what it computed, or what it computed of a map."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_norms.layers import GroupedConv2D
from keras_norms.surgery import fold_layers, fold_linear, fold_parts

# The layer without zero padding, and an input of more than one position.
CASES = {
    "dense": (lambda **k: layers.Dense(4, **k), (3, 6)),
    "dense of sequences": (lambda **k: layers.Dense(4, **k), (3, 5, 6)),
    "einsum": (lambda **k: layers.EinsumDense("abc,cde->abde", (None, 2, 4), **axes(k, "de")), (3, 5, 6)),
    "einsum with an ellipsis": (lambda **k: layers.EinsumDense("...c,dc->...d", 4, **axes(k, "d")), (3, 5, 6)),
    "einsum with a bias for some": (lambda **k: layers.EinsumDense("ac,cde->aed", (4, 2), **axes(k, "d")), (3, 6)),
    "convolution 1D": (lambda **k: layers.Conv1D(4, 3, 2, **k), (2, 9, 6)),
    "convolution 2D": (lambda **k: layers.Conv2D(4, (3, 2), dilation_rate=2, **k), (2, 9, 8, 6)),
    "convolution 3D": (lambda **k: layers.Conv3D(4, 2, **k), (2, 4, 5, 3, 6)),
    "depthwise 1D": (lambda **k: layers.DepthwiseConv1D(3, depth_multiplier=2, **k), (2, 9, 6)),
    "depthwise 2D": (lambda **k: layers.DepthwiseConv2D(3, 2, depth_multiplier=2, **k), (2, 9, 8, 6)),
    "separable 1D": (lambda **k: layers.SeparableConv1D(4, 3, depth_multiplier=2, **k), (2, 9, 6)),
    "separable 2D": (lambda **k: layers.SeparableConv2D(4, 3, depth_multiplier=2, **k), (2, 9, 8, 6)),
    "our grouped convolution": (lambda **k: GroupedConv2D(4, 3, groups=2, **k), (2, 9, 8, 6)),
}
GROUPED = (lambda **k: layers.Conv2D(4, 3, groups=2, **k), (2, 9, 8, 6))
TRANSPOSED = {
    "transposed 1D": (lambda **k: layers.Conv1DTranspose(4, 3, 2, **k), (2, 5, 6)),
    "transposed 2D": (lambda **k: layers.Conv2DTranspose(4, 3, 2, padding="same", **k), (2, 5, 4, 6)),
    "transposed 3D": (lambda **k: layers.Conv3DTranspose(4, 2, **k), (2, 3, 4, 3, 6)),
}
ALL = {**CASES, "grouped convolution": GROUPED, **TRANSPOSED}


def axes(arguments, letters):
    return {"bias_axes": letters if arguments["use_bias"] else None}


def built(make, shape, use_bias, rng):
    layer = make(use_bias=use_bias)
    layer.build(shape)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def numbers(layer, x):
    return ops.convert_to_numpy(layer(x)).astype("float64")


def assert_close(actual, expected):
    # Sums of some hundred float32 products: relative to the largest.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("case", ALL)
def test_a_map_of_the_outputs(case, use_bias):
    rng = np.random.default_rng(0)
    make, shape = ALL[case]
    layer = built(make, shape, use_bias, rng)
    x = rng.normal(size=shape).astype("float32")
    expected = numbers(layer, x)
    channels = expected.shape[-1]
    scale, shift = rng.normal(size=channels), 10 * rng.normal(size=channels)
    scale[1] = 0.0
    weights = fold_layers.of(layer, None)[0].weights
    folded = weights.scaled_outputs(weights.output_channel(expected.ndim - 1, expected.ndim), scale, shift).made()
    assert_close(numbers(folded, x), expected * scale + shift)
    assert folded.name == layer.name


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("case", [*CASES, "grouped convolution"])
def test_a_map_of_the_inputs(case, use_bias):
    rng = np.random.default_rng(1)
    make, shape = ALL[case]
    layer = built(make, shape, use_bias, rng)
    x = rng.normal(size=shape).astype("float32")
    scale, shift = rng.normal(size=shape[-1]), 10 * rng.normal(size=shape[-1])
    scale[1] = 0.0
    weights = fold_layers.of(layer, None)[0].weights
    assert not weights.adds_zeros
    folded = weights.scaled_inputs(weights.input_channel(len(shape) - 1, len(shape)), scale, shift).made()
    assert_close(numbers(folded, x), numbers(layer, (x * scale + shift).astype("float32")))


@pytest.mark.parametrize("case", ["convolution 2D", "our grouped convolution", *TRANSPOSED])
def test_a_factor_of_the_inputs_where_zeros_are_padded(case):
    rng = np.random.default_rng(2)
    make, shape = ALL[case]
    layer = built(make, shape, True, rng)
    layer.padding = "same"
    x = rng.normal(size=shape).astype("float32")
    scale = rng.normal(size=shape[-1])
    weights = fold_layers.of(layer, None)[0].weights
    assert weights.adds_zeros
    folded = weights.scaled_inputs(weights.input_channel(len(shape) - 1, len(shape)), scale, np.zeros(shape[-1])).made()
    assert_close(numbers(folded, x), numbers(layer, (x * scale).astype("float32")))


@pytest.mark.parametrize("case", ALL)
def test_one_value_for_all_channels(case):
    rng = np.random.default_rng(3)
    make, shape = ALL[case]
    layer = built(make, shape, True, rng)
    x = rng.normal(size=shape).astype("float32")
    weights = fold_layers.of(layer, None)[0].weights
    scale, shift = np.float64(-3.0), np.float64(7.0)
    expected = numbers(layer, x)
    outputs = weights.scaled_outputs(weights.output_channel(None, expected.ndim), scale, shift).made()
    assert_close(numbers(outputs, x), expected * -3 + 7)
    if case in CASES:
        inputs = weights.scaled_inputs(weights.input_channel(None, len(shape)), scale, shift).made()
        assert_close(numbers(inputs, x), numbers(layer, x * -3 + 7))


@pytest.mark.parametrize("use_bias", [True, False])
def test_an_axis_that_an_equation_neither_sums_over_nor_makes(use_bias):
    rng = np.random.default_rng(4)
    shape = (3, 5, 6)
    layer = built(lambda **k: layers.EinsumDense("abc,bcd->abd", (5, 4), **axes(k, "bd")), shape, use_bias, rng)
    x = rng.normal(size=shape).astype("float32")
    expected = numbers(layer, x)
    scale, shift = rng.normal(size=5), 10 * rng.normal(size=5)
    weights = fold_layers.of(layer, None)[0].weights
    outputs = weights.scaled_outputs(weights.output_channel(1, 3), scale, shift).made()
    assert_close(numbers(outputs, x), expected * scale[:, None] + shift[:, None])
    inputs = weights.scaled_inputs(weights.input_channel(1, 3), scale, shift).made()
    assert_close(numbers(inputs, x), numbers(layer, (x * scale[:, None] + shift[:, None]).astype("float32")))


def test_no_bias_where_none_is_needed():
    layer = layers.Dense(4, use_bias=False)
    layer.build((None, 3))
    weights = fold_layers.of(layer, None)[0].weights
    assert weights.scaled_outputs("channels", np.full(4, 2.0), np.zeros(4)).made().bias is None
    assert weights.scaled_outputs("channels", np.full(4, 2.0), np.ones(4)).made().bias is not None


def test_the_weights_of_the_layer_stay():
    layer = layers.Dense(4)
    layer.build((None, 3))
    before = ops.convert_to_numpy(layer.kernel).copy()
    weights = fold_layers.of(layer, None)[0].weights
    weights.scaled_outputs("channels", np.full(4, 2.0), np.ones(4))
    np.testing.assert_array_equal(weights.weights["kernel"], before)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.kernel), before)


def test_flags_are_kept():
    layer = layers.Conv2D(4, 3)
    layer.build((None, 5, 5, 3))
    layer.kernel.trainable = False
    new = fold_layers.of(layer, None)[0].weights.made()
    assert not new.kernel.trainable
    assert new.bias.trainable
    layer.trainable = False
    assert not fold_layers.of(layer, None)[0].weights.made().trainable


@pytest.mark.parametrize(
    ("equation", "bias_axes", "reason"),
    [
        ("a...c,cd->a...d", None, "in front of an ellipsis"),
        ("abc,cd->ad", None, "sums over an axis that its kernel"),
        ("abc,cd->abd", "bd", "its bias has an axis"),
    ],
)
def test_equations_that_are_not_folded_into(equation, bias_axes, reason):
    shape = (None, 4) if equation.endswith("bd") else 4
    layer = layers.EinsumDense(equation, (None, 4) if "..." in equation else shape, bias_axes=bias_axes)
    assert reason in fold_linear.EinsumDense.obstacle(layer)


def test_an_axis_that_is_not_that_of_the_channels():
    first = layers.Conv2D(4, 3, data_format="channels_first")
    first.build((None, 3, 8, 8))
    weights = fold_layers.of(first, None)[0].weights
    assert weights.output_channel(1, 4) is not None
    assert weights.output_channel(3, 4) is None
    einsum = layers.EinsumDense("abc,cd->abd", (5, 4))
    einsum.build((None, 5, 6))
    weights = fold_layers.of(einsum, None)[0].weights
    assert [weights.output_channel(axis, 3) for axis in (0, 1, 2)] == [None, None, "d"]
    assert [weights.input_channel(axis, 3) for axis in (0, 1, 2)] == [None, None, "c"]


def test_weights_beyond_the_dtype_do_not_fit():
    layer = layers.Dense(2, dtype="float16")
    layer.build((None, 2))
    layer.kernel.assign(np.full((2, 2), 100.0))
    weights = fold_layers.of(layer, None)[0].weights
    assert weights.scaled_outputs("channels", np.full(2, 600.0), np.zeros(2)).fits()
    assert not weights.scaled_outputs("channels", np.full(2, 700.0), np.zeros(2)).fits()
    assert not weights.scaled_outputs("channels", np.ones(2), np.full(2, np.nan)).fits()


@pytest.mark.parametrize("change", ["quantized", "lora"])
def test_kernels_that_are_computed_are_left(change):
    layer = layers.Dense(4)
    layer.build((None, 8))
    layer.quantize("int8") if change == "quantized" else layer.enable_lora(2)
    assert not isinstance(fold_layers.of(layer, None)[0], fold_parts.Linear)


def test_every_class_of_layer_is_among_the_cases():
    kinds = {type(make(use_bias=True)) for make, _ in ALL.values()}
    assert kinds == set(fold_parts.LINEAR)
    assert issubclass(GroupedConv2D, keras.layers.Conv2D)
