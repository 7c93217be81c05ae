"""How BatchNorm is used in Caffe, what each use computes, and what it is with the layers of this package.

Caffe computes in `tests.reference.caffe_batch_norm`, channels first; the layers have them last.
"""

import keras
import numpy as np
import pytest
from keras import ops

import keras_norms
from keras_norms import surgery
from tests import autodiff
from tests.reference import caffe_batch_norm as caffe

BARE = {"use_scale": False, "use_bias": False}
GAMMA, BETA = np.array([2.0, -0.5, 3.0]), np.array([-1.0, 4.0, 0.25])
# Float32 against float64: means of up to 300 standard deviations cost outputs their last digits.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
SHAPES = [(2, 3), (16, 3), (2, 5, 4, 3)]


def last(x):
    """Returns an array of Caffe with channels last."""
    return np.moveaxis(x, 1, -1)


def first(x):
    """Returns a tensor of ours as an array with channels first."""
    return np.moveaxis(ops.convert_to_numpy(x), -1, 1)


def batches(count, shape=(16, 3), begin=0):
    """Returns different batches, each channel with a mean and a spread of its own, channels last."""
    centre, spread = np.array([-30.0, 0.5, 8.0]), np.array([2.0, 0.1, 20.0])
    rngs = [np.random.default_rng(seed) for seed in range(begin, begin + count)]
    return [(rng.normal(size=shape) * spread + centre * rng.uniform(0.9, 1.1)).astype("float32") for rng in rngs]


def statistics(layer):
    return [ops.convert_to_numpy(value) for value in layer.statistics()]


def trained(layer, inputs, **options):
    """Trains our layer and Caffe's on the same batches; returns Caffe's blobs."""
    blobs = caffe.Blobs(3)
    for x in inputs:
        layer(x, training=True)
        caffe.batch_norm(first(x), blobs, caffe.TRAIN, **options)
    return blobs


def same(ours, theirs):
    np.testing.assert_allclose(first(ours), theirs, **CLOSE)


def input_gradient(layer, x, dy, **options):
    """Returns the gradient of `sum(dy * layer(x, **options))` by the inputs of a layer without scale and bias."""
    state = [ops.convert_to_tensor(variable) for variable in layer.non_trainable_variables]

    def total(x):
        return ops.sum(ops.multiply(layer.stateless_call([], state, x, **options)[0], dy))

    return autodiff.gradient(total, x)[0]


def built(layer, shape=(None, 3)):
    layer.build(shape)
    return layer


def moved(layer):
    """Returns the layer with its scale and its bias, as far as it has them, off their start."""
    for name, values in (("scale", GAMMA), ("bias", BETA)):
        if getattr(layer, name, None) is not None:
            getattr(layer, name).assign(values)
    return layer


def continued(layer, inputs):
    """Returns the layer with the statistics of one that was trained, and Caffe's blobs of the same training."""
    donor = keras_norms.BatchNorm(momentum=0.999, **BARE)
    blobs = trained(donor, inputs)
    built(layer).set_weights(donor.get_weights())
    return layer, blobs


# `BatchNorm` and nothing behind it, as in Caffe's cifar10 example: it standardizes, and learns nothing.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("steps", "fraction"), [(1, 0.999), (2, 0.999), (25, 0.95), (25, 0.999)])
def test_same_statistics_and_outputs_after_any_number_of_steps(steps, fraction, shape):
    layer, blobs = keras_norms.BatchNorm(momentum=fraction, epsilon=1e-5, **BARE), caffe.Blobs(3)
    for x in batches(steps, shape):
        expected = caffe.batch_norm(first(x), blobs, caffe.TRAIN, moving_average_fraction=fraction)
        same(layer(x, training=True), expected)
    for ours, theirs in zip(statistics(layer), blobs.statistics(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    (x,) = batches(1, shape, begin=100)
    same(layer(x, training=False), caffe.batch_norm(first(x), blobs, caffe.TEST))


def test_the_three_blobs_are_ours_over_one_minus_the_fraction():
    layer = keras_norms.BatchNorm(momentum=0.95, **BARE)
    blobs = trained(layer, batches(7), moving_average_fraction=0.95)
    ours = (layer.moving_mean, layer.moving_variance, layer.moving_weight)
    for variable, blob in zip(ours, (blobs.mean, blobs.variance, blobs.factor), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable) / 0.05, blob, rtol=1e-4)
    assert blobs.factor == pytest.approx((1 - 0.95**7) / 0.05)


def test_a_plain_average_from_zero_is_something_else():
    layer = keras_norms.BatchNorm(momentum=0.999, **BARE)
    blobs = trained(layer, batches(10))
    mean, _ = statistics(layer)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_mean), 0.01 * mean, rtol=0.01)
    assert blobs.factor == pytest.approx(9.955, abs=1e-3)


