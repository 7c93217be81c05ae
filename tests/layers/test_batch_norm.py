import keras
import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests.reference import batch_norm as definition


def trained(batches, **options):
    layer = layers.BatchNorm(**options)
    for batch in batches:
        layer(batch, training=True)
    return layer


def numpy_statistics(layer):
    return [ops.convert_to_numpy(value) for value in layer.statistics()]


@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_scale_and_bias_exist_only_where_they_are_used(use_scale, use_bias):
    layer = layers.BatchNorm(use_scale=use_scale, use_bias=use_bias)
    layer.build((None, 3))
    names = ["scale"] * use_scale + ["bias"] * use_bias
    assert [v.name for v in layer.trainable_weights] == names
    assert [v.name for v in layer.non_trainable_weights] == ["moving_mean", "moving_variance", "moving_weight"]


@pytest.mark.parametrize("steps", [1, 2, 25])
@pytest.mark.parametrize(("shape", "axis"), [((8, 3), -1), ((4, 3, 5, 5), 1), ((4, 5, 5, 3), -1)])
def test_moving_statistics_are_weighted_means_from_the_first_step(steps, shape, axis, hostile):
    batches = [hostile(shape, axis, seed) for seed in range(steps)]
    mean, variance = numpy_statistics(trained(batches, axis=axis, momentum=0.8))
    moments = [definition.moments(batch, axis) for batch in batches]
    np.testing.assert_allclose(mean, definition.moving_average([m for _, m, _ in moments], 0.8), rtol=1e-4)
    unbiased = [v * n / (n - 1) for n, _, v in moments]
    np.testing.assert_allclose(variance, definition.moving_average(unbiased, 0.8), rtol=1e-4)


def test_golden_step():
    layer = trained([np.array([[1.0], [2.0], [3.0], [4.0]], "float32")])
    np.testing.assert_allclose(np.ravel(numpy_statistics(layer)), [2.5, 5 / 3], rtol=1e-6)


def test_moving_mean_keeps_the_digits_of_large_means():
    x = np.random.default_rng(0).normal(1e4, 1, (128, 1024, 4)).astype("float32")
    mean, variance = numpy_statistics(trained([x]))
    # A float32 of 1e4 has digits down to 1e-3; the mean of so many in one sum is off by 5.
    np.testing.assert_allclose(mean, x.mean((0, 1), dtype="float64"), atol=2e-3)
    np.testing.assert_allclose(variance, x.astype("float64").var((0, 1), ddof=1), rtol=1e-3)


def test_inference_uses_the_moving_statistics(hostile):
    layer = trained([hostile((16, 3), seed=s) for s in range(3)], epsilon=1e-3)
    layer.scale.assign([1.0, -2.0, 3.0])
    layer.bias.assign([5.0, 6.0, 7.0])
    x = hostile((4, 3), seed=7)
    expected = definition.normalized(x, *numpy_statistics(layer), [1, -2, 3], [5, 6, 7], -1, 1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 5, 3)])
def test_inference_before_training_is_the_identity_up_to_epsilon(shape, hostile):
    x = hostile(shape)
    layer = layers.BatchNorm(epsilon=1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), x / np.sqrt(1 + 1e-3), rtol=1e-5)


@pytest.mark.parametrize(
    ("use_global_stats", "training", "batch_statistics", "moves"),
    [
        (None, True, True, True),
        (None, False, False, False),
        (True, True, False, False),
        (True, False, False, False),
        (False, True, True, True),
        (False, False, True, False),
    ],
)
@pytest.mark.parametrize("trainable", [True, False])
def test_use_global_stats_chooses_as_in_caffe(use_global_stats, training, batch_statistics, moves, trainable, hostile):
    layer = layers.BatchNorm(use_global_stats=use_global_stats)
    layer.build((None, 3))
    layer.moving_mean.assign([0.5, 1.0, -1.0])
    layer.moving_variance.assign([0.5, 2.0, 8.0])
    layer.moving_weight.assign(0.5)
    layer.trainable = trainable
    if not trainable:  # as in Keras: the layer is in inference mode
        batch_statistics, moves = use_global_stats is False, False
    x = hostile((16, 3))
    y = ops.convert_to_numpy(layer(x, training=training))
    moving = definition.normalized(x, [1, 2, -2], [1, 4, 16])
    expected = definition.batch_normalized(x) if batch_statistics else moving
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert (float(ops.convert_to_numpy(layer.moving_weight.value)) != 0.5) == moves


