import keras
import numpy as np
import pytest

import keras_norms
from keras_norms import initializers
from tests.initializers import networks
from tests.reference import weight_normalization as definition

LAYERS = keras.layers
IMAGES, FIRST = (6, 7, 6, 4), (6, 4, 7, 6)
# Layers with their inputs, the axes of the kernel and of the outputs that number the units, in the same order.
KINDS = {
    "dense": (lambda **k: LAYERS.Dense(5, **k), (50, 4), (-1,), (-1,)),
    "dense on places": (lambda **k: LAYERS.Dense(5, **k), (9, 6, 4), (-1,), (-1,)),
    "conv1d, dilated": (lambda **k: LAYERS.Conv1D(5, 2, dilation_rate=2, **k), (6, 9, 4), (-1,), (-1,)),
    "conv2d, strided": (lambda **k: LAYERS.Conv2D(5, 3, strides=2, padding="same", **k), IMAGES, (-1,), (-1,)),
    "conv2d, grouped": (lambda **k: keras_norms.GroupedConv2D(6, 3, groups=2, **k), IMAGES, (-1,), (-1,)),
    "conv3d": (lambda **k: LAYERS.Conv3D(3, 2, **k), (3, 4, 3, 4, 2), (-1,), (-1,)),
    "transposed": (lambda **k: LAYERS.Conv2DTranspose(5, 3, strides=2, **k), IMAGES, (-2,), (-1,)),
    "depthwise": (lambda **k: LAYERS.DepthwiseConv2D(3, depth_multiplier=2, **k), IMAGES, (-2, -1), (-1,)),
    "einsum": (
        lambda **k: LAYERS.EinsumDense("abc,cde->abed", (None, 2, 3), bias_axes="ed", **k),
        (9, 6, 4),
        (-2, -1),
        (-1, -2),
    ),
    "einsum with an ellipsis": (
        lambda **k: LAYERS.EinsumDense("...x,xy->...y", 5, bias_axes="y", **k),
        (9, 6, 4),
        (-1,),
        (-1,),
    ),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def wrapped(kind, **kwargs):
    """Returns a model of one wrapped layer, moved off its start, and the layer."""
    make, shape, _, _ = KINDS[kind]
    layer = keras_norms.WeightNormalization(make(name="inner", **kwargs))
    model = networks.moved(keras.Sequential([keras.Input(shape[1:]), layer]))
    return model, layer


def directed(kind, layer, x):
    """Returns t = v x / ||v|| of a plain layer, units first: those of the kernel in the order of its axes."""
    make, _, kept, units = KINDS[kind]
    plain = make()
    plain.build(x.shape)
    v = networks.numpy(layer.layer.kernel)
    lengths = definition.norm(v, kept)
    assert lengths.min() > 1.5 or lengths.max() < 0.7  # far from 1
    plain.kernel.assign(definition.normalized(v, None, kept))
    plain.bias.assign(np.zeros(plain.bias.shape))
    t = np.moveaxis(np.array(networks.numpy(plain(x)), "float64"), units, range(len(units)))
    return t.reshape(*t.shape[: len(units)], -1)


def statistics(outputs, units=(-1,)):
    y = np.moveaxis(np.array(networks.numpy(outputs), "float64"), units, range(len(units)))
    y = y.reshape(*y.shape[: len(units)], -1)
    return y.mean(-1), y.std(-1)


@kinds
def test_scale_and_bias_are_those_of_the_paper(kind, hostile):
    model, layer = wrapped(kind)
    x = hostile(KINDS[kind][1])
    v = networks.numpy(layer.layer.kernel).copy()
    t = directed(kind, layer, x)
    initializers.weight_norm(model, x, scale=0.7)
    scale, bias = networks.numpy(layer.scales["kernel"]), networks.numpy(layer.layer.bias)
    np.testing.assert_allclose(scale.reshape(t.shape[:-1]), 0.7 / t.std(-1), rtol=1e-4)
    # The bias has the axes of the units in the order of the outputs.
    expected = -t.mean(-1) * 0.7 / t.std(-1)
    expected = expected.T if kind == "einsum" else expected
    np.testing.assert_allclose(bias, expected.reshape(bias.shape), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(networks.numpy(layer.layer.kernel), v)


@kinds
def test_every_unit_has_mean_0_and_deviation_1(kind, hostile):
    model, _ = wrapped(kind)
    x = hostile(KINDS[kind][1])
    row = initializers.weight_norm(model, x)["inner"]
    mean, deviation = statistics(model(x), KINDS[kind][3])
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)
    assert (row.after, row.note) == (pytest.approx(1, abs=1e-4), "")
    assert abs(row.mean) < 1e-4
    assert abs(row.before - 1) > 0.1


def test_formula_of_tensorflow_addons_fails(hostile):
    model, layer = wrapped("dense")
    x = hostile((50, 4))
    v = networks.numpy(layer.layer.kernel).astype("float64")
    raw = x.astype("float64") @ v
    layer.scales["kernel"].assign(1 / raw.std(0))
    layer.layer.bias.assign(-raw.mean(0) / raw.std(0))
    mean, deviation = statistics(model(x))
    np.testing.assert_allclose(deviation, 1 / definition.norm(v), rtol=1e-3)
    assert (abs(deviation - 1) > 0.3).all()
    assert (abs(mean) > 0.01).all()


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_every_layer_sees_the_corrected_outputs_of_those_before(network, hostile):
    model, shape = network(keras_norms.WeightNormalization)
    x = networks.batch(shape, hostile)
    networks.moved(model)
    report = initializers.weight_norm(model, x)
    outputs = networks.outputs(model, x)
    assert [row.layer.split("/")[-1] for row in report.rows] == sorted(outputs)
    for output in outputs.values():
        mean, deviation = statistics(output)
        np.testing.assert_allclose(mean, 0, atol=1e-4)
        np.testing.assert_allclose(deviation, 1, atol=1e-3)


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_second_run_changes_nothing(network, hostile):
    model, shape = network(keras_norms.WeightNormalization)
    x = networks.batch(shape, hostile)
    networks.moved(model)
    initializers.weight_norm(model, x)
    once = networks.values(model)
    initializers.weight_norm(model, x)
    for one, two in zip(once, networks.values(model), strict=True):
        # Sums of convolutions may differ in their last bits from run to run.
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)


