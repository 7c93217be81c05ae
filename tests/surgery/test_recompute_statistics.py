import keras
import numpy as np
import pytest

import keras_norms
from keras_norms.layers import counted_rows
from keras_norms.surgery import recompute_statistics
from tests.surgery.moved import moved, values

FAMILY = {
    "BatchNorm": keras_norms.BatchNorm,
    "synchronized": lambda **kwargs: keras_norms.BatchNorm(synchronized=True, **kwargs),
    "batch statistics always": lambda **kwargs: keras_norms.BatchNorm(use_global_stats=False, **kwargs),
    "GhostBatchNorm": lambda **kwargs: keras_norms.GhostBatchNorm(2, **kwargs),
    "BatchRenorm": lambda **kwargs: keras_norms.BatchRenorm(3, 5, **kwargs),
    "BatchNormBefore": lambda **kwargs: keras_norms.BatchNormBefore("relu", **kwargs),
    "MeanOnlyBatchNorm": keras_norms.MeanOnlyBatchNorm,
    "EvoNormB0": keras_norms.EvoNormB0,
    "keras": keras.layers.BatchNormalization,
    "keras renorm": lambda **kwargs: keras.layers.BatchNormalization(
        renorm=True, renorm_clipping={"rmax": 3.0, "dmax": 5.0}, **kwargs
    ),
}


def far(shape, seed=0):
    """Returns numbers with a mean of 1000 and a deviation of 0.1."""
    return np.random.default_rng(seed).normal(1000, 0.1, shape).astype("float32")


def cut(x, *places):
    return np.split(x, places)


def statistics(layer):
    """Returns mean and variance as inference reads them; None for one that the layer has not."""
    if isinstance(layer, keras.layers.BatchNormalization):
        pair = {"mean": layer.moving_mean, "variance": layer.moving_variance}
    else:
        pair = dict(zip(layer.moving, layer.statistics(), strict=True))
    return [None if pair.get(name) is None else keras.ops.convert_to_numpy(pair[name]) for name in ("mean", "variance")]


def batch_normalized(x, epsilon):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + epsilon)


@pytest.mark.parametrize("kind", FAMILY)
def test_statistics_are_those_of_the_whole_set(kind):
    x = far((23, 3, 4, 5))
    model = moved(keras.Sequential([keras.Input((3, 4, 5)), FAMILY[kind](name="norm")]))
    model, report = recompute_statistics(model, cut(x, 8, 10, 19))
    mean, variance = statistics(model.get_layer("norm"))
    exact = x.astype("float64")
    if mean is not None:
        np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-7)  # what float32 holds
    if variance is not None:
        ours = "keras" not in kind
        np.testing.assert_allclose(variance, exact.var((0, 1, 2), ddof=int(ours)), rtol=1e-6)
    assert "of 276 values a channel" in report["norm"].done


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("kind", ["BatchNorm", "keras"])
def test_the_channel_axis_is_heeded(kind, axis, hostile):
    x = hostile((12, 3, 4), axis)
    model = moved(keras.Sequential([keras.Input((3, 4)), FAMILY[kind](axis=axis, name="norm")]))
    model, _ = recompute_statistics(model, cut(x, 5))
    others = (0, 2) if axis == 1 else (0, 1)
    np.testing.assert_allclose(statistics(model.get_layer("norm"))[0], x.astype("float64").mean(others), rtol=1e-6)


@pytest.mark.parametrize("kind", ["BatchNorm", "GhostBatchNorm", "BatchRenorm", "keras", "keras renorm"])
def test_the_next_layer_takes_what_batch_statistics_make_of_the_batch(kind, hostile):
    x = hostile((20, 4))
    model = keras.Sequential(
        [
            keras.Input((4,)),
            FAMILY[kind](name="first"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, "tanh", name="dense"),
            FAMILY[kind](name="second"),
        ]
    )
    moved(model)
    # Kernels of one sign alone would let all channels be alike.
    model.get_layer("dense").kernel.assign(np.random.default_rng(1).normal(size=(4, 3)))
    first, dense = model.get_layer("first"), model.get_layer("dense")
    scale, bias, kernel, dense_bias = (
        keras.ops.convert_to_numpy(v) for v in (*first.trainable_variables, *dense.weights)
    )
    taken = np.concatenate(
        [
            np.tanh((batch_normalized(part.astype("float64"), first.epsilon) * scale + bias) @ kernel + dense_bias)
            for part in cut(x, 9, 16)
        ]
    )
    model, _ = recompute_statistics(model, cut(x, 9, 16))
    mean, variance = statistics(model.get_layer("second"))
    np.testing.assert_allclose(mean, taken.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, taken.var(0, ddof=0 if "keras" in kind else 1), rtol=1e-5)


