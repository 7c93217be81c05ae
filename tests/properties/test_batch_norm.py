"""Batch norm for any shape, axis, mask and dtype."""

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_norms import layers
from keras_norms.ops import batch_norm
from tests.properties import drawing

# A float32 mean of 100 is right to 1e-5, and an epsilon of 1e-3 makes at most 32 times that of it.
EPSILON = 1e-3
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


def normalized(x, axis, mask=None, epsilon=EPSILON):
    return ops.convert_to_numpy(batch_norm.batch_normalized(x, axis=axis, mask=mask, epsilon=epsilon)[0])


def numpy(moments):
    return [ops.convert_to_numpy(part) for part in moments]


def kept(tensor, mask):
    """Returns the rows of channels that a mask leaves, in float64."""
    moved = np.moveaxis(tensor.values.astype("float64"), tensor.axis, -1)
    return drawing.rows(moved[mask], -1)


@given(drawing.tensors(least=0))
def test_moments_are_those_of_numpy_on_the_rows_a_mask_leaves(tensor):
    mask = drawing.masks(tensor)
    count, mean, residual, variance = numpy(batch_norm.moments(tensor.values, tensor.axis, mask))
    rows = kept(tensor, mask)
    assert count == len(rows)
    expected = (rows.mean(0), rows.var(0)) if len(rows) else (0, 0)
    np.testing.assert_allclose(mean + residual, np.broadcast_to(expected[0], mean.shape), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, np.broadcast_to(expected[1], mean.shape), **CLOSE)


@given(drawing.tensors())
def test_mask_equals_the_rows_it_leaves(tensor):
    mask = drawing.masks(tensor)
    rows = kept(tensor, mask).astype("float32")
    y = np.moveaxis(normalized(tensor.values, tensor.axis, mask), tensor.axis, -1)[mask]
    np.testing.assert_allclose(drawing.rows(y, -1), normalized(rows, -1), **CLOSE)


@given(drawing.tensors(least=0), st.lists(st.floats(0, 1), max_size=4))
def test_parts_merge_to_the_whole(tensor, cuts):
    rows = tensor.rows
    parts = np.split(rows, sorted(int(cut * len(rows)) for cut in cuts))
    moments = [numpy(batch_norm.moments(part)) for part in parts]
    stacked = [np.stack(values) for values in zip(*moments, strict=True)]
    merged = numpy(batch_norm.merged(batch_norm.Moments(stacked[0][:, None], *stacked[1:])))
    whole = numpy(batch_norm.moments(rows))
    assert merged[0] == whole[0]
    np.testing.assert_allclose(merged[1] + merged[2], whole[1] + whole[2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(merged[3], whole[3], **CLOSE)


@given(drawing.tensors())
def test_positive_affine_map_of_a_channel_changes_nothing_and_a_negative_one_the_sign(tensor):
    factor, sign = 2.0 ** tensor.random.integers(-3, 4), tensor.random.choice([-1, 1], tensor.channels)
    shift = tensor.random.integers(-50, 50, tensor.channels)
    mapped = (tensor.values * factor * tensor.along(sign) + tensor.along(shift)).astype("float32")
    expected = normalized(tensor.values, tensor.axis) * tensor.along(sign)
    np.testing.assert_allclose(normalized(mapped, tensor.axis, epsilon=EPSILON * factor**2), expected, **CLOSE)


@given(drawing.tensors())
def test_order_of_the_examples_is_of_no_account(tensor):
    order = tensor.random.permutation(len(tensor.values))
    shuffled = normalized(tensor.values[order], tensor.axis)
    np.testing.assert_allclose(shuffled, normalized(tensor.values, tensor.axis)[order], **CLOSE)


@given(drawing.tensors())
def test_place_of_the_channels_is_of_no_account(tensor):
    last = np.moveaxis(tensor.values, tensor.axis, -1)
    y = normalized(tensor.values, tensor.axis)
    np.testing.assert_allclose(np.moveaxis(y, tensor.axis, -1), normalized(last, -1), **CLOSE)


@given(drawing.tensors(), st.sampled_from(["float16", "bfloat16", "float32"]))
def test_output_has_the_dtype_of_the_input_and_statistics_are_wide(tensor, dtype):
    x = ops.cast(tensor.values, dtype)
    y, moments = batch_norm.batch_normalized(x, axis=tensor.axis, epsilon=EPSILON)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert {keras.backend.standardize_dtype(part.dtype) for part in moments} == {"float32"}
    wide = normalized(ops.cast(x, "float32"), tensor.axis)
    # A rounding of numbers up to the root of the count.
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), wide, rtol=2**-7, atol=1e-3)


@given(drawing.tensors(least=2), st.floats(0, 0.99), st.integers(1, 4))
def test_moving_statistics_are_weighted_means_of_what_was_seen(tensor, momentum, steps):
    layer = layers.BatchNorm(axis=tensor.axis, momentum=momentum)
    weight, mean, variance = 0.0, 0.0, 0.0
    for step in range(steps):
        x = tensor._replace(values=tensor.values + np.float32(step))
        mask = drawing.masks(x)
        layer(x.values, training=True, mask=mask)
        rows = kept(x, mask)
        if len(rows):
            weight = momentum * weight + 1 - momentum
            mean = momentum * mean + (1 - momentum) * rows.mean(0)
            variance = momentum * variance + (1 - momentum) * rows.var(0, ddof=min(1, len(rows) - 1))
    expected = (mean / weight, variance / weight) if weight else (0.0, 1.0)
    for ours, theirs in zip(layer.statistics(), expected, strict=True):
        ours = ops.convert_to_numpy(ours)
        np.testing.assert_allclose(ours, np.broadcast_to(theirs, ours.shape), **CLOSE)