def test_layers_have_scales_of_their_own(hostile):
    model, shape = networks.residual(keras_norms.WeightNormalization)
    x = hostile(shape)
    networks.moved(model)
    wrapper = next(layer.name for layer in model.layers if getattr(getattr(layer, "layer", None), "name", "") == "a")
    initializers.weight_norm(model, x, scale={wrapper: 2.0, "b": 0.1, "d": 0})
    deviations = {name: statistics(output)[1] for name, output in networks.outputs(model, x).items()}
    for name, wanted in {"a": 2, "b": 0.1, "c": 1, "d": 0}.items():
        np.testing.assert_allclose(deviations[name], wanted, rtol=1e-3)
    assert not networks.outputs(model, x)["d"].any()


def test_measures_before_a_fused_activation(hostile):
    fused, _ = wrapped("conv2d, strided", activation="relu")
    alone, _ = wrapped("conv2d, strided")
    x = hostile(IMAGES)
    initializers.weight_norm(fused, x)
    initializers.weight_norm(alone, x)
    np.testing.assert_allclose(networks.numpy(fused(x)), np.maximum(networks.numpy(alone(x)), 0), atol=1e-5)


def test_activation_that_is_a_layer_stays_in_its_place(hostile):
    activation = LAYERS.PReLU(alpha_initializer="ones")
    model = keras.Sequential(
        [keras.Input((4,)), keras_norms.WeightNormalization(LAYERS.Dense(3, activation=activation, name="inner"))]
    )
    x = hostile((50, 4))
    model(x)  # builds the activation
    before = len(model.weights)
    initializers.weight_norm(model, x)
    inner = model.layers[0].layer
    assert inner.activation is activation
    assert len(model.weights) == before
    mean, deviation = statistics(model(x))  # the slope is 1
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)