@pytest.mark.parametrize("kind", FAMILY)
def test_statistics_of_before_leave_no_trace(kind, hostile):
    x = hostile((12, 3, 3, 4))
    layers = [keras.Input((3, 3, 4)), FAMILY[kind](), keras.layers.Conv2D(2, 2), FAMILY[kind]()]
    model = moved(keras.Sequential(layers))
    expected = values(recompute_statistics(model, [x])[0])
    for layer in model.layers:
        for variable in layer.non_trainable_variables:
            if "limit" not in variable.name:
                variable.assign(np.full(variable.shape, 0.17))
    for value, other in zip(values(recompute_statistics(model, [x])[0]), expected, strict=True):
        np.testing.assert_array_equal(value, other)


def everything(units=3):
    """Returns a model with nested and shared layers, two inputs and two outputs, all in one place or another."""
    inner_input = keras.Input((units,))
    norm = keras_norms.BatchNorm(name="inner_norm")
    inner = keras.Model(inner_input, keras.layers.Dropout(0.5)(norm(inner_input)), name="inner")
    shared = keras.layers.BatchNormalization(name="shared")
    left, right = keras.Input((units,), name="left"), keras.Input((units,), name="right")
    a, b = shared(inner(left)), shared(right)
    after = keras_norms.BatchNormAfter("relu", name="after")(keras.layers.add([a, b]))
    outputs = {"sum": after, "other": keras.layers.Dense(2, name="dense")(b)}
    model = moved(keras.Model({"left": left, "right": right}, outputs))
    shared.beta.assign([-0.3, 0.1, -0.2])  # so that the activation in `after` clips some of what it takes
    return model


def test_nested_and_shared_layers_and_several_inputs(hostile):
    left, right = hostile((10, 3)), hostile((10, 3), seed=1) + 5
    model = everything()
    inner, shared = model.get_layer("inner").get_layer("inner_norm"), model.get_layer("shared")
    (scale, bias), (gamma, beta) = (map(values_of, layer.trainable_variables) for layer in (inner, shared))
    parts = [slice(0, 4), slice(4, 10)]
    new, report = recompute_statistics(model, [({"left": left[p], "right": right[p]}, None) for p in parts])
    np.testing.assert_allclose(
        statistics(new.get_layer("inner").get_layer("inner_norm"))[0], left.astype("float64").mean(0), rtol=1e-6
    )
    uses, sums = [], []
    for p in parts:
        first = batch_normalized(left[p].astype("float64"), inner.epsilon) * scale + bias
        uses += [first, right[p].astype("float64")]
        sums.append(sum(batch_normalized(use, shared.epsilon) * gamma + beta for use in uses[-2:]))
    both = np.concatenate(uses)
    np.testing.assert_allclose(statistics(new.get_layer("shared"))[0], both.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics(new.get_layer("shared"))[1], both.var(0), rtol=1e-5)
    activated = np.maximum(np.concatenate(sums), 0)
    # The first channel is clipped nearly everywhere: what is left of it has few digits.
    np.testing.assert_allclose(statistics(new.get_layer("after"))[1], activated.var(0, ddof=1), rtol=1e-5, atol=1e-6)
    assert [row.layer for row in report.rows] == ["inner/inner_norm", "shared", "after"]
    assert "20 values" in report["shared"].done


def test_the_given_model_and_all_weights_stay(hostile):
    model = everything()
    before = values(model)
    new, _ = recompute_statistics(model, [{"left": hostile((8, 3)), "right": hostile((8, 3), seed=1)}])
    for value, other in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(value, other)
    statistical = ("moving_mean", "moving_variance", "moving_weight")
    pairs = [pair for pair in zip(new.variables, before, strict=True) if "seed" not in pair[0].name]
    changed = {variable.name for variable, old in pairs if not np.array_equal(values_of(variable), old)}
    assert changed == set(statistical)
    assert not set(map(id, new.variables)) & set(map(id, model.variables))


def values_of(variable):
    return keras.ops.convert_to_numpy(variable)


def test_no_state_but_statistics_moves(hostile):
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(2, 4, 3)),
            keras.layers.LSTM(3, stateful=True, return_sequences=True, name="lstm"),
            keras.layers.GaussianNoise(1.0),
            keras_norms.BatchNorm(),
        ]
    )
    moved(model)
    states = [values_of(state) for state in model.get_layer("lstm").states]
    new, _ = recompute_statistics(model, cut(hostile((6, 4, 3)), 2, 4))
    for state, old in zip(new.get_layer("lstm").states, states, strict=True):
        np.testing.assert_array_equal(values_of(state), old)


