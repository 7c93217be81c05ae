import itertools

import keras
import numpy as np
import pytest

import keras_norms
from keras_norms import initializers, models
from tests.initializers import networks

LAYERS = keras.layers


def wrapped(layer):
    return keras_norms.WeightNormalization(layer)


# Layers with their inputs, the axes of the filters, and input channels / groups / output channels.
KINDS = {
    "dense": (lambda: LAYERS.Dense(5, name="inner"), (8,), (-1,), 8 / 5),
    "conv2d": (lambda: LAYERS.Conv2D(6, (3, 2), name="inner"), (5, 5, 4), (-1,), 4 / 6),
    "grouped": (lambda: LAYERS.Conv2D(6, 3, groups=2, name="inner"), (5, 5, 4), (-1,), 2 / 6),
    "transposed": (lambda: LAYERS.Conv2DTranspose(6, 3, name="inner"), (5, 5, 4), (-2,), 4 / 6),
    "depthwise": (lambda: LAYERS.DepthwiseConv2D(3, depth_multiplier=2, name="inner"), (5, 5, 4), (-2, -1), 1 / 8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_scale_is_that_of_the_paper(kind):
    make, shape, filters, ratio = KINDS[kind]
    layer = wrapped(make())
    model = networks.moved(keras.Sequential([keras.Input(shape), layer]))
    before = networks.numpy(layer.scales["kernel"]).mean()
    row = initializers.residual_weight_norm(model, {"inner": 0.3})["inner"]
    np.testing.assert_allclose(networks.numpy(layer.scales["kernel"]), np.sqrt(0.3 * ratio), rtol=1e-6)
    assert (row.before, row.after) == (pytest.approx(before), pytest.approx(np.sqrt(0.3 * ratio)))
    assert not networks.numpy(layer.layer.bias).any()
    v = np.moveaxis(networks.numpy(layer.layer.kernel), filters, range(len(filters)))
    v = v.reshape(np.prod(v.shape[: len(filters)]), -1)
    # As many filters as there is room for are orthogonal.
    block = v[: v.shape[1]]
    np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=1e-5)


def test_layers_without_a_pattern_have_a_gain_of_2_and_the_first_pattern_holds():
    model = keras.Sequential([keras.Input((6,)), *(wrapped(LAYERS.Dense(6, name=n)) for n in ("one", "two", "three"))])
    report = initializers.residual_weight_norm(model, {"t.o": 0.5, "t.*": 3})
    assert [row.after**2 for row in report.rows] == pytest.approx([2, 0.5, 3])
    report = initializers.residual_weight_norm(model, {})
    assert [row.after**2 for row in report.rows] == pytest.approx([2, 2, 2])
    report = initializers.residual_weight_norm(model, {model.layers[1].name: 0})
    assert [row.after for row in report.rows][1] == 0


def test_activations_of_a_deep_residual_network_keep_their_length():
    plain = models.build("resnet20", input_shape=(16, 16, 3))

    def clone(layer):
        copy = type(layer).from_config(layer.get_config())
        return wrapped(copy) if isinstance(layer, LAYERS.Conv2D) else copy

    model = keras.models.clone_model(plain, clone_function=clone)
    report = initializers.residual_weight_norm(model, {"stem": 1.0, ".*_conv2": 1 / 3})
    assert len(report.rows) == 19
    assert report["stage2_unit1_conv1"].after == pytest.approx(np.sqrt(2 * 16 / 32))
    assert report["stage3_unit2_conv2"].after == pytest.approx(np.sqrt(1 / 3))
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    ends = [model.get_layer(f"stage{stage}_unit3_add").output for stage in (1, 2, 3)]
    outputs = [networks.numpy(y).astype("float64") for y in keras.Model(model.input, ends)(x)]
    lengths = [np.mean((y**2).sum(-1)) for y in outputs]
    # Each block adds a third of what comes in, and less at the borders: e in three blocks at most, 1 at least.
    assert all(0.3 < after / before < np.e for before, after in itertools.pairwise(lengths))


def test_final_plain_layer_and_layers_without_a_gain_stay():
    layers = [
        keras_norms.WeightNormalization(
            LAYERS.SeparableConv2D(3, 2, name="separable"), ["depthwise_kernel", "pointwise_kernel"]
        ),
        keras_norms.WeightNormalization(LAYERS.Conv2D(3, 2, name="strict"), use_scale=False),
        keras_norms.WeightNormalization(LAYERS.Conv2D(3, 2, name="axis"), axis=()),
        wrapped(LAYERS.Conv2D(3, 2, name="inner")),
        LAYERS.Conv2D(3, 2, name="plain"),
    ]
    model = networks.moved(keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    before = [networks.values(layer) for layer in layers]
    report = initializers.residual_weight_norm(model, {})
    assert [row.note.partition(":")[0] for row in report.rows] == ["skipped", "skipped", "skipped", ""]
    for layer, values in zip(layers, before, strict=True):
        same = [(a == b).all() for a, b in zip(networks.values(layer), values, strict=True)]
        assert all(same) if layer is not layers[3] else not any(same)


def test_seed_draws_the_directions():
    def kernels(seed):
        model = keras.Sequential([keras.Input((6,)), wrapped(LAYERS.Dense(6)), wrapped(LAYERS.Dense(6))])
        initializers.residual_weight_norm(model, {}, seed=seed)
        return [networks.numpy(layer.layer.kernel) for layer in model.layers]

    (one, two), (same, _), (other, _) = kernels(1), kernels(1), kernels(2)
    np.testing.assert_array_equal(one, same)
    assert abs(one - two).max() > 0.1
    assert abs(one - other).max() > 0.1


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        (2.0, "`gains`"),
        ({"no such name": 1.0}, "no such name"),
        ({"inn": 1.0}, "inn"),
        ({"inner": -1}, "-1"),
        ({"inner": "1"}, "'1'"),
    ],
)
def test_gains_must_be_numbers_of_layers(gains, words):
    model = keras.Sequential([keras.Input((6,)), wrapped(LAYERS.Dense(6, name="inner"))])
    before = networks.values(model)
    with pytest.raises(ValueError, match=words):
        initializers.residual_weight_norm(model, gains)
    for ours, theirs in zip(networks.values(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_replicas_get_the_same_values(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((6,)), wrapped(LAYERS.Dense(4, name="inner"))])
    initializers.residual_weight_norm(model, {"inner": 1})
    for weight in model.weights:
        first, second = (replica.numpy() for replica in weight.value.values)
        np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(model.layers[0].scales["kernel"].value.values[1].numpy(), np.sqrt(6 / 4), rtol=1e-6)