@pytest.mark.parametrize(("shape", "mask"), [((0, 3), None), ((4, 2, 3), np.zeros((4, 2), bool))])
def test_nothing_seen_changes_no_bit_of_the_statistics(shape, mask, hostile):
    layer = trained([hostile((8, *shape[1:]))])
    before = [ops.convert_to_numpy(v) for v in layer.non_trainable_weights]
    y = layer(np.full(shape, 5.0, "float32"), training=True, mask=mask)
    assert np.isfinite(ops.convert_to_numpy(y)).all()
    for variable, value in zip(layer.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_mask_equals_the_rows_it_leaves(hostile):
    x = hostile((6, 4, 3))
    mask = np.random.default_rng(0).random((6, 4)) < 0.5
    masked, gathered = layers.BatchNorm(), layers.BatchNorm()
    y = ops.convert_to_numpy(masked(x, training=True, mask=mask))
    expected = ops.convert_to_numpy(gathered(x[mask], training=True))
    np.testing.assert_allclose(y[mask], expected, atol=1e-4)
    for ours, theirs in zip(numpy_statistics(masked), numpy_statistics(gathered), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_mask_arrives_from_a_masking_layer_and_goes_on():
    x = np.array([[[1.0], [3.0], [0.0]], [[5.0], [0.0], [0.0]]], "float32")
    layer = layers.BatchNorm()
    y = layer(keras.layers.Masking()(x), training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.statistics()[0]), [3.0], rtol=1e-6)
    assert keras.src.backend.get_keras_mask(y) is not None


@pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="Keras on PyTorch takes a mean of squares minus a squared mean, 0.3 % off",
)
def test_trained_output_agrees_with_keras(hostile):
    x = hostile((8, 6, 3))
    ours = layers.BatchNorm(momentum=0.0, epsilon=1e-3)
    theirs = keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-3)
    for training in (True, False):
        y, expected = ours(x, training=training), theirs(x, training=training)
        if not training:  # Keras keeps the biased variance
            expected = definition.normalized(x, *numpy_statistics(ours), epsilon=1e-3)
        np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(expected), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(numpy_statistics(ours)[0], ops.convert_to_numpy(theirs.moving_mean), rtol=1e-4)
    np.testing.assert_allclose(
        numpy_statistics(ours)[1], ops.convert_to_numpy(theirs.moving_variance) * 48 / 47, rtol=1e-4
    )


def test_positive_affine_map_of_a_channel_changes_nothing(hostile):
    x = hostile((32, 3))
    layer = layers.BatchNorm(epsilon=1e-12)
    y, mapped = layer(x, training=True), layer(x * np.array([4, 0.5, 8], "float32") + 3, training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(mapped), atol=1e-3)


def test_batch_of_two_is_plus_and_minus_one():
    y = layers.BatchNorm(epsilon=1e-12)(np.array([[3.0, 8.0], [5.0, -1.0]], "float32"), training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(y), [[-1, 1], [1, -1]], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": -0.1}, "momentum"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"axis": [3]}, "axis"),
        ({"use_global_stats": "batch"}, "use_global_stats"),
        ({"use_scale": False, "scale_initializer": "ones"}, "use_scale=True"),
        ({"use_bias": False, "bias_regularizer": "l2"}, "use_bias=True"),
    ],
)
def test_contradictions_are_refused_at_construction(options, words):
    with pytest.raises(ValueError, match=words):
        layers.BatchNorm(**options)


@pytest.mark.parametrize(
    ("axis", "shape", "words"),
    [
        (4, (2, 3, 3, 5), "axis=4"),
        (0, (2, 3), "batch axis"),
        (-1, (2, 3, None), "known length"),
        (-1, (2,), "rank of 2 to 5"),
        (-1, (2, 1, 1, 1, 1, 3), "rank of 2 to 5"),
    ],
)
def test_impossible_inputs_are_refused_at_build(axis, shape, words):
    with pytest.raises(ValueError, match=words):
        layers.BatchNorm(axis=axis).build(shape)


def test_other_number_of_channels_is_refused():
    layer = layers.BatchNorm()
    layer(np.zeros((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"axis -1|axis 1"):
        layer(np.zeros((2, 4), "float32"))


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow has the collective")
def test_synchronization_without_collectives_is_refused():
    with pytest.raises(ValueError, match="TensorFlow backend"):
        layers.BatchNorm(synchronized=True)(np.zeros((2, 3), "float32"), training=True)