def test_without_bias_the_mean_stays(hostile):
    model = keras.Sequential(
        [keras.Input((4,)), keras_norms.WeightNormalization(LAYERS.Dense(3, use_bias=False, name="inner"))]
    )
    x = hostile((50, 4))
    networks.moved(model)
    row = initializers.weight_norm(model, x)["inner"]
    mean, deviation = statistics(model(x))
    np.testing.assert_allclose(deviation, 1, atol=1e-3)
    assert abs(mean).max() > 0.1
    assert row.note == "mean stays"
    assert row.mean == pytest.approx(mean[abs(mean).argmax()], rel=1e-4)


def test_mean_only_batch_norm_centres_what_the_next_layer_sees(hostile):
    wrap = keras_norms.WeightNormalization
    model = keras.Sequential(
        [
            keras.Input((4,)),
            wrap(LAYERS.Dense(5, use_bias=False, name="a")),
            keras_norms.MeanOnlyBatchNorm(),
            LAYERS.ReLU(),
            wrap(LAYERS.Dense(3, name="b")),
        ]
    )
    networks.moved(model.layers[0])
    x, before = hostile((50, 4)), networks.values(model.layers[1])
    initializers.weight_norm(model, x)
    for ours, theirs in zip(networks.values(model.layers[1]), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    mean, deviation = statistics(model(x, training=True))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)


def test_bias_that_several_units_share_stays(hostile):
    einsum = LAYERS.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="e", name="inner")
    model = keras.Sequential([keras.Input((6, 4)), keras_norms.WeightNormalization(einsum)])
    networks.moved(model)
    bias = networks.numpy(einsum.bias).copy()
    assert initializers.weight_norm(model, hostile((9, 6, 4)))["inner"].note == "mean stays"
    np.testing.assert_array_equal(networks.numpy(einsum.bias), bias)


@pytest.mark.parametrize("offset", [300, 1e4])
def test_large_means_are_removed_as_far_as_the_bias_can(offset):
    x = np.random.default_rng(0).normal(offset, 1, (500, 6)).astype("float32")
    model = networks.moved(keras.Sequential([keras.Input((6,)), keras_norms.WeightNormalization(LAYERS.Dense(5))]))
    report = initializers.weight_norm(model, x)
    layer = model.layers[0]
    mean, deviation = statistics(model(x))
    step = np.spacing(abs(networks.numpy(layer.layer.bias)))
    assert (abs(mean) <= np.maximum(1e-4, step)).all()
    # At 1e4 the numbers are rounded by 1e-3 and more before the bias is added.
    np.testing.assert_allclose(deviation, 1, atol=1e-3 if offset == 300 else 1e-2)
    noted = report.rows[0].note == "as near as rounding allows"
    assert noted == ((abs(mean) > 1e-4).any() or (abs(deviation - 1) > 1e-3).any())


def test_dead_units_keep_what_they_have_and_are_reported(hostile):
    model, layer = wrapped("dense")
    x = hostile((50, 4))
    v = networks.numpy(layer.layer.kernel).copy()
    v[:, 1] = 0
    layer.layer.kernel.assign(v)
    scale, bias = networks.numpy(layer.scales["kernel"]).copy(), networks.numpy(layer.layer.bias).copy()
    row = initializers.weight_norm(model, x)["inner"]
    assert row.note == "1 of 5 units dead"
    assert networks.numpy(layer.scales["kernel"])[1] == scale[1]
    assert networks.numpy(layer.layer.bias)[1] == bias[1]
    mean, deviation = statistics(model(x))
    np.testing.assert_allclose(np.delete(mean, 1), 0, atol=1e-4)
    np.testing.assert_allclose(np.delete(deviation, 1), 1, atol=1e-3)


