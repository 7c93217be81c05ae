import keras
import numpy as np
import pytest

import keras_norms
from keras_norms import initializers, models
from tests.initializers import networks

LAYERS = keras.layers
IMAGES = (6, 7, 6, 4)
KINDS = {
    "dense": (lambda **k: LAYERS.Dense(5, **k), (50, 4)),
    "conv1d, dilated": (lambda **k: LAYERS.Conv1D(5, 2, dilation_rate=2, **k), (6, 9, 4)),
    "conv2d, strided": (lambda **k: LAYERS.Conv2D(40, 3, strides=2, padding="same", **k), IMAGES),
    "conv2d, grouped": (lambda **k: keras_norms.GroupedConv2D(6, 3, groups=2, **k), IMAGES),
    "transposed": (lambda **k: LAYERS.Conv2DTranspose(5, 3, strides=2, **k), IMAGES),
    "depthwise": (lambda **k: LAYERS.DepthwiseConv2D(3, depth_multiplier=2, **k), IMAGES),
    "separable": (lambda **k: LAYERS.SeparableConv2D(5, 3, depth_multiplier=2, **k), IMAGES),
    "einsum": (lambda **k: LAYERS.EinsumDense("abc,cde->abed", (None, 2, 3), bias_axes="ed", **k), (9, 6, 4)),
    "all steps of time": (lambda **k: LAYERS.TimeDistributed(LAYERS.Dense(3, **k)), (7, 3, 4)),
}
# The axes that number the filters.
FILTERS = {"transposed": (-2,), "depthwise": (-2, -1), "einsum": (-2, -1)}


def single(make, shape):
    """Returns a model of one layer, moved off its start but for the bias."""
    layer = make(name="inner")
    model = networks.moved(keras.Sequential([keras.Input(shape[1:]), layer]))
    linear = networks.linear_layers.base(layer)
    if linear.bias is not None:
        linear.bias.assign(np.zeros(linear.bias.shape))
    return model, layer


def norms(kernel, kept):
    kernel = np.moveaxis(networks.numpy(kernel), kept, range(len(kept)))
    return np.sqrt((kernel.reshape(*kernel.shape[: len(kept)], -1) ** 2).sum(-1))


@pytest.mark.parametrize("kind", KINDS)
def test_variance_becomes_1_by_one_division_of_orthonormal_filters(kind, hostile):
    make, shape = KINDS[kind]
    model, layer = single(make, shape)
    x = hostile(shape)
    before = networks.numpy(model(x)).astype("float64").var()
    row = initializers.lsuv(model, x, tolerance=1e-4)["inner"]
    after = networks.numpy(model(x)).astype("float64")
    assert row.before == pytest.approx(before, rel=1e-4)
    assert (after.var(), row.after) == (pytest.approx(1, abs=1e-4), pytest.approx(after.var(), abs=1e-6))
    assert row.mean == pytest.approx(after.mean(), abs=1e-4)
    assert (row.rescales, row.note) == (1, "")
    linear = networks.linear_layers.base(layer)
    lengths = norms(linear.pointwise_kernel if kind == "separable" else linear.kernel, FILTERS.get(kind, (-1,)))
    np.testing.assert_allclose(lengths, lengths.flat[0], rtol=1e-5)
    if kind == "separable":
        np.testing.assert_allclose(norms(linear.depthwise_kernel, (-2, -1)), 1, rtol=1e-5)


def test_whole_output_counts_with_one_mean_of_all(hostile):
    model, layer = single(*KINDS["dense"])
    layer.kernel.assign(abs(networks.numpy(layer.kernel)))
    x = hostile((50, 4))
    initializers.lsuv(model, x, orthonormal=False, tolerance=1e-4)
    y = networks.numpy(model(x)).astype("float64")
    assert abs(y.var() - 1) < 1e-4
    assert abs(y.var(0).mean() - 1) > 0.05  # the mean of each channel removed
    assert abs((y**2).mean() - 1) > 0.05  # none