def test_of_two_values_the_variance_that_is_kept_is_twice_the_one_that_normalizes():
    layer = keras_norms.BatchNorm(momentum=0.9, **BARE)
    blobs = trained(layer, batches(1, (2, 3)))
    x = batches(1, (2, 3))[0].astype("float64")
    np.testing.assert_allclose(statistics(layer)[1], 2 * x.var(0), rtol=1e-4)
    np.testing.assert_allclose(blobs.statistics()[1], 2 * x.var(0))


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_same_outputs_and_gradients_in_each_phase(phase, shape):
    layer = keras_norms.BatchNorm(momentum=0.999, **BARE)
    blobs = trained(layer, batches(3, shape))
    (x,) = batches(1, shape, begin=50)
    dy = np.random.default_rng(7).normal(size=shape).astype("float32")
    training = phase == caffe.TRAIN
    expected = caffe.batch_norm_gradient(first(x), first(dy), blobs, phase)
    gradient = first(input_gradient(layer, x, dy, training=training))
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    same(layer(x, training=training), caffe.batch_norm(first(x), blobs, phase))


def test_nothing_is_learned():
    assert built(keras_norms.BatchNorm(**BARE)).trainable_weights == []


def test_in_front_of_a_sigmoid():
    layer, blobs = keras_norms.BatchNormBefore("sigmoid", **BARE), caffe.Blobs(3)
    (x,) = batches(1)
    same(layer(x, training=True), 1 / (1 + np.exp(-caffe.batch_norm(first(x), blobs, caffe.TRAIN))))


def test_a_bias_before_it_changes_nothing():
    without, with_bias = (keras_norms.BatchNorm(**BARE) for _ in range(2))
    bias = np.array([3.0, -1.0, 10.0], "float32")
    for x, training in zip(batches(3), (True, True, False), strict=True):
        same(with_bias(np.add(x, bias), training=training), first(without(x, training=training)))


# `BatchNorm`, then `Scale` with `bias_term: true`: the whole of batch normalization.


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_one_layer_and_three_are_the_same(phase):
    (x,) = batches(1, (2, 5, 4, 3), begin=50)
    whole = moved(built(keras_norms.BatchNorm(momentum=0.999), (None, 5, 4, 3)))
    parts = [keras_norms.BatchNorm(momentum=0.999, **BARE), keras_norms.Scale(), keras_norms.Bias()]
    parts = keras.Sequential([keras.Input((5, 4, 3)), *parts])
    for part in parts.layers:
        moved(part)
    for layer in (whole, parts):
        blobs = trained(layer, batches(3, (2, 5, 4, 3)))
        expected = caffe.scale(caffe.batch_norm(first(x), blobs, phase), GAMMA, BETA)
        same(layer(x, training=phase == caffe.TRAIN), expected)


def test_scale_has_no_bias_unless_told():
    layer, blobs = moved(built(keras_norms.BatchNorm(use_bias=False))), caffe.Blobs(3)
    (x,) = batches(1)
    same(layer(x, training=True), caffe.scale(caffe.batch_norm(first(x), blobs, caffe.TRAIN), GAMMA))
    assert [variable.name for variable in layer.trainable_weights] == ["scale"]


def test_num_axes_0_is_one_number_for_all_channels():
    layer = built(keras_norms.Scale(axis=None))
    layer.scale.assign(-1.5)
    (x,) = batches(1)
    same(layer(x), caffe.scale(first(x), -1.5))


def test_behind_the_activation():
    layer, blobs = moved(built(keras_norms.BatchNormAfter("relu"))), caffe.Blobs(3)
    (x,) = batches(1)
    expected = caffe.scale(caffe.batch_norm(np.maximum(first(x), 0), blobs, caffe.TRAIN), GAMMA, BETA)
    same(layer(x, training=True), expected)


# A layer for `phase: TRAIN`, one of the same name for `phase: TEST`, with `use_global_stats` false and true.