@pytest.mark.parametrize("step", [0, 1])
def test_batch_that_varies_by_rounding_alone_leaves_a_dead_layer_as_it_is(step):
    model, layer = wrapped("dense")
    layer.layer.kernel.assign(abs(networks.numpy(layer.layer.kernel)))
    before = networks.values(model)
    x = np.full((60, 4), 7, "float32")
    x[::2] += step * np.spacing(x[0])
    row = initializers.weight_norm(model, x)["inner"]
    assert (row.note, row.rescales) == ("dead", 0)
    for ours, theirs in zip(networks.values(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_channels_first(hostile):
    layer = keras_norms.WeightNormalization(LAYERS.Conv2D(5, 3, data_format="channels_first"))
    model = networks.moved(keras.Sequential([keras.Input(FIRST[1:]), layer]))
    x = hostile(FIRST, axis=1)
    initializers.weight_norm(model, x)
    mean, deviation = statistics(model(x), (1,))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)


def test_pointwise_kernel_of_a_separable_convolution_is_initialized(hostile):
    layer = keras_norms.WeightNormalization(
        LAYERS.SeparableConv2D(5, 3, depth_multiplier=2, name="inner"), ["depthwise_kernel", "pointwise_kernel"]
    )
    model = networks.moved(keras.Sequential([keras.Input(IMAGES[1:]), layer]))
    depthwise = networks.numpy(layer.scales["depthwise_kernel"]).copy()
    x = hostile(IMAGES)
    assert initializers.weight_norm(model, x)["inner"].shape == (1, 1, 8, 5)
    mean, deviation = statistics(model(x))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)
    np.testing.assert_array_equal(networks.numpy(layer.scales["depthwise_kernel"]), depthwise)


def test_wrapped_around_other_wrappers(hostile):
    inner = keras_norms.WeightNormalization(LAYERS.SeparableConv2D(5, 3, name="inner"), "pointwise_kernel")
    model = keras.Sequential([keras.Input(IMAGES[1:]), keras_norms.WeightNormalization(inner, "depthwise_kernel")])
    networks.moved(model)
    x = hostile(IMAGES)
    assert len(initializers.weight_norm(model, x).rows) == 1
    mean, deviation = statistics(model(x))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)


def test_scale_that_acts_is_set_where_two_wrappers_normalize_a_kernel(hostile):
    inner = keras_norms.WeightNormalization(LAYERS.Dense(3, name="inner"))
    outer = keras_norms.WeightNormalization(inner)
    model = networks.moved(keras.Sequential([keras.Input((4,)), outer]))
    x, before = hostile((50, 4)), networks.numpy(outer.scales["kernel"]).copy()
    row = initializers.weight_norm(model, x)["inner"]
    mean, deviation = statistics(model(x))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)
    assert (row.after, row.note) == (pytest.approx(1, abs=1e-4), "")
    np.testing.assert_array_equal(networks.numpy(outer.scales["kernel"]), before)


def test_what_rounding_cannot_explain_is_not_called_rounding():
    class Bounded(LAYERS.Dense):
        def call(self, inputs):
            return keras.ops.tanh(super().call(inputs))

    model = keras.Sequential([keras.Input((4,)), keras_norms.WeightNormalization(Bounded(3, name="inner"))])
    # Alive: in the middle of tanh.
    row = initializers.weight_norm(model, np.random.default_rng(0).normal(size=(50, 4)).astype("float32"))["inner"]
    assert row.after < 1 - 1e-3
    assert row.note == "mean or deviation not reached"


@pytest.mark.parametrize(("data_format", "axis"), [("channels_last", 3), ("channels_first", 2)])
def test_all_steps_of_time_distributed_layers_are_measured(data_format, axis, hostile):
    convolution = LAYERS.Conv1D(4, 2, data_format=data_format, name="inner")
    layer = LAYERS.TimeDistributed(keras_norms.WeightNormalization(convolution))
    x = np.moveaxis(hostile((5, 3, 6, 2)), -1, axis) * np.arange(1, 4).reshape(1, 3, 1, 1).astype("float32")
    model = networks.moved(keras.Sequential([keras.Input(x.shape[1:]), layer]))
    initializers.weight_norm(model, x)
    mean, deviation = statistics(model(x), (axis,))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)


