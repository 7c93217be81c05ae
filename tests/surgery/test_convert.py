import keras
import numpy as np
import pytest

import keras_norms
from keras_norms.surgery import convert
from tests.surgery.moved import moved, values

SOURCES = {
    "BatchNorm": keras_norms.BatchNorm,
    "GhostBatchNorm": lambda **kwargs: keras_norms.GhostBatchNorm(2, **kwargs),
    "BatchRenorm": lambda **kwargs: keras_norms.BatchRenorm(3, 5, **kwargs),
    "BatchNormBefore": lambda **kwargs: keras_norms.BatchNormBefore(keras_norms.PReLU(), **kwargs),
    "BatchNormAfter": lambda **kwargs: keras_norms.BatchNormAfter(keras_norms.PReLU(), **kwargs),
    "keras": keras.layers.BatchNormalization,
    "keras renorm": lambda **kwargs: keras.layers.BatchNormalization(renorm=True, **kwargs),
}
EXACT = {
    "batch_norm": {},
    "keras_batch_norm": {},
    "ghost_batch_norm": {"ghost_batch_size": 4},
    "batch_renorm": {"maximum_scale": 3, "maximum_shift": 5},
}
OTHERS = {
    "group_norm": (keras_norms.GroupNorm, {"groups": 2}),
    "layer_norm": (keras_norms.LayerNorm, {}),
    "instance_norm": (keras_norms.InstanceNorm, {"epsilon": 0.25}),
    "rms_norm": (keras_norms.RMSNorm, {"use_bias": True}),
    "filter_response_norm": (keras_norms.FilterResponseNorm, {}),
}
SHAPE = (3, 3, 4)


def with_norm(norm, shape=SHAPE):
    model = moved(keras.Sequential([keras.Input(shape), norm, keras.layers.Conv2D(2, 2, name="conv")]))
    if hasattr(norm, "scale_limit"):
        norm.scale_limit.assign(3.0)
    return model


def outputs(model, x, **kwargs):
    return keras.ops.convert_to_numpy(model(x, **kwargs))


def assert_same(new, model, x):
    expected = outputs(model, x, training=False)
    np.testing.assert_allclose(outputs(new, x, training=False), expected, rtol=1e-6, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("to", EXACT)
@pytest.mark.parametrize("source", SOURCES)
def test_within_the_family_outputs_in_inference_stay(source, to, hostile):
    model = with_norm(SOURCES[source](name="norm", epsilon=0.02))
    new, report = convert(model, to, **EXACT[to])
    assert_same(new, model, hostile((6, *SHAPE)))
    if report.done:
        assert "same outputs in inference" in report["norm"].reason
        kind = "keras.layers.BatchNormalization" if to == "keras_batch_norm" else to.replace("_", "")
        assert kind.lower() in report["norm"].done.lower()
        assert type(new.get_layer("norm")) is not type(model.get_layer("norm"))
    else:
        assert "already" in report["norm"].reason


@pytest.mark.parametrize(
    ("source", "to"),
    [
        ("BatchNorm", "batch_norm"),
        ("BatchNormAfter", "batch_norm"),
        ("keras", "keras_batch_norm"),
        ("BatchRenorm", "batch_renorm"),
        ("GhostBatchNorm", "ghost_batch_norm"),
        ("keras renorm", "keras_batch_norm"),
    ],
)
def test_what_it_is_already_stays(source, to):
    model = with_norm(SOURCES[source](name="norm"))
    new, report = convert(model, to, **EXACT[to])
    assert "already" in report["norm"].reason
    assert type(new.get_layer("norm")) is type(model.get_layer("norm"))


def test_keras_and_back_keeps_all_there_is():
    options = {
        "gamma_initializer": keras.initializers.Constant(0.5),
        "beta_regularizer": keras.regularizers.L2(0.01),
        "gamma_constraint": keras.constraints.NonNeg(),
    }
    own = keras.layers.BatchNormalization(
        axis=1, momentum=0.7, epsilon=0.02, name="norm", dtype="mixed_bfloat16", **options
    )
    model = with_norm(own)
    ours, _ = convert(model, "batch_norm")
    norm = ours.get_layer("norm")
    assert (norm.axis, norm.momentum, norm.epsilon, norm.dtype_policy.name) == (1, 0.7, 0.02, "mixed_bfloat16")
    assert (norm.scale_initializer.value, norm.bias_regularizer.l2) == (0.5, pytest.approx(0.01))
    assert isinstance(norm.scale_constraint, keras.constraints.NonNeg)
    assert float(norm.moving_weight) == 1.0
    again = convert(ours, "keras_batch_norm")[0].get_layer("norm")
    assert again.get_config() == own.get_config()
    for value, old in zip(values(again), values(own), strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.parametrize(
    "options", [{"use_scale": False}, {"use_bias": False}, {"use_scale": False, "use_bias": False}]
)
@pytest.mark.parametrize("to", ["keras_batch_norm", "group_norm", "rms_norm"])
def test_a_scale_or_bias_that_is_not_there_is_not_made(options, to, hostile):
    model = with_norm(keras_norms.BatchNorm(name="norm", **options))
    new, _ = convert(model, to, **({"groups": 2} if to == "group_norm" else {}))
    assert len(new.get_layer("norm").trainable_variables) == 2 - len(options)
    if to == "keras_batch_norm":
        assert_same(new, model, hostile((6, *SHAPE)))
        assert_same(convert(new, "batch_norm")[0], model, hostile((6, *SHAPE)))


def test_averages_that_have_seen_nothing_read_so():
    model = keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(name="norm")])
    norm = convert(model, "keras_batch_norm")[0].get_layer("norm")
    assert [*np.ravel(norm.moving_mean), *np.ravel(norm.moving_variance)] == [0, 0, 0, 1, 1, 1]
    ghost = convert(model, "ghost_batch_norm", ghost_batch_size=2)[0].get_layer("norm")
    assert float(ghost.moving_weight) == 0.0