def test_one_layer_is_both():
    layer, blobs = keras_norms.BatchNorm(momentum=0.95, **BARE), caffe.Blobs(3)
    options = {"moving_average_fraction": 0.95}
    for x in batches(4):
        same(layer(x, training=True), caffe.batch_norm(first(x), blobs, caffe.TRAIN, False, **options))
        same(layer(x, training=False), caffe.batch_norm(first(x), blobs, caffe.TEST, True, **options))


def test_the_pair_says_what_caffe_does_by_default():
    pair, default = caffe.Blobs(3), caffe.Blobs(3)
    for x in batches(4):
        for phase, flag in ((caffe.TRAIN, False), (caffe.TEST, True)):
            outputs = caffe.batch_norm(first(x), pair, phase, flag), caffe.batch_norm(first(x), default, phase)
            np.testing.assert_array_equal(*outputs)


def test_with_two_names_the_test_net_has_seen_nothing():
    train, test = caffe.Blobs(3), caffe.Blobs(3)
    (x,) = batches(1)
    caffe.batch_norm(first(x), train, caffe.TRAIN, False)
    np.testing.assert_allclose(caffe.batch_norm(first(x), test, caffe.TEST, True), 316.2 * first(x), rtol=1e-4)


def test_two_layers_of_keras_share_nothing_by_name():
    train, test = (keras_norms.BatchNorm(name="norm", use_global_stats=flag, **BARE) for flag in (False, True))
    (x,) = batches(1)
    train(x, training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(test(x)), x, rtol=1e-4)


# `use_global_stats` given, for both phases: the net file of a deployment says true.


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("flag", [None, True, False])
def test_same_outputs_with_every_flag_in_every_phase(flag, training):
    layer, blobs = continued(keras_norms.BatchNorm(momentum=0.999, use_global_stats=flag, **BARE), batches(3))
    phase = caffe.TRAIN if training else caffe.TEST
    (x,) = batches(1, begin=50)
    same(layer(x, training=training), caffe.batch_norm(first(x), blobs, phase, flag))


