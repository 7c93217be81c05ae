"""What batch norm's family shares: when which statistics are used, and how the moving ones move."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import batch_norm as definition

FAMILY = {
    layers.BatchNorm: layers.BatchNorm,
    layers.MeanOnlyBatchNorm: layers.MeanOnlyBatchNorm,
    layers.GhostBatchNorm: lambda **options: layers.GhostBatchNorm(3, **options),
    layers.BatchRenorm: lambda **options: layers.BatchRenorm(1.5, 0.5, **options),
    layers.EvoNormB0: layers.EvoNormB0,
}
family = pytest.mark.parametrize("make", FAMILY.values(), ids=[kind.__name__ for kind in FAMILY])


def numpy(values):
    return [ops.convert_to_numpy(value) for value in values]


@family
@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize(("shape", "axis"), [((8, 5, 3), -1), ((4, 3, 5, 2), 1)])
def test_moving_statistics_are_weighted_means_of_whole_batches(make, steps, shape, axis, hostile):
    layer = make(axis=axis, momentum=0.8)
    batches = [hostile(shape, axis, seed) for seed in range(steps)]
    for batch in batches:
        layer(batch, training=True)
    moments = [definition.moments(batch, axis) for batch in batches]
    expected = {
        "mean": definition.moving_average([mean for _, mean, _ in moments], 0.8),
        "variance": definition.moving_average([v * n / (n - 1) for n, _, v in moments], 0.8),
    }
    assert len(layer.statistics()) == len(layer.moving)
    for name, value, own in zip(layer.moving, numpy(layer.statistics()), numpy(layer.own_statistics()), strict=True):
        np.testing.assert_allclose(value, expected[name], rtol=1e-4)
        np.testing.assert_array_equal(own, value)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_weight), 1 - 0.8**steps, rtol=1e-5)


@family
def test_before_any_step_the_mean_reads_0_and_the_variance_1(make):
    layer = make()
    layer.build((None, 5, 3))
    for name, value in zip(layer.moving, numpy(layer.statistics()), strict=True):
        np.testing.assert_array_equal(value, np.full(3, {"mean": 0, "variance": 1}[name]))


@family
@pytest.mark.parametrize(("shape", "mask"), [((0, 2, 3), None), ((4, 2, 3), np.zeros((4, 2), bool))])
def test_nothing_seen_changes_no_bit_of_the_statistics(make, shape, mask, hostile):
    layer = make()
    layer(hostile((8, 2, 3)), training=True)
    before = numpy(layer.non_trainable_weights)
    y = layer(np.full(shape, 5.0, "float32"), training=True, mask=mask)
    assert np.isfinite(ops.convert_to_numpy(y)).all()
    for value, kept in zip(numpy(layer.non_trainable_weights), before, strict=True):
        np.testing.assert_array_equal(value, kept)


@family
def test_masked_positions_do_not_move_the_statistics(make, hostile):
    x, mask = hostile((8, 2, 3)), np.random.default_rng(0).random((8, 2)) < 0.6
    layer, other = make(), make()
    layer(x, training=True, mask=mask)
    x[~mask] = 1e3
    other(x, training=True, mask=mask)
    count, mean, variance = definition.moments(x, mask=mask)
    expected = {"mean": mean, "variance": variance * count / (count - 1)}
    for name, value, same in zip(layer.moving, numpy(layer.statistics()), numpy(other.statistics()), strict=True):
        np.testing.assert_allclose(value, expected[name], rtol=1e-4)
        np.testing.assert_allclose(same, value, rtol=1e-6)


@family
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("use_global_stats", [None, True, False])
def test_which_statistics_are_used_and_whether_they_move(make, use_global_stats, training, trainable, hostile):
    x = hostile((9, 5, 3), seed=1)
    layer = make(use_global_stats=use_global_stats)
    layer(hostile((9, 5, 3)), training=True)  # moves them, unless they never do
    moving = ops.convert_to_numpy(layer(2 * x + 1))  # inference, unless it uses batch statistics always
    layer.trainable = trainable
    learning = training and trainable
    of_batch = learning if use_global_stats is None else not use_global_stats
    before = numpy(layer.non_trainable_weights)
    y = ops.convert_to_numpy(layer(2 * x + 1, training=training))
    # Another example in the batch matters where statistics of the batch are used, and only there.
    longer = ops.convert_to_numpy(layer(np.concatenate([2 * x + 1, 100 * x[:1]]), training=training))
    if use_global_stats is not False:
        assert np.allclose(y, moving, rtol=1e-5, atol=1e-5) != of_batch
    assert np.allclose(longer[:9], y, rtol=1e-4, atol=1e-4) != of_batch
    unmoved = all(np.array_equal(*pair) for pair in zip(numpy(layer.non_trainable_weights), before, strict=True))
    assert unmoved == (not (learning and of_batch))


@family
def test_moving_mean_keeps_the_digits_of_large_means(make):
    x = np.random.default_rng(0).normal(1e4, 1, (128, 1024, 4)).astype("float32")
    layer = make()
    layer(x, training=True)
    expected = {"mean": x.mean((0, 1), dtype="float64"), "variance": x.astype("float64").var((0, 1), ddof=1)}
    for name, value in zip(layer.moving, numpy(layer.statistics()), strict=True):
        # A float32 of 1e4 has digits down to 1e-3; the mean of so many in one sum is off by 5.
        np.testing.assert_allclose(value, expected[name], atol=2e-3, rtol=1e-3 if name == "variance" else 0)


@family
def test_mask_arrives_from_a_masking_layer_and_goes_on(make):
    x = np.array([[[1.0], [3.0], [0.0]], [[5.0], [0.0], [0.0]]], "float32")
    layer = make()
    y = layer(keras.layers.Masking()(x), training=True)
    value = dict(zip(layer.moving, numpy(layer.statistics()), strict=True))
    np.testing.assert_allclose(value.get("mean", [3.0]), [3.0], rtol=1e-6)
    np.testing.assert_allclose(value.get("variance", [4.0]), [4.0], rtol=1e-6)
    assert keras.src.backend.get_keras_mask(y) is not None


@family
def test_statistics_are_float64_where_all_is(make):
    layer = make(dtype="float64")
    layer.build((None, 5, 3))
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is switched on")
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights} == {"float64"}


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow has the collective")
@pytest.mark.parametrize("kind", [layers.MeanOnlyBatchNorm, layers.EvoNormB0])
def test_synchronization_without_collectives_is_refused(kind):
    with pytest.raises(ValueError, match="TensorFlow backend"):
        kind(synchronized=True)(np.zeros((2, 4, 3), "float32"), training=True)


@family
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"momentum": 1.0}, "`momentum`"),
        ({"use_global_stats": "batch"}, "`use_global_stats`"),
        ({"use_global_stats": 1}, "`use_global_stats`"),
        ({"synchronized": None}, "`synchronized`"),
        ({"axis": [3]}, "`axis`"),
        ({"use_bias": False, "bias_regularizer": "l2"}, "use_bias=True"),
        ({"use_bias": 0}, "`use_bias`"),
    ],
)
def test_contradictions_are_refused_at_construction(make, options, words):
    with pytest.raises(ValueError, match=words):
        make(**options)