def test_training_goes_on_as_it_would_have(hostile):
    x = hostile((8, 3))
    model = moved(keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(momentum=0.6, name="norm")]))
    new, _ = convert(model, "ghost_batch_norm", ghost_batch_size=8)
    for each in (model, new):
        each(x, training=True)
    for value, old in zip(values(new), values(model), strict=True):
        np.testing.assert_allclose(value, old, rtol=1e-5)


@pytest.mark.parametrize("source", ["BatchNorm", "keras", "BatchNormAfter"])
@pytest.mark.parametrize("to", OTHERS)
def test_another_normalization_takes_scale_and_bias(source, to, hostile):
    x = hostile((6, *SHAPE))
    kind, options = OTHERS[to]
    model = with_norm(SOURCES[source](name="norm"))
    given = {name: value for name, value in options.items() if name != "use_bias"}
    new, report = convert(model, to, **given)
    norm = new.get_layer("norm")
    assert type(norm) is kind
    for value, old in zip(values(norm)[:2], values(model.get_layer("norm"))[:2], strict=True):
        np.testing.assert_array_equal(value, old)
    alone = kind(**options)
    alone.build((None, *SHAPE))
    alone.set_weights(norm.get_weights())
    activated = model.get_layer("norm").activation(x) if source == "BatchNormAfter" else x
    np.testing.assert_allclose(outputs(new, x), outputs(new.get_layer("conv"), alone(activated)), rtol=1e-4, atol=1e-4)
    assert "other outputs: to be trained again; its moving statistics are gone" in report["norm"].reason
    assert norm.epsilon == alone.epsilon


def test_mean_only_batch_norm_takes_mean_and_bias(hostile):
    x = hostile((6, *SHAPE))
    model = with_norm(keras_norms.BatchNorm(momentum=0.7, name="norm"))
    new, report = convert(model, "mean_only_batch_norm")
    norm, old = new.get_layer("norm"), model.get_layer("norm")
    mean = keras.ops.convert_to_numpy(old.statistics()[0])
    expected = x - mean + keras.ops.convert_to_numpy(old.bias)
    np.testing.assert_allclose(outputs(norm, x), expected, rtol=1e-5, atol=1e-4)
    assert norm.momentum == 0.7
    assert report["norm"].reason.endswith("its moving variance and its scale are gone")