@pytest.mark.parametrize("wrap", [networks.plain, keras_norms.WeightNormalization])
@pytest.mark.parametrize("network", networks.NETWORKS)
def test_every_layer_sees_the_corrected_outputs_of_those_before(network, wrap, hostile):
    model, shape = network(wrap)
    x = networks.batch(shape, hostile)
    report = initializers.lsuv(model, x, tolerance=1e-4)
    outputs = networks.outputs(model, x)
    assert [row.layer.split("/")[-1] for row in report.rows] == sorted(outputs)
    for name, output in outputs.items():
        assert abs(output.var() - 1) <= 0.02, name
        assert report[name].after == pytest.approx(output.var(), abs=1e-4)


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_second_run_with_the_kernels_there_are_changes_nothing(network, hostile):
    model, shape = network(networks.plain)
    x = networks.batch(shape, hostile)
    initializers.lsuv(model, x)
    once = networks.values(model)
    report = initializers.lsuv(model, x, orthonormal=False)
    assert {row.rescales for row in report.rows} == {0}
    for one, two in zip(once, networks.values(model), strict=True):
        np.testing.assert_array_equal(two, one)


def test_kernels_that_are_to_keep_their_values_are_divided_alone(hostile):
    model, layer = single(*KINDS["conv2d, strided"])
    x, kernel = hostile(IMAGES), networks.numpy(layer.kernel).copy()
    deviation = networks.numpy(model(x)).astype("float64").std()
    initializers.lsuv(model, x, orthonormal=False, tolerance=1e-4)
    np.testing.assert_allclose(networks.numpy(layer.kernel), kernel / deviation, rtol=1e-4)


def test_scale_of_weight_normalization_is_divided_and_v_is_not(hostile):
    layer = keras_norms.WeightNormalization(LAYERS.Conv2D(5, 3, name="inner"))
    model = networks.moved(keras.Sequential([keras.Input(IMAGES[1:]), layer]))
    layer.layer.bias.assign(np.zeros(5))
    x = hostile(IMAGES)
    v, scale = networks.numpy(layer.layer.kernel).copy(), networks.numpy(layer.scales["kernel"]).copy()
    deviation = networks.numpy(model(x)).astype("float64").std()
    initializers.lsuv(model, x, orthonormal=False, tolerance=1e-4)
    np.testing.assert_array_equal(networks.numpy(layer.layer.kernel), v)
    np.testing.assert_allclose(networks.numpy(layer.scales["kernel"]), scale / deviation, rtol=1e-4)
    initializers.lsuv(model, x, tolerance=1e-4)
    np.testing.assert_allclose(norms(layer.layer.kernel, (-1,)), 1, rtol=1e-5)
    scale = networks.numpy(layer.scales["kernel"])
    np.testing.assert_allclose(scale, scale[0], rtol=1e-5)
    assert abs(networks.numpy(model(x)).astype("float64").var() - 1) < 1e-4


def test_bias_stays_and_takes_no_part(hostile):
    model, layer = single(*KINDS["dense"])
    x, bias = hostile((50, 4)), np.array([-30, 5, 0, 1, 80], "float32")
    layer.bias.assign(bias)
    assert initializers.lsuv(model, x, tolerance=1e-4)["inner"].rescales == 1
    np.testing.assert_array_equal(networks.numpy(layer.bias), bias)
    assert abs((networks.numpy(model(x)).astype("float64") - bias).var() - 1) < 1e-4


