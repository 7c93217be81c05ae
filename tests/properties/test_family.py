"""What norms of single examples do not see: other examples, and the mean and length of what they measure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_norms import layers
from tests.properties import drawing

EPSILON = 1e-3
CLOSE = {"rtol": 1e-3, "atol": 1e-3}
# Per norm: what makes it, and whether it measures deviations from a mean. It has one measure for each example and
# each channel, group of channels, or position.
NORMS = {
    "instance": (lambda axis, epsilon: layers.InstanceNorm(axis=axis, epsilon=epsilon), "channel", True),
    "group": (lambda axis, epsilon: layers.GroupNorm(groups=2, axis=axis, epsilon=epsilon), "group", True),
    "layer": (lambda axis, epsilon: layers.LayerNorm(axis=axis, epsilon=epsilon), "position", True),
    "rms": (lambda axis, epsilon: layers.RMSNorm(axis=axis, epsilon=epsilon), "position", False),
    "filter response": (lambda axis, epsilon: layers.FilterResponseNorm(axis=axis, epsilon=epsilon), "channel", False),
}
norms = pytest.mark.parametrize(("make", "measured", "centres"), NORMS.values(), ids=list(NORMS))


@st.composite
def images(draw):
    """A `Tensor` of rank 3 to 5 with an even number of channels."""
    tensor = draw(drawing.tensors(ranks=st.integers(3, 5)))
    return tensor._replace(values=np.concatenate([tensor.values, tensor.values[::-1]], axis=tensor.axis))


def normalized(make, tensor, values, epsilon=EPSILON):
    return ops.convert_to_numpy(make(tensor.axis, epsilon)(values.astype("float32")))


def per_measure(tensor, measured, numbers):
    """Returns random numbers, the same wherever one measure is taken, and broadcasts them against the tensor."""
    shape, axis = list(tensor.values.shape), tensor.axis % tensor.values.ndim
    if measured == "position":
        shape[axis] = 1
        return tensor.random.choice(numbers, shape)
    drawn = tensor.random.choice(numbers, [shape[0], 2 if measured == "group" else shape[axis]])
    drawn = np.repeat(drawn, shape[axis] // drawn.shape[1], axis=1)
    return drawn.reshape([n if i in (0, axis) else 1 for i, n in enumerate(shape)])


@norms
@given(images())
def test_mean_and_length_of_what_is_measured_change_nothing(make, measured, centres, tensor):
    factor, sign = 2.0 ** tensor.random.integers(-3, 4), per_measure(tensor, measured, [-1, 1])
    shift = per_measure(tensor, measured, np.arange(-50, 50)) if centres else 0
    mapped = normalized(make, tensor, tensor.values * factor * sign + shift, EPSILON * factor**2)
    np.testing.assert_allclose(mapped, normalized(make, tensor, tensor.values) * sign, **CLOSE)


@norms
@given(images())
def test_examples_do_not_see_each_other(make, measured, centres, tensor):
    together = normalized(make, tensor, tensor.values)
    alone = np.concatenate([normalized(make, tensor, example[None]) for example in tensor.values])
    np.testing.assert_allclose(alone, together, **CLOSE)


@norms
@given(images())
def test_place_of_the_channels_is_of_no_account(make, measured, centres, tensor):
    y = np.moveaxis(normalized(make, tensor, tensor.values), tensor.axis, -1)
    last = tensor._replace(values=np.moveaxis(tensor.values, tensor.axis, -1), axis=-1)
    np.testing.assert_allclose(y, normalized(make, last, last.values), **CLOSE)
