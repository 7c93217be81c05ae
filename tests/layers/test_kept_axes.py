import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import kept_axes

L = keras.layers

# Layer, name of the weight, input, axes of the output units: the table of the documentation, written out.
CASES = [
    (lambda: L.Dense(3), "kernel", (2, 4), (1,)),
    (lambda: L.Conv1D(3, 2), "kernel", (2, 5, 4), (2,)),
    (lambda: L.Conv2D(6, 3, groups=2), "kernel", (2, 5, 5, 4), (3,)),
    (lambda: L.Conv3D(3, 2, dilation_rate=2), "kernel", (2, 4, 4, 4, 2), (4,)),
    (lambda: L.Conv1DTranspose(3, 2), "kernel", (2, 5, 4), (1,)),
    (lambda: L.Conv2DTranspose(3, 2, strides=2), "kernel", (2, 4, 4, 4), (2,)),
    (lambda: L.Conv3DTranspose(3, 2), "kernel", (2, 3, 3, 3, 4), (3,)),
    (lambda: L.DepthwiseConv1D(2, depth_multiplier=3), "kernel", (2, 5, 4), (1, 2)),
    (lambda: L.DepthwiseConv2D(2, depth_multiplier=3), "kernel", (2, 5, 5, 4), (2, 3)),
    (lambda: L.SeparableConv1D(3, 2), "depthwise_kernel", (2, 5, 4), (1, 2)),
    (lambda: L.SeparableConv2D(3, 2), "depthwise_kernel", (2, 5, 5, 4), (2, 3)),
    (lambda: L.SeparableConv2D(3, 2), "pointwise_kernel", (2, 5, 5, 4), (3,)),
    (lambda: L.EinsumDense("abc,cd->abd", (None, 5)), "kernel", (2, 3, 4), (1,)),
    (lambda: L.EinsumDense("...x,yx->...y", 5), "kernel", (2, 3, 4), (0,)),
    (lambda: L.EinsumDense("abc,bcd->abd", (3, 5)), "kernel", (2, 3, 4), (0, 2)),
    (lambda: L.EinsumDense("ab,cbd->acd", (3, 5)), "kernel", (2, 4), (0, 2)),
    (lambda: L.Embedding(7, 3), "embeddings", (2, 5), (0,)),
    (lambda: L.LSTMCell(3), "recurrent_kernel", (2, 4), (1,)),
]


@pytest.mark.parametrize(("make", "name", "shape", "expected"), CASES)
def test_axes_are_those_of_the_table(make, name, shape, expected):
    layer = make()
    layer.build(shape)
    assert kept_axes.output_axes(layer, name, len(getattr(layer, name).shape)) == expected


@pytest.mark.parametrize(("make", "name", "shape", "expected"), [case for case in CASES if case[1] == "kernel"])
def test_a_kept_index_decides_a_channel_of_the_output_alone(make, name, shape, expected):
    layer = make()
    layer.build(shape)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    before, kernel = ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layer.kernel)
    where = [slice(None)] * kernel.ndim
    for axis in expected:
        where[axis] = 1
    changed = kernel.copy()
    changed[tuple(where)] *= 3
    layer.kernel.assign(changed)
    after = ops.convert_to_numpy(layer(x))
    touched = np.isclose(after, 3 * before, rtol=1e-4) & ~np.isclose(after, before, rtol=1e-4)
    others = np.isclose(after, before, rtol=1e-5, atol=1e-6)
    assert (touched | others).all()
    # One of the output's units, not all and not a part of each.
    assert 0 < touched.mean() <= 0.5


@pytest.mark.parametrize(("axis", "expected"), [(-1, (2,)), (0, (0,)), ([0, -1], (0, 2)), ((2, 0), (0, 2)), ([], ())])
def test_given_axes_count_from_the_front(axis, expected):
    assert kept_axes.given(axis, (2, 3, 4)) == expected


@pytest.mark.parametrize("axis", [3, [-4], "1", [0.5], True])
def test_given_axes_that_do_not_exist_are_refused(axis):
    with pytest.raises(ValueError, match="axis"):
        kept_axes.given(axis, (2, 3, 4))
