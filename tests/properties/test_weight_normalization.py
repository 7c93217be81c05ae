"""Weight normalization for any shape, kept axes and length of v."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_norms.ops import weight_normalization
from tests import autodiff
from tests.properties import drawing


@st.composite
def weights(draw):
    """A weight of at least two elements per vector, the axes that number its vectors, and a generator."""
    shape = draw(st.lists(drawing.LENGTHS, min_size=1, max_size=5))
    kept = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, max_size=len(shape) - 1))
    reduced = [i for i in range(len(shape)) if i not in kept]
    shape[reduced[0]] += 1
    random = np.random.default_rng(draw(drawing.SEEDS))
    v = random.normal(size=shape) * 10 ** random.uniform(-3, 3)
    signed = [draw(st.sampled_from([axis, axis - len(shape)])) for axis in kept]
    return v.astype("float32"), signed, tuple(reduced), random


def scales(v, reduced, random):
    shape = [n for i, n in enumerate(v.shape) if i not in reduced]
    return random.normal(size=shape).astype("float32")


@given(weights())
def test_vectors_have_the_length_of_the_scale_and_the_direction_of_v(drawn):
    v, kept, reduced, random = drawn
    scale = scales(v, reduced, random)
    w = ops.convert_to_numpy(weight_normalization.normalized(v, scale, kept, epsilon=1e-30)).astype("float64")
    length = np.sqrt((v.astype("float64") ** 2).sum(reduced))
    np.testing.assert_allclose(np.sqrt((w**2).sum(reduced)), abs(scale), rtol=1e-5)
    np.testing.assert_allclose((w * v).sum(reduced), scale * length, rtol=1e-5)


@given(weights())
def test_length_of_v_changes_nothing(drawn):
    v, kept, reduced, random = drawn
    factor = np.expand_dims(2.0 ** random.integers(-5, 6, scales(v, reduced, random).shape), reduced).astype("float32")
    w, stretched = (weight_normalization.normalized(u, None, kept, epsilon=1e-30) for u in (v, v * factor))
    np.testing.assert_allclose(ops.convert_to_numpy(stretched), ops.convert_to_numpy(w), rtol=1e-5)


@given(weights())
def test_gradient_is_orthogonal_to_v_and_that_of_the_scale_its_projection(drawn):
    v, kept, reduced, random = drawn
    scale, dw = scales(v, reduced, random), random.normal(size=v.shape).astype("float32")

    def loss(v, scale):
        return ops.sum(ops.multiply(weight_normalization.normalized(v, scale, kept, epsilon=1e-30), dw))

    dv, dscale = autodiff.gradient(loss, v, scale)
    length = np.sqrt((v.astype("float64") ** 2).sum(reduced))
    bound = 1e-5 * abs(scale) * np.sqrt((dw.astype("float64") ** 2).sum(reduced))
    assert (abs((dv.astype("float64") * v).sum(reduced)) <= bound).all()
    np.testing.assert_allclose(dscale, (dw * v).sum(reduced) / length, rtol=1e-4, atol=1e-5)