@pytest.mark.parametrize("kind", ["BatchNorm", "BatchRenorm", "MeanOnlyBatchNorm", "keras"])
def test_masked_positions_do_not_count(kind, hostile):
    x = hostile((6, 5, 3))
    x[1, 2:] = x[4] = 0.0
    model = moved(keras.Sequential([keras.Input((5, 3)), keras.layers.Masking(), FAMILY[kind](name="norm")]))
    model, report = recompute_statistics(model, cut(x, 4))
    kept = x[np.any(x != 0, -1)].astype("float64")
    np.testing.assert_allclose(statistics(model.get_layer("norm"))[0], kept.mean(0), rtol=1e-6)
    assert f"{len(kept)} values" in report["norm"].done


@pytest.mark.parametrize("kind", ["BatchNorm", "keras"])
def test_examples_of_weight_zero_do_not_count(kind, hostile):
    x, weights = hostile((6, 3)), np.array([1.0, 0.0, 0.5, 2.0, 1.0, 0.0])
    model = moved(keras.Sequential([keras.Input((3,)), FAMILY[kind](name="norm")]))
    new, _ = recompute_statistics(model, [(x, x, weights)])
    np.testing.assert_allclose(
        statistics(new.get_layer("norm"))[0], x[weights > 0].astype("float64").mean(0), rtol=1e-6
    )
    with counted_rows.counted(weights > 0):
        new, report = recompute_statistics(model, [x])
    np.testing.assert_allclose(
        statistics(new.get_layer("norm"))[0], x[weights > 0].astype("float64").mean(0), rtol=1e-6
    )
    assert "of 4 values" in report["norm"].done


def test_a_batch_of_which_nothing_counts_changes_nothing(hostile):
    x = hostile((6, 3))
    model = moved(keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(name="norm")]))
    new, _ = recompute_statistics(model, [(x[:4], None), (x[4:], None, np.zeros(2))])
    np.testing.assert_allclose(statistics(new.get_layer("norm"))[0], x[:4].astype("float64").mean(0), rtol=1e-6)
    new, report = recompute_statistics(model, [(x, None, np.zeros(6))])
    assert report["norm"].reason == "none of its inputs counts"
    np.testing.assert_array_equal(statistics(new.get_layer("norm"))[0], statistics(model.get_layer("norm"))[0])


def test_statistics_of_every_step_of_time(hostile):
    x = hostile((6, 4, 3))
    norm = keras.layers.TimeDistributed(keras_norms.BatchNorm(name="norm"), name="steps")
    model, report = recompute_statistics(moved(keras.Sequential([keras.Input((4, 3)), norm])), cut(x, 2))
    layer = model.get_layer("steps").layer
    np.testing.assert_allclose(statistics(layer)[1], x.astype("float64").reshape(-1, 3).var(0, ddof=1), rtol=1e-5)
    assert report.rows[0].layer == "steps/norm"


def test_half_precision_keeps_statistics_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    x = (np.random.default_rng(0).normal(size=(64, 3)) * 3 + 100).astype("float16")
    model = moved(keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(name="norm")]))
    model, _ = recompute_statistics(model, cut(x, 30))
    np.testing.assert_allclose(statistics(model.get_layer("norm"))[1], x.astype("float64").var(0, ddof=1), rtol=1e-5)


@keras.saving.register_keras_serializable()
class Mode(keras.Layer):
    """Calls a layer always in the same mode. The argument of a call in a functional model does not: Keras (3.15)
    replaces it by that of the call of the model."""

    def __init__(self, layer, training, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.training = layer, training

    def build(self, shape):
        if not self.layer.built:  # a layer made from its config is built with it
            self.layer.build(shape)

    def call(self, inputs):
        return self.layer(inputs, training=self.training)

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "training": self.training}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


def fixed(how):
    """Returns a model whose first normalization uses its moving statistics in training, too."""
    inputs = keras.Input((3,))
    norm = keras_norms.BatchNorm(name="first", use_global_stats=True if how == "global" else None)
    x = Mode(norm, False, name="mode")(inputs) if how == "called" else norm(inputs)
    model = moved(keras.Model(inputs, keras.layers.BatchNormalization(name="second")(x)))
    norm.trainable = how != "frozen"
    return model


@pytest.mark.parametrize(
    ("how", "reason"),
    [("frozen", "frozen"), ("global", "use_global_stats=True"), ("called", "called with training=False")],
)
def test_layers_with_fixed_statistics_are_left_and_used(how, reason, hostile):
    x = hostile((8, 3))
    model = fixed(how)
    first = model.layers[1]
    taken = keras.ops.convert_to_numpy(first(x)).astype("float64")
    new, report = recompute_statistics(model, cut(x, 5))
    for value, other in zip(values(new.layers[1]), values(first), strict=True):
        np.testing.assert_array_equal(value, other)
    np.testing.assert_allclose(statistics(new.get_layer("second"))[0], taken.mean(0), rtol=1e-5)
    assert report["first"].reason.startswith(reason)
    assert [row.layer for row in report.done] == ["second"]
    assert new.layers[1].trainable == first.trainable