def test_before_any_training_caffe_multiplies_by_316_and_ours_is_the_identity():
    (x,) = batches(1)
    theirs = caffe.batch_norm(first(x), caffe.Blobs(3), caffe.TRAIN, use_global_stats=True)
    np.testing.assert_allclose(theirs, first(x) / np.sqrt(1e-5))
    ours = keras_norms.BatchNorm(use_global_stats=True, **BARE)(x, training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(ours), x / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_training_does_not_move_them():
    layer = keras_norms.BatchNorm(use_global_stats=True, **BARE)
    blobs = caffe.Blobs(3)
    for x in batches(3):
        layer(x, training=True)
        caffe.batch_norm(first(x), blobs, caffe.TRAIN, use_global_stats=True)
    assert blobs.factor == 0
    assert float(ops.convert_to_numpy(layer.moving_weight)) == 0


def test_gradients_pass_through_a_constant_factor():
    layer, blobs = continued(keras_norms.BatchNorm(momentum=0.999, use_global_stats=True, **BARE), batches(3))
    (x,), dy = batches(1, begin=50), np.random.default_rng(7).normal(size=(16, 3)).astype("float32")
    expected = caffe.batch_norm_gradient(first(x), first(dy), blobs, caffe.TRAIN, use_global_stats=True)
    np.testing.assert_allclose(first(input_gradient(layer, x, dy, training=True)), expected, rtol=1e-4)


def test_false_in_the_test_moves_the_sums_in_caffe_and_not_here():
    layer = keras_norms.BatchNorm(momentum=0.999, use_global_stats=False, **BARE)
    blobs = trained(layer, batches(2), use_global_stats=False)
    (x,) = batches(1, begin=50)
    before = statistics(layer)
    same(layer(x, training=False), caffe.batch_norm(first(x), blobs, caffe.TEST, use_global_stats=False))
    np.testing.assert_array_equal(statistics(layer), before)
    assert np.abs(blobs.statistics()[0] - before[0]).max() > 1e-2


def test_with_frozen_statistics_scale_and_bias_learn():
    layer = built(keras_norms.BatchNorm(use_global_stats=True))
    assert [variable.name for variable in layer.trainable_weights] == ["scale", "bias"]


def test_freeze_is_the_flag_with_a_scale_and_a_bias_that_stay():
    model = keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(momentum=0.999)])
    moved(model.layers[0])
    blobs = trained(model, batches(3))
    frozen, _ = surgery.freeze(model)
    before = [ops.convert_to_numpy(variable) for variable in frozen.variables]
    (x,) = batches(1, begin=50)
    expected = caffe.scale(caffe.batch_norm(first(x), blobs, caffe.TRAIN, use_global_stats=True), GAMMA, BETA)
    same(frozen(x, training=True), expected)
    same(model.layers[0](x, training=False), expected)
    assert frozen.trainable_variables == []
    for variable, value in zip(frozen.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


# Two layers of one net whose `param` have the same names: one layer object, called twice.


def test_two_updates_an_iteration():
    layer, blobs = keras_norms.BatchNorm(momentum=0.9, **BARE), caffe.Blobs(3)
    for left, right in zip(batches(3), batches(3, (4, 3), begin=10), strict=True):
        for x in (left, right):
            expected = caffe.batch_norm(first(x), blobs, caffe.TRAIN, moving_average_fraction=0.9)
            same(layer(x, training=True), expected)
    for ours, theirs in zip(statistics(layer), blobs.statistics(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert float(ops.convert_to_numpy(layer.moving_weight)) == pytest.approx(1 - 0.9**6, rel=1e-5)


def test_both_branches_are_tested_with_the_same_statistics():
    layer, blobs = keras_norms.BatchNorm(momentum=0.9, **BARE), caffe.Blobs(3)
    for x in (*batches(2), *batches(2, begin=10)):
        layer(x, training=True)
        caffe.batch_norm(first(x), blobs, caffe.TRAIN, moving_average_fraction=0.9)
    for x in batches(2, begin=20):
        same(layer(x, training=False), caffe.batch_norm(first(x), blobs, caffe.TEST))


def test_a_functional_model_updates_twice_too():
    layer = keras_norms.BatchNorm(momentum=0.5, **BARE)
    inputs = keras.Input((3,)), keras.Input((3,))
    model = keras.Model(inputs, [layer(branch) for branch in inputs])
    x, z = batches(2)
    model([x, z], training=True)
    assert float(ops.convert_to_numpy(layer.moving_weight)) == pytest.approx(0.75)
    mean = statistics(layer)[0]  # which of the two Keras computes last, is its choice
    orders = [(x.mean(0) + 2 * z.mean(0)) / 3, (z.mean(0) + 2 * x.mean(0)) / 3]
    assert any(np.allclose(mean, order, rtol=1e-4) for order in orders)


def test_gradients_of_both_branches_add_up():
    layer = keras_norms.BatchNorm()
    inputs = keras.Input((3,)), keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Concatenate()([layer(branch) for branch in inputs]))
    x, z = batches(2)
    dy = np.random.default_rng(7).normal(size=(16, 6)).astype("float32")
    scale, bias = autodiff.weight_gradients(model, [x, z], dy, training=True)
    halves = zip((x, z), (dy[:, :3], dy[:, 3:]), strict=True)
    normalized = [(last(caffe.batch_norm(first(one), caffe.Blobs(3), caffe.TRAIN)), half) for one, half in halves]
    np.testing.assert_allclose(scale, sum((y * half).sum(0) for y, half in normalized), **CLOSE)
    np.testing.assert_allclose(bias, sum(half.sum(0) for _, half in normalized), **CLOSE)


def test_scale_and_bias_shared_with_statistics_of_their_own():
    norms = [keras_norms.BatchNorm(momentum=0.9, **BARE) for _ in range(2)]
    scale, bias = moved(built(keras_norms.Scale())), moved(built(keras_norms.Bias()))
    blobs = [caffe.Blobs(3), caffe.Blobs(3)]
    for x, norm, own in zip(batches(2), norms, blobs, strict=True):
        expected = caffe.scale(caffe.batch_norm(first(x), own, caffe.TRAIN), GAMMA, BETA)
        same(bias(scale(norm(x, training=True))), expected)
    for x, norm, own in zip(batches(2, begin=20), norms, blobs, strict=True):
        expected = caffe.scale(caffe.batch_norm(first(x), own, caffe.TEST), GAMMA, BETA)
        same(bias(scale(norm(x, training=False))), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x / np.sqrt(x.var(0) + 1e-5),  # not centred
        lambda x: (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + 1e-5),  # the variance that is kept
        lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-5),  # over the channels, too
    ],
)
def test_batches_tell_wrong_formulas_apart(wrong):
    x = batches(1)[0].astype("float64")
    assert not np.allclose(wrong(x), caffe.batch_norm(x, caffe.Blobs(3), caffe.TRAIN), **CLOSE)
