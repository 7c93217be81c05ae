"""Random tensors: any rank, any channel axis, channels with means and deviations of their own."""

import math
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

RANKS, LENGTHS, SEEDS = st.integers(2, 5), st.integers(1, 5), st.integers(0, 2**32 - 1)


class Tensor(NamedTuple):
    """A tensor and its channel axis.

    Attributes:
        values: Array, float32.
        axis: Integer, the channel axis, counted from either end.
        random: Generator for whatever else is random in the example.
    """

    values: np.ndarray
    axis: int
    random: np.random.Generator

    @property
    def rows(self):
        """The channels moved to the end, and all other axes merged into one."""
        return rows(self.values, self.axis)

    @property
    def channels(self):
        return self.values.shape[self.axis]

    def along(self, values):
        """Returns one value per channel in a shape that broadcasts against the tensor."""
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        return np.reshape(values, shape)


def rows(values, axis):
    values = np.moveaxis(np.asarray(values), axis, -1)
    return values.reshape(-1, values.shape[-1])


@st.composite
def axes(draw, rank):
    """Any axis but the first, counted from either end."""
    axis = draw(st.integers(1, rank - 1))
    return draw(st.sampled_from([axis, axis - rank]))


@st.composite
def tensors(draw, least=1, ranks=RANKS):
    """Any `Tensor` with at least so many elements per channel, a batch of 1 or 0 among them if that is allowed.

    Its values are eighths up to a few hundred: multiplying them by powers of 2 and adding integers is exact.
    """
    rank = draw(ranks)
    shape = [draw(LENGTHS) for _ in range(rank)]
    axis = draw(axes(rank))
    others = math.prod(n for i, n in enumerate(shape) if i not in (0, axis % rank))
    shape[0] = draw(st.integers(-(-least // others), -(-least // others) + 5))
    random = np.random.default_rng(draw(SEEDS))
    tensor = Tensor(random.normal(size=shape).astype("float32"), axis, random)
    mean, deviation = random.uniform(-100, 100, tensor.channels), 10 ** random.uniform(-1, 1.5, tensor.channels)
    values = tensor.values * tensor.along(deviation) + tensor.along(mean)
    return tensor._replace(values=(np.round(values * 8) / 8).astype("float32"))


def masks(tensor):
    """Returns a random mask over the first axes, without the channel axis."""
    shape = np.delete(tensor.values.shape, tensor.axis % tensor.values.ndim)
    kept = shape[: tensor.random.integers(1, len(shape) + 1)]
    return tensor.random.random(kept) < tensor.random.choice([0.0, 0.3, 0.7, 1.0])