@pytest.mark.parametrize("source", ["BatchNormBefore", "BatchNormAfter"])
def test_a_pair_becomes_two_layers_in_their_order(source):
    model = with_norm(SOURCES[source](name="norm"))
    new, report = convert(model, "keras_batch_norm")
    order = ["norm", "norm_activation"] if source == "BatchNormBefore" else ["norm_activation", "norm"]
    assert [layer.name for layer in new.layers] == [*order, "conv"]
    assert report["norm"].done == "keras.layers.BatchNormalization and its activation"
    slope = model.get_layer("norm").activation.slope
    np.testing.assert_array_equal(values_of(new.get_layer("norm_activation").slope), values_of(slope))


def values_of(variable):
    return keras.ops.convert_to_numpy(variable)


def test_trainable_flags_go_along():
    model = with_norm(keras_norms.BatchNormBefore(keras_norms.PReLU(), name="norm"))
    model.get_layer("norm").trainable = False
    new, _ = convert(model, "keras_batch_norm")
    assert [layer.trainable for layer in new.layers] == [False, False, True]
    model = with_norm(keras.layers.BatchNormalization(name="norm"))
    model.get_layer("norm").gamma.trainable = False
    norm = convert(model, "batch_norm")[0].get_layer("norm")
    assert [variable.name for variable in norm.trainable_variables] == ["bias"]


def network():
    """Returns a model with normalizations at all depths, two of them shared."""
    inner = keras.Sequential([keras.Input((4, 3)), keras.layers.BatchNormalization(name="inner_norm")], name="inner")
    left, right = keras.Input((4, 3)), keras.Input((4, 3))
    shared = keras_norms.BatchNormAfter("relu", name="shared")
    steps = keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="step"), name="steps")
    a, b = shared(inner(left)), shared(steps(inner(right)))
    return moved(keras.Model([left, right], [keras.layers.add([a, b]), keras.layers.Dense(2, name="dense")(b)]))


@pytest.mark.parametrize("to", ["batch_norm", "keras_batch_norm", "ghost_batch_norm"])
def test_nested_wrapped_and_shared_layers(to, hostile):
    x = [hostile((5, 4, 3)), hostile((5, 4, 3), seed=1)]
    model = network()
    before = values(model)
    new, report = convert(model, to, **EXACT[to])
    for y, expected in zip(new(x), model(x), strict=True):
        expected = keras.ops.convert_to_numpy(expected)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, rtol=1e-6, atol=1e-6 * abs(expected).max())
    assert [row.layer for row in report.rows] == ["inner/inner_norm", "steps/step", "shared"]
    for value, old in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(value, old)
    own = {id(variable) for variable in model.variables}
    assert not any(id(variable) in own for variable in new.variables)


def test_only_chosen_layers_are_converted():
    new, report = convert(network(), "batch_norm", layers="steps/.*")
    assert isinstance(new.get_layer("inner").get_layer("inner_norm"), keras.layers.BatchNormalization)
    assert isinstance(new.get_layer("steps").layer, keras_norms.BatchNorm)
    assert report["inner_norm"].reason == "not chosen"


@keras.saving.register_keras_serializable()
class Own(keras_norms.BatchNorm):
    pass


@keras.saving.register_keras_serializable()
class Block(keras.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras_norms.BatchNorm(name="norm")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, inputs):
        return self.norm(inputs)


@pytest.mark.parametrize(
    ("norm", "to", "reason"),
    [
        (
            lambda: keras_norms.MeanOnlyBatchNorm(name="norm"),
            "batch_norm",
            "MeanOnlyBatchNorm is no batch norm to convert: it has no variance",
        ),
        (
            lambda: keras_norms.EvoNormB0(name="norm"),
            "layer_norm",
            "EvoNormB0 is no batch norm to convert: it has no mean",
        ),
        (lambda: Own(name="norm"), "keras_batch_norm", "Own is a class of its own"),
        (Block, "batch_norm", "part of a layer with a call of its own"),
        (
            lambda: keras_norms.BatchNorm(use_global_stats=True, name="norm"),
            "keras_batch_norm",
            "use_global_stats=True",
        ),
        (lambda: keras_norms.GhostBatchNorm(2, name="norm"), "synchronized", "parts of a batch"),
        (lambda: keras_norms.BatchNorm(name="norm"), "per_replica", "it has synchronized=False already"),
    ],
)
def test_what_cannot_be_converted_is_left(norm, to, reason, hostile):
    model = with_norm(norm())
    new, report = convert(model, to)
    assert reason in report.rows[0].reason
    np.testing.assert_array_equal(outputs(new, hostile((2, *SHAPE))), outputs(model, hostile((2, *SHAPE))))


