import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import Maxout
from tests.reference import maxout as definition


@pytest.mark.parametrize(
    ("shape", "pieces", "axis"), [((5, 6), 3, -1), ((2, 6, 4, 3), 2, 1), ((2, 3, 4, 6), 2, 3), ((2, 4, 6), 6, -1)]
)
def test_equals_the_definition(shape, pieces, axis, hostile):
    x = hostile(shape, axis)
    layer = Maxout(pieces=pieces, axis=axis)
    expected = definition.maxout(x, pieces, axis)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), expected)
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *expected.shape[1:])


def test_is_the_maximum_of_two_convolutions(hostile):
    """The maxout of the caffenet-benchmark: two convolutions, and the larger of their outputs."""
    x = hostile((2, 5, 6, 3))
    one, other = (keras.layers.Conv2D(4, 3, bias_initializer="random_normal") for _ in range(2))
    outputs = [one(x), other(x)]
    expected = np.maximum(*map(ops.convert_to_numpy, outputs))
    np.testing.assert_array_equal(ops.convert_to_numpy(Maxout(pieces=2)(ops.concatenate(outputs, axis=-1))), expected)
    # The same as one convolution with twice the filters.
    both = keras.layers.Conv2D(8, 3)
    both.build(x.shape)
    for name in ("kernel", "bias"):
        parts = [ops.convert_to_numpy(getattr(layer, name)) for layer in (one, other)]
        getattr(both, name).assign(np.concatenate(parts, axis=-1))
    # The order of a convolution's sums is not ours to choose.
    largest = abs(expected).max()
    np.testing.assert_allclose(ops.convert_to_numpy(Maxout(pieces=2)(both(x))), expected, atol=1e-5 * largest)


def test_moves_from_tensorflow_addons():
    """`tfa.layers.Maxout(num_units)` has `channels / num_units` pieces; see tests/ops/test_maxout.py for the order."""
    x, num_units = np.arange(12, dtype="float32").reshape(1, 12)[:, ::-1].copy(), 4
    y = ops.convert_to_numpy(Maxout(pieces=x.shape[-1] // num_units)(x))
    np.testing.assert_array_equal(y, x.reshape(1, 3, num_units).max(axis=1))


def test_a_number_of_units_is_not_taken_for_one_of_pieces():
    with pytest.raises(TypeError, match="positional"):
        Maxout(4)
    with pytest.raises(TypeError, match="pieces"):
        Maxout()


def test_passes_masks_on():
    assert Maxout(pieces=3)(keras.layers.Masking()(keras.Input((4, 3))))._keras_mask is not None


def test_refuses_what_it_cannot_divide():
    message = r"`pieces` must divide the number of channels\. Received: pieces=3, 7 channels on axis=-1 of input shape="
    with pytest.raises(ValueError, match=message):
        Maxout(pieces=3)(keras.Input((4, 7)))
    with pytest.raises(ValueError, match=message):
        Maxout(pieces=3)(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="channel axis needs a known length"):
        Maxout(pieces=3)(keras.Input((4, None)))
    with pytest.raises(ValueError, match="`axis` must name an axis"):
        Maxout(pieces=3, axis=3)(keras.Input((4, 6)))


@pytest.mark.parametrize("pieces", [0, -2, 1.5, "2", None, True])
def test_refuses_what_is_no_number_of_pieces(pieces):
    with pytest.raises(ValueError, match=r"`pieces` must be an integer, at least 1\. Received: pieces="):
        Maxout(pieces=pieces)