SKIPPED = {
    "Embedding": (lambda: keras_norms.WeightNormalization(LAYERS.Embedding(9, 3), "embeddings"), (5,), "Embedding"),
    "LSTM": (
        lambda: keras_norms.WeightNormalization(LAYERS.LSTM(3), ["cell.kernel", "cell.recurrent_kernel"]),
        (5, 2),
        "LSTM",
    ),
    "strict": (lambda: keras_norms.WeightNormalization(LAYERS.Dense(3), use_scale=False), (4,), "use_scale"),
    "frozen": (lambda: keras_norms.WeightNormalization(LAYERS.Dense(3), trainable=False), (4,), "not trainable"),
    "one norm": (lambda: keras_norms.WeightNormalization(LAYERS.Dense(3), axis=()), (4,), "axis"),
    "other axis": (lambda: keras_norms.WeightNormalization(LAYERS.Dense(3), axis=0), (4,), "axis"),
    "bias": (lambda: keras_norms.WeightNormalization(LAYERS.Dense(3), "bias"), (4,), "not normalized"),
    "spectral": (
        lambda: keras_norms.WeightNormalization(LAYERS.SpectralNormalization(LAYERS.Dense(3)), "layer.kernel"),
        (4,),
        "SpectralNormalization",
    ),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_cannot_be_initialized_is_reported_and_stays(name):
    make, shape, words = SKIPPED[name]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make()(inputs))
    for weight in model.weights:
        weight.assign(weight + 0.25)
    before = networks.values(model)
    report = initializers.weight_norm(model, np.random.default_rng(0).integers(0, 9, (6, *shape)).astype("float32"))
    assert len(report.rows) == 1
    assert report.rows[0].note.startswith("skipped: ")
    assert words in report.rows[0].note
    for ours, theirs in zip(networks.values(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("policy", "step"), [("mixed_float16", 2**-10), ("mixed_bfloat16", 2**-7)])
def test_mixed_precision(policy, step, hostile):
    keras.config.set_dtype_policy(policy)
    model, layer = wrapped("dense")
    initializers.weight_norm(model, hostile((500, 4)))
    mean, deviation = statistics(model(hostile((500, 4))))
    # The mean is what the bias, the largest number of all, leaves when it is rounded.
    assert (abs(mean) <= step * np.maximum(1, abs(networks.numpy(layer.layer.bias)))).all()
    np.testing.assert_allclose(deviation, 1, atol=5 * step)
    assert layer.scales["kernel"].dtype == "float32"


@pytest.mark.parametrize("inside", [False, True])
def test_replicas_get_the_same_values(inside, strategy, hostile):
    with strategy.scope():
        model, _ = wrapped("conv2d, strided")
        before = networks.values(model)
        if inside:
            initializers.weight_norm(model, hostile(IMAGES))
    if not inside:
        initializers.weight_norm(model, hostile(IMAGES))
    mean, deviation = statistics(model(hostile(IMAGES)))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-3)
    for weight, value in zip(model.weights, before, strict=True):
        first, second = (replica.numpy() for replica in weight.value.values)
        np.testing.assert_array_equal(first, second)
        assert (first != value).any() == (weight.name != "kernel")


@pytest.mark.parametrize(
    ("scale", "words"),
    [(-1.0, "`scale`"), ("one", "`scale`"), ({"c": 1.0}, "'c'"), ({"b": -0.5}, "-0.5"), ({"b": True}, "True")],
)
def test_scale_must_be_numbers_of_layers(scale, words, hostile):
    model, shape = networks.sequential(keras_norms.WeightNormalization)
    before = networks.values(model)
    with pytest.raises(ValueError, match=words):
        initializers.weight_norm(model, hostile(shape), scale=scale)
    for ours, theirs in zip(networks.values(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_model_without_such_layers_is_refused(hostile):
    model, shape = networks.sequential(networks.plain)
    with pytest.raises(ValueError, match="WeightNormalization"):
        initializers.weight_norm(model, hostile(shape))
