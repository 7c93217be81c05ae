"""Axes of any tensor, and what lies along them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_norms import layers
from keras_norms.ops import axes
from tests.properties import drawing


@given(drawing.tensors())
def test_axis_and_the_others_are_all(tensor):
    rank = tensor.values.ndim
    axis = axes.positive(tensor.axis, rank)
    assert axis == tensor.axis % rank
    assert sorted([axis, *axes.others(rank, tensor.axis)]) == list(range(rank))
    assert axes.channels(tensor.values.shape, tensor.axis) == tensor.channels


@given(drawing.tensors())
def test_values_of_channels_lie_along_their_axis(tensor):
    values = tensor.random.normal(size=tensor.channels)
    product = tensor.values * ops.convert_to_numpy(axes.along_channels(values, tensor.values, tensor.axis))
    # NumPy's einsum names axes instead of counting them.
    names = "abcde"[: tensor.values.ndim]
    expected = np.einsum(f"{names},{names[tensor.axis]}->{names}", tensor.values, values)
    np.testing.assert_allclose(product, expected, rtol=1e-5)


@given(drawing.tensors(), st.data())
def test_scale_and_bias_have_a_value_for_each_element_of_their_axes(tensor, data):
    rank = tensor.values.ndim
    chosen = data.draw(st.lists(st.integers(1, rank - 1), unique=True))
    axis = [data.draw(st.sampled_from([a, a - rank])) for a in chosen]
    names, used = "abcde"[:rank], "".join("abcde"[a] for a in sorted(chosen))
    scale, bias = layers.Scale(axis=axis), layers.Bias(axis=axis)
    for layer in (scale, bias):
        layer.build(tensor.values.shape)
        layer.set_weights([tensor.random.normal(size=[tensor.values.shape[a] for a in sorted(chosen)])])
    factors, summands = scale.get_weights()[0], bias.get_weights()[0]
    scaled = np.einsum(f"{names},{used}->{names}", tensor.values, factors)
    shifted = tensor.values + np.einsum(f"{names},{used}->{names}", np.ones_like(tensor.values), summands)
    np.testing.assert_allclose(ops.convert_to_numpy(scale(tensor.values)), scaled, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(bias(tensor.values)), shifted, rtol=1e-5, atol=1e-5)