def test_a_layer_whose_call_is_always_in_training_is_measured(hostile):
    x = hostile((8, 3))
    mode = Mode(keras.layers.BatchNormalization(), True)
    new, _ = recompute_statistics(norm_of(mode), cut(x, 5))
    np.testing.assert_allclose(statistics(new.layers[0].layer)[0], x.astype("float64").mean(0), rtol=1e-6)


def test_training_goes_on_from_full_weight(hostile):
    x, more = hostile((8, 3)), hostile((6, 3), seed=1)
    model = keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(momentum=0.75, name="norm")])
    model, _ = recompute_statistics(moved(model), [x])
    model(more, training=True)
    expected = 0.75 * x.astype("float64").mean(0) + 0.25 * more.astype("float64").mean(0)
    np.testing.assert_allclose(statistics(model.get_layer("norm"))[0], expected, rtol=1e-5)
    assert model.get_layer("norm").use_global_stats is None
    assert float(model.get_layer("norm").moving_weight) == pytest.approx(1)


def test_renormalization_of_keras_goes_on_from_the_same_statistics(hostile):
    x = hostile((8, 3))
    model = keras.Sequential([keras.Input((3,)), FAMILY["keras renorm"](name="norm")])
    norm = recompute_statistics(moved(model), [x])[0].get_layer("norm")
    deviation = np.sqrt(x.astype("float64").var(0) + norm.epsilon)
    np.testing.assert_allclose(values_of(norm.renorm_mean), x.astype("float64").mean(0), rtol=1e-5)
    np.testing.assert_allclose(values_of(norm.renorm_stddev), deviation, rtol=1e-5)
    np.testing.assert_allclose(values_of(norm.moving_stddev), deviation, rtol=1e-5)


class Batches(keras.utils.PyDataset):
    def __init__(self, parts, length):
        super().__init__()
        self._parts, self._length = parts, length

    def __getitem__(self, index):
        return self._parts[index % len(self._parts)], None

    @property
    def num_batches(self):
        return self._length


def generated(parts):
    while True:
        yield from parts


@pytest.mark.parametrize(
    ("make", "batches"),
    [
        (lambda parts: parts, None),
        (lambda parts: [*parts, np.full((3, 2), np.nan)], 3),
        (generated, 3),
        (lambda parts: Batches(parts, 3), None),
        (lambda parts: Batches(parts, None), 3),
        (lambda parts: [(part, part, np.ones((len(part), 2))) for part in parts], None),
    ],
)
def test_datasets_of_all_kinds(make, batches, hostile):
    x = hostile((12, 2))
    model = moved(keras.Sequential([keras.Input((2,)), keras_norms.BatchNorm(name="norm")]))
    new, _ = recompute_statistics(model, make(cut(x, 3, 7)), batches)
    np.testing.assert_allclose(statistics(new.get_layer("norm"))[0], x.astype("float64").mean(0), rtol=1e-6)


def norm_of(*layers, shape=(3,)):
    return moved(keras.Sequential([keras.Input(shape), *layers]))


X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


@pytest.mark.parametrize(
    ("dataset", "batches", "words"),
    [
        ([], None, "must have a batch.*a dataset of 0"),
        ([X, X], 3, "as many batches as `batches` asks.*batches=3, a dataset of 2"),
        ([X], 0, "`batches` must be an integer, at least 1"),
        (X, None, r"an iterable of batches.*array of shape \(8, 3\)"),
        (Batches([X], None), None, "without an end needs `batches`"),
        ([X, X[:1]], None, "more than one value per channel for 'norm'"),
        (["text"], None, "A batch must be an array.*class str"),
    ],
)
def test_what_cannot_be_is_refused(dataset, batches, words):
    with pytest.raises(ValueError, match=words):
        recompute_statistics(norm_of(keras_norms.BatchNorm(name="norm")), dataset, batches)


def test_a_model_without_statistics_is_refused():
    with pytest.raises(ValueError, match="must have a layer with moving statistics"):
        recompute_statistics(norm_of(keras.layers.LayerNormalization()), [X])


def test_a_model_whose_layers_are_all_left_is_refused():
    model = norm_of(keras_norms.BatchNorm(name="norm"))
    model.trainable = False
    with pytest.raises(ValueError, match=r"all are left.*'norm': 'frozen"):
        recompute_statistics(model, [X])


def test_statistics_that_are_no_numbers_name_their_layer():
    dense = keras.layers.Dense(2)
    model = norm_of(keras_norms.BatchNorm(name="good"), dense, keras_norms.BatchNorm(name="bad"))
    dense.bias.assign([0.0, np.nan])
    with pytest.raises(FloatingPointError, match="inputs of 'bad'"):
        recompute_statistics(model, [X])