@pytest.mark.parametrize("seed", [0, 1])
def test_seed_draws_the_kernels(seed, hostile):
    def kernels(seed):
        model, shape = networks.sequential(networks.plain)
        initializers.lsuv(model, hostile(shape), seed=seed, tolerance=1e-4)
        return networks.values(model)

    for one, two, other in zip(kernels(seed), kernels(seed), kernels(seed + 1), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
        assert one.ndim == 1 or abs(one - other).max() > 1e-3


def test_tolerance_and_iterations_are_limits(hostile):
    model, _ = single(*KINDS["dense"])
    x = hostile((50, 4))
    initializers.lsuv(model, x)
    model.layers[0].kernel.assign(networks.numpy(model.layers[0].kernel) * 1.04)  # a variance of 1.08
    before = networks.values(model)
    row = initializers.lsuv(model, x, orthonormal=False, tolerance=0.1)["inner"]
    assert (row.rescales, row.note) == (0, "")
    row = initializers.lsuv(model, x, orthonormal=False, iterations=0)["inner"]
    assert (row.rescales, row.note) == (0, "variance not within 0.02 of 1")
    for ours, theirs in zip(networks.values(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert initializers.lsuv(model, x, orthonormal=False)["inner"].rescales == 1


@pytest.mark.parametrize("wrap", [networks.plain, keras_norms.WeightNormalization])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "hard_sigmoid"])
def test_activation_that_saturates_ends_with_the_best_kernel_seen(activation, wrap, hostile):
    layer = wrap(LAYERS.Dense(8, activation, name="inner"))
    model = keras.Sequential([keras.Input((4,)), layer])
    x = hostile((50, 4))
    row = initializers.lsuv(model, x, activation={"inner": activation})["inner"]
    assert row.note == "variance not within 0.02 of 1, and another rescale brings it at most a tenth nearer"
    outputs = networks.numpy(model(x)).astype("float64")
    assert (row.after, row.mean) == (pytest.approx(outputs.var(), rel=1e-4), pytest.approx(outputs.mean(), rel=1e-4))
    length = networks.linear_layers.scale(layer)
    length = networks.linear_layers.kernel(layer) if length is None else length
    assert row.rescales < 5
    assert abs(networks.numpy(length)).max() < 20


def test_activation_that_saturates_does_not_drive_the_variance_away():
    x = np.random.default_rng(0).normal(2, 3, (256, 16)).astype("float32")
    model = keras.Sequential([keras.Input((16,)), LAYERS.Dense(8, "sigmoid", name="inner")])
    start = initializers.lsuv(model, x, activation="sigmoid", iterations=0, seed=1)["inner"].after
    row = initializers.lsuv(model, x, activation="sigmoid", seed=1)["inner"]
    assert start <= row.after <= 0.25
    assert abs(networks.numpy(model.layers[0].kernel)).max() < 10


@pytest.mark.parametrize("fused", [None, "relu", "tanh"])
def test_measures_before_a_fused_activation_or_behind_the_one_given(fused, hostile):
    model = keras.Sequential([keras.Input((4,)), LAYERS.Dense(5, activation=fused, name="inner")])
    x = hostile((50, 4))
    initializers.lsuv(model, x, tolerance=1e-4)
    linear = x.astype("float64") @ networks.numpy(model.layers[0].kernel)
    assert abs(linear.var() - 1) < 1e-4
    for activation in ("relu", keras.activations.relu, {"inner": "relu"}):
        initializers.lsuv(model, x, activation=activation, tolerance=1e-4)
        linear = x.astype("float64") @ networks.numpy(model.layers[0].kernel)
        assert abs(np.maximum(linear, 0).var() - 1) < 0.02
    assert model.layers[0].activation is keras.activations.get(fused)


def test_dead_layers_are_reported_and_never_divided(hostile):
    inputs = keras.Input((4,))
    dead = LAYERS.Dense(3, name="dead")(LAYERS.Rescaling(0.0)(inputs))
    alive = LAYERS.Dense(3, name="alive")(inputs)
    constant = LAYERS.Dense(2, name="after")(LAYERS.Rescaling(0.0, 7.0)(dead))
    model = keras.Model(inputs, [alive, constant])
    report = initializers.lsuv(model, hostile((20, 4)))
    assert (report["dead"].note, report["dead"].rescales, report["dead"].after) == ("dead", 0, 0)
    assert report["alive"].after == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(norms(model.get_layer("dead").kernel, (-1,)), 1, rtol=1e-5)
    assert all(np.isfinite(value).all() for value in networks.values(model))


def test_outputs_that_vary_by_rounding_alone_are_dead():
    model, layer = single(*KINDS["dense"])
    layer.kernel.assign(np.ones(layer.kernel.shape))
    x = np.full((60, 4), 7, "float32")
    x[::2] += np.spacing(x[0])
    assert initializers.lsuv(model, x, orthonormal=False)["inner"].note == "dead"
    np.testing.assert_array_equal(networks.numpy(layer.kernel), 1)


def test_shared_layer_is_calibrated_at_its_first_use(hostile):
    model, shape = networks.shared(networks.plain)
    x = hostile(shape)
    report = initializers.lsuv(model, x, tolerance=1e-4)
    assert len(report.rows) == 2
    first = networks.numpy(model.get_layer("a")(x)).astype("float64")
    assert abs(first.var() - 1) < 1e-4
    second = networks.numpy(model.get_layer("a")(first.astype("float32"))).astype("float64")
    assert abs(second.var() - 1) > 0.02


def test_scale_that_acts_is_divided_where_two_wrappers_normalize_a_kernel(hostile):
    inner = keras_norms.WeightNormalization(LAYERS.Dense(3, name="inner"))
    outer = keras_norms.WeightNormalization(inner)
    model = networks.moved(keras.Sequential([keras.Input((4,)), outer]))
    inner.layer.bias.assign(np.zeros(3))
    x, before = hostile((50, 4)), networks.numpy(outer.scales["kernel"]).copy()
    row = initializers.lsuv(model, x, orthonormal=False, tolerance=1e-4)["inner"]
    assert (row.rescales, row.note) == (1, "")
    assert networks.numpy(model(x)).astype("float64").var() == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(networks.numpy(outer.scales["kernel"]), before)


def test_dropout_is_off(hostile):
    model = keras.Sequential([keras.Input((6,)), LAYERS.Dropout(0.9), LAYERS.Dense(4, name="inner")])
    x = hostile((50, 6))
    initializers.lsuv(model, x, tolerance=1e-4)
    assert abs(networks.numpy(model(x)).astype("float64").var() - 1) < 1e-4


@pytest.mark.parametrize("norm", [keras_norms.BatchNorm, LAYERS.BatchNormalization])
def test_batch_norm_normalizes_as_in_training_and_its_statistics_stay(norm, hostile):
    model = keras.Sequential(
        [keras.Input((6,)), LAYERS.Dense(5, name="a"), norm(), LAYERS.ReLU(), LAYERS.Dense(4, name="b")]
    )
    for weight in model.layers[1].weights:
        weight.assign(weight + 0.5)
    x, before = hostile((50, 6)), [networks.numpy(v).copy() for v in model.layers[1].weights]
    initializers.lsuv(model, x, tolerance=1e-4)
    assert abs(networks.outputs(model, x)["b"].var() - 1) > 0.05  # the moving statistics are others
    for ours, theirs in zip(model.layers[1].weights, before, strict=True):
        np.testing.assert_array_equal(networks.numpy(ours), theirs)
    assert abs(networks.outputs(model, x, training=True)["b"].var() - 1) < 1e-3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LAYERS.Dense(3, name="inner", trainable=False), "not trainable"),
        (
            lambda: keras_norms.WeightNormalization(LAYERS.Dense(3, name="inner"), use_scale=False),
            "use_scale=False",
        ),
        (lambda: LAYERS.SpectralNormalization(LAYERS.Dense(3, name="inner")), "SpectralNormalization"),
    ],
)
def test_what_has_no_length_to_set_is_skipped_and_reported(make, words, hostile):
    model = networks.moved(keras.Sequential([keras.Input((4,)), make(), LAYERS.Dense(2, name="next")]))
    before, x = networks.values(model.layers[0]), hostile((50, 4))
    report = initializers.lsuv(model, x, tolerance=1e-4)
    assert report["inner"].note.startswith("skipped: ")
    assert words in report["inner"].note
    assert report["next"].after == pytest.approx(1, abs=1e-4)
    for ours, theirs in zip(networks.values(model.layers[0]), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_layers_of_a_network_in_time_distributed_are_on_their_own(hostile):
    inner = keras.Sequential([keras.Input((4,)), LAYERS.Dense(5, name="a"), LAYERS.Dense(3, name="b")])
    model = keras.Sequential([keras.Input((2, 4)), LAYERS.TimeDistributed(inner)])
    x = hostile((30, 2, 4))
    initializers.lsuv(model, x, tolerance=1e-4)
    assert abs(networks.numpy(inner(x[:, 0])).astype("float64").var() - 1) < 1e-4


@pytest.mark.parametrize(("policy", "step"), [("mixed_float16", 2**-10), ("mixed_bfloat16", 2**-7)])
def test_mixed_precision(policy, step, hostile):
    keras.config.set_dtype_policy(policy)
    model, layer = single(*KINDS["conv2d, strided"])
    initializers.lsuv(model, hostile(IMAGES))
    # Numbers rounded at each product have a variance that is off by a few steps.
    variance = networks.numpy(keras.ops.cast(model(hostile(IMAGES)), "float32")).astype("float64").var()
    assert abs(variance - 1) <= 0.02 + 4 * step
    kernel = networks.numpy(layer.kernel)
    assert kernel.dtype == "float32"
    assert (kernel.astype("float16") != kernel).mean() > 0.9  # and not rounded


@pytest.mark.parametrize("inside", [False, True])
def test_replicas_get_the_same_values(inside, strategy, hostile):
    with strategy.scope():
        inputs = keras.Input(IMAGES[1:])
        x = keras_norms.BatchNorm(synchronized=True)(LAYERS.Conv2D(5, 3, use_bias=False)(inputs))
        last = keras_norms.WeightNormalization(LAYERS.Conv2D(4, 3, use_bias=False))
        model = networks.moved(keras.Model(inputs, last(x)), spread=0.5)
        before = networks.values(model)
        if inside:
            initializers.lsuv(model, hostile(IMAGES))
    if not inside:
        initializers.lsuv(model, hostile(IMAGES))
    outputs = networks.outputs(model, hostile(IMAGES), training=True)
    assert all(abs(output.var() - 1) < 0.03 for output in outputs.values())
    for weight, value in zip(model.weights, before, strict=True):
        first, second = (replica.numpy() for replica in weight.value.values)
        if weight.name in ("kernel", "kernel_scale"):
            np.testing.assert_array_equal(first, second)
            assert (first != value).any()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("caffenet128", {"input_shape": (64, 64, 3), "classes": 10}), ("resnet20", {})],
)
def test_networks_of_the_package(name, arguments):
    if name == "caffenet128" and keras.backend.backend() == "jax":
        pytest.skip("takes a minute: QR decompositions of 2048 x 2048 by LAPACK")
    model = models.build(name, **arguments)
    x = np.random.default_rng(0).normal(5, 3, (8, *model.input_shape[1:])).astype("float32")
    report = initializers.lsuv(model, x)
    linear = [layer for layer in model.layers if isinstance(layer, LAYERS.Dense | LAYERS.Conv2D)]
    assert [row.layer for row in report.rows] == [layer.name for layer in linear]
    outputs = keras.Model(model.input, [layer.output for layer in linear])(x, training=False)
    for layer, output in zip(linear, outputs, strict=True):
        output = networks.numpy(output).astype("float64") - networks.numpy(layer.bias if layer.use_bias else 0)
        assert abs(output.var() - 1) < 0.02, layer.name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tolerance": 0}, "`tolerance`"),
        ({"iterations": -1}, "`iterations`"),
        ({"orthonormal": "yes"}, "`orthonormal`"),
        ({"activation": "no_such_activation"}, "no_such_activation"),
        ({"activation": {"c": "relu"}}, "'c'"),
    ],
)
def test_arguments_are_checked_before_anything(arguments, words, hostile):
    model, shape = networks.sequential(networks.plain)
    before = networks.values(model)
    with pytest.raises(ValueError, match=words):
        initializers.lsuv(model, hostile(shape), **arguments)
    for ours, theirs in zip(networks.values(model), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_model_without_such_layers_is_refused(hostile):
    with pytest.raises(ValueError, match="dense layer or convolution"):
        initializers.lsuv(keras.Sequential([keras.Input((4,)), LAYERS.ReLU()]), hostile((5, 4)))


def test_layers_inside_other_layers_are_calibrated(hostile):
    attention = LAYERS.MultiHeadAttention(2, 3, name="attention")
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, keras_norms.NormProp(LAYERS.Dense(3, name="own"), "relu")(attention(inputs, inputs)))
    report = initializers.lsuv(model, hostile((6, 5, 4)))
    assert [row.layer for row in report.rows[:4]] == [
        f"attention/{name}" for name in ("query", "key", "value", "attention_output")
    ]
    assert [row.after for row in report.rows[:4]] == pytest.approx([1] * 4, abs=0.02)
    assert report["own"].note == "skipped: NormProp decides on its weights"