def test_a_normalization_of_images_leaves_vectors():
    model = moved(keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(name="norm")]))
    _, report = convert(model, "instance_norm")
    assert report["norm"].reason == "an input of rank 2, where instance_norm takes 3 to 5"


@pytest.mark.parametrize("kind", ["BatchNorm", "BatchNormAfter", "BatchRenorm", "MeanOnlyBatchNorm", "keras"])
def test_synchronized_and_back(kind, hostile):
    made = {**SOURCES, "MeanOnlyBatchNorm": keras_norms.MeanOnlyBatchNorm}[kind]
    model = with_norm(made(name="norm"))
    new, report = convert(model, "synchronized")
    if kind == "keras" and keras.backend.backend() != "tensorflow":
        assert report["norm"].reason == "Keras' layer synchronizes on the TensorFlow backend alone"
        return
    assert new.get_layer("norm").synchronized is True
    assert report["norm"] == keras_norms.surgery.Row("norm", "synchronized=True", "same outputs in inference")
    assert_same(new, model, hostile((6, *SHAPE)))
    again, _ = convert(new, "per_replica")
    assert again.get_layer("norm").get_config() == model.get_layer("norm").get_config()


def test_synchronization_goes_along():
    model = with_norm(keras_norms.BatchNorm(synchronized=True, name="norm"))
    assert convert(model, "batch_renorm", **EXACT["batch_renorm"])[0].get_layer("norm").synchronized
    assert convert(model, "mean_only_batch_norm")[0].get_layer("norm").synchronized
    ghost, report = convert(model, "ghost_batch_norm", ghost_batch_size=2)
    assert not ghost.get_layer("norm").synchronized
    assert "no longer synchronized" in report["norm"].reason
    if keras.backend.backend() == "tensorflow":
        new, _ = convert(model, "keras_batch_norm")
        assert new.get_layer("norm").synchronized
        assert convert(new, "batch_norm")[0].get_layer("norm").synchronized


@pytest.mark.parametrize(
    ("source", "to", "note"),
    [
        ("keras", "batch_norm", "its variance goes on as an average of unbiased ones"),
        ("BatchNorm", "keras_batch_norm", "its variance goes on as an average of biased ones"),
        ("keras renorm", "batch_norm", "no renormalization in training"),
        ("BatchRenorm", "keras_batch_norm", "no renormalization in training"),
        ("GhostBatchNorm", "batch_norm", "statistics of the whole batch in training"),
    ],
)
def test_what_training_does_otherwise_is_told(source, to, note):
    assert note in convert(with_norm(SOURCES[source](name="norm")), to)[1]["norm"].reason


@pytest.mark.parametrize(
    ("to", "options", "words"),
    [
        ("batchnorm", {}, r"`to` must be one of \['batch_norm', 'keras_batch_norm'.*'per_replica'\].*to='batchnorm'"),
        ("ghost_batch_norm", {}, r"'ghost_batch_norm' are \['ghost_batch_size'\], of which"),
        ("batch_norm", {"epsilon": 0.1}, "'batch_norm' are none.*'epsilon'"),
        ("synchronized", {"momentum": 0.1}, "'synchronized' are none"),
        ("group_norm", {"groups": 3}, "'norm' cannot become group_norm: `groups` must divide"),
        ("group_norm", {}, "'norm' cannot become group_norm: `groups` must divide"),
    ],
)
def test_what_cannot_be_asked_is_refused(to, options, words):
    with pytest.raises(ValueError, match=words):
        convert(with_norm(keras_norms.BatchNorm(name="norm")), to, **options)


def test_replicas_keep_their_copies(strategy, hostile):
    x = hostile((6, *SHAPE))
    with strategy.scope():
        model = with_norm(keras.layers.BatchNormalization(name="norm"))
    new, _ = convert(model, "batch_norm")
    assert_same(new, model, x)
    for variable in new.variables:
        copies = [copy.numpy() for copy in strategy.experimental_local_results(variable.value)]
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)
