import numpy as np
import pytest
from keras import ops

from keras_norms.ops import axes


@pytest.mark.parametrize(("axis", "rank", "expected"), [(-1, 4, 3), (1, 4, 1), (-3, 4, 1), (3, 4, 3)])
def test_axis_is_counted_from_the_front(axis, rank, expected):
    assert axes.positive(axis, rank) == expected


@pytest.mark.parametrize(("axis", "rank"), [(4, 4), (-5, 4), (0, 4), (-4, 4)])
def test_axis_out_of_range_or_batch_axis_is_refused(axis, rank):
    with pytest.raises(ValueError, match=f"axis={axis}"):
        axes.positive(axis, rank)


def test_unknown_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="known length"):
        axes.channels((None, 3, None), -1)


def test_values_lie_along_their_axes_in_the_order_of_the_tensor():
    x = np.zeros((2, 3, 4, 5))
    assert axes.along(ops.zeros((3, 5)), x, (-1, 1)).shape == (1, 3, 1, 5)
    assert axes.along(ops.zeros(()), x, ()).shape == (1, 1, 1, 1)
    assert axes.along_channels(ops.zeros((4,)), x, 2).shape == (1, 1, 4, 1)


@pytest.mark.parametrize(("mask_shape", "axis"), [((2,), -1), ((2, 3), -1), ((2, 3, 4), -1), ((2, 4, 5), 1)])
def test_mask_covers_the_first_axes_but_not_the_channels(mask_shape, axis):
    mask = np.random.default_rng(0).random(mask_shape) < 0.5
    x = np.zeros((2, 3, 4, 5))
    along = ops.convert_to_numpy(axes.along_mask(ops.convert_to_tensor(mask), x, axis))
    expected = np.broadcast_to(
        mask.reshape(mask_shape + (1,) * (3 - mask.ndim)), [n for i, n in enumerate(x.shape) if i != axis % 4]
    )
    np.testing.assert_array_equal(along, np.expand_dims(expected, axis))


def test_mask_with_channels_is_refused():
    with pytest.raises(ValueError, match="one axis less"):
        axes.along_mask(np.ones((2, 3), bool), np.zeros((2, 3)), -1)
