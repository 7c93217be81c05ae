import keras
import numpy as np
import pytest

from keras_norms import initializers


def filters(shape, axis=-1, **kwargs):
    """Returns the filters that are drawn, as the columns of a matrix in float64."""
    weight = keras.ops.convert_to_numpy(initializers.Orthonormal(axis=axis, **kwargs)(shape)).astype("float64")
    assert weight.shape == tuple(shape)
    kept = sorted(a % len(shape) for a in ([axis] if isinstance(axis, int) else axis))
    count = int(np.prod([shape[a] for a in kept]))
    return np.moveaxis(weight, kept, range(len(kept))).reshape(count, -1).T


# Dense, convolution, transposed (..., out, in), depthwise (..., in, multiplier), embedding.
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((7, 5), -1), ((3, 3, 4, 20), -1), ((3, 3, 9, 5), -2), ((3, 3, 4, 2), (-2, -1)), ((4, 9), 0), ((4, 3, 5), 0)],
)
def test_filters_are_orthonormal_where_there_is_room(shape, axis):
    w = filters(shape, axis)
    # Float32, and sums of fewer than a hundred products.
    np.testing.assert_allclose(w.T @ w, np.eye(w.shape[1]), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 17), -1), ((3, 3, 2, 50), -1), ((2, 2, 9, 2), -2), ((3, 3, 8, 2), (-2, -1)), ((9, 4), 0)]
)
def test_every_filter_has_length_1_where_there_is_none(shape, axis):
    w = filters(shape, axis)
    length, count = w.shape
    assert count > length
    np.testing.assert_allclose((w**2).sum(0), 1, atol=1e-6)
    for first in range(0, count, length):
        block = w[:, first : first + length]
        np.testing.assert_allclose(block.T @ block, np.eye(block.shape[1]), atol=1e-6)


def test_whole_multiples_keep_the_length_of_inputs_up_to_one_factor():
    w = filters((5, 15))
    np.testing.assert_allclose(w @ w.T, 3 * np.eye(5), atol=1e-5)


def test_keras_initializer_does_not_do_it():
    kernel = keras.ops.convert_to_numpy(keras.initializers.Orthogonal(seed=0)((18, 32)))
    assert ((kernel**2).sum(0) < 0.9).any()
    transposed = keras.ops.convert_to_numpy(keras.initializers.Orthogonal(seed=0)((3, 3, 8, 4)))
    assert ((transposed**2).sum((0, 1, 3)) < 0.9).any()


def test_blocks_are_drawn_apart():
    w = filters((5, 10))
    assert abs(w[:, :5] - w[:, 5:]).max() > 0.1
    assert abs(abs(w[:, :5].T @ w[:, 5:]) - np.eye(5)).max() > 0.1


def test_gain_is_the_length():
    np.testing.assert_allclose((filters((3, 8), gain=2.5) ** 2).sum(0), 6.25, rtol=1e-6)


def test_no_direction_is_preferred():
    # Of a Haar matrix of size 3 each element has mean 0 and variance 1/3, its square variance 4/45. QR without signs
    # would have a diagonal of one sign.
    draws = keras.random.SeedGenerator(0)
    drawn = np.array([keras.ops.convert_to_numpy(initializers.Orthonormal(seed=draws)((3, 3))) for _ in range(400)])
    assert (abs(drawn.mean(0)) < 5 * np.sqrt(1 / 3 / 400)).all()
    assert (abs((drawn**2).mean(0) - 1 / 3) < 5 * np.sqrt(4 / 45 / 400)).all()


def test_seeds_are_those_of_keras():
    one = initializers.Orthonormal(seed=1)
    np.testing.assert_array_equal(one((4, 6)), one((4, 6)))
    np.testing.assert_array_equal(one((4, 6)), initializers.Orthonormal(seed=1)((4, 6)))
    assert abs(filters((4, 6), seed=1) - filters((4, 6), seed=2)).max() > 0.1
    assert abs(filters((4, 6)) - filters((4, 6))).max() > 0.1
    draws = keras.random.SeedGenerator(0)
    assert abs(filters((4, 6), seed=draws) - filters((4, 6), seed=draws)).max() > 0.1


def test_config_and_clone_draw_the_same():
    initializer = initializers.Orthonormal(gain=2.0, seed=3, axis=(-2, -1))
    for copy in (
        initializer.clone(),
        keras.initializers.deserialize(keras.initializers.serialize(initializer)),
        initializers.Orthonormal.from_config(initializer.get_config()),
    ):
        assert copy.get_config() == initializer.get_config() == {"gain": 2.0, "seed": 3, "axis": [-2, -1]}
        np.testing.assert_array_equal(copy((3, 3, 4, 2)), initializer((3, 3, 4, 2)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtype_is_the_one_asked_for(dtype):
    weight = initializers.Orthonormal()((4, 6), dtype)
    if dtype == "float64" and keras.backend.backend() == "jax":
        dtype = "float32"  # JAX has no float64 unless it is told to
    assert keras.backend.standardize_dtype(weight.dtype) == dtype
    # 8 bits of bfloat16.
    norms = keras.ops.sum(keras.ops.square(keras.ops.cast(weight, "float32")), axis=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norms), 1, atol=2**-6)


def test_layers_take_it(tmp_path):
    transposed = keras.layers.Conv2DTranspose(3, 2, kernel_initializer=initializers.Orthonormal(axis=-2))
    model = keras.Sequential([keras.Input((4, 4, 5)), transposed])
    kernel = keras.ops.convert_to_numpy(transposed.kernel)
    np.testing.assert_allclose((kernel**2).sum((0, 1, 3)), 1, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert loaded.kernel_initializer.get_config() == transposed.kernel_initializer.get_config()


def test_replicas_start_alike(strategy):
    with strategy.scope():
        layer = keras.layers.Dense(7, kernel_initializer=initializers.Orthonormal())
        layer.build((None, 3))
    first, second = (value.numpy() for value in layer.kernel.value.values)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "shape", "words"),
    [
        ({}, (4,), "rank of at least 2"),
        ({"axis": 2}, (4, 5), "axis=2"),
        ({"axis": "last"}, (4, 5), "`axis`"),
        ({"gain": "large"}, (4, 5), "`gain`"),
    ],
)
def test_refuses_what_has_no_filters(arguments, shape, words):
    with pytest.raises(ValueError, match=words):
        initializers.Orthonormal(**arguments)(shape)
