import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests import autodiff

CASES = [(-1, (3,)), (1, (5,)), (None, ()), ((1, 2), (5, 6)), ((-1, 1), (5, 3)), ([1, 2, 3], (5, 6, 3))]
ARITHMETIC = {layers.Scale: np.multiply, layers.Bias: np.add}


@pytest.mark.parametrize("kind", ARITHMETIC)
@pytest.mark.parametrize(("axis", "shape"), CASES)
def test_weight_lies_along_its_axes(kind, axis, shape, hostile):
    layer = kind(axis=axis)
    x = hostile((4, 5, 6, 3))
    layer.build(x.shape)
    (weight,) = layer.trainable_weights
    assert weight.shape == shape
    values = np.random.default_rng(1).normal(2, 1, shape).astype("float32")
    weight.assign(values)
    chosen = {a % 4 for a in ([] if axis is None else np.atleast_1d(axis))}
    along = values.reshape([n if i in chosen else 1 for i, n in enumerate(x.shape)])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), ARITHMETIC[kind](x, along), rtol=1e-6)


@pytest.mark.parametrize(("kind", "start"), [(layers.Scale, 1.0), (layers.Bias, 0.0)])
def test_starts_as_the_identity(kind, start, hostile):
    x = hostile((4, 3))
    np.testing.assert_array_equal(ops.convert_to_numpy(kind()(x)), x)


@pytest.mark.parametrize("kind", ARITHMETIC)
@pytest.mark.parametrize(("axis", "words"), [(5, "axis=5"), (0, "batch axis"), ((1, -3), "each axis once")])
def test_impossible_axes_are_refused(kind, axis, words):
    with pytest.raises(ValueError, match=words):
        kind(axis=axis).build((2, 3, 4, 5))


@pytest.mark.parametrize("kind", ARITHMETIC)
def test_axis_of_another_type_is_refused(kind):
    with pytest.raises(ValueError, match="integer"):
        kind(axis="channels")


@pytest.mark.parametrize("kind", ARITHMETIC)
def test_unknown_length_is_refused(kind):
    with pytest.raises(ValueError, match="known length"):
        kind().build((None, 4, None))


@pytest.mark.parametrize("kind", ARITHMETIC)
def test_gradients_are_summed_in_float32(kind):
    """5,000 ones, which bfloat16 stops counting at 256."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = kind()
    layer.build((None, 1))
    (gradient,) = autodiff.weight_gradients(layer, np.ones((5000, 1), "float32"))
    np.testing.assert_allclose(gradient, 5000, rtol=1e-3)
