import keras
import numpy as np
import pytest

import keras_norms
from keras_norms.surgery import freeze, unfreeze
from tests.surgery.moved import moved, values

KINDS = {
    "BatchNorm": keras_norms.BatchNorm,
    "BatchNormAfter": lambda: keras_norms.BatchNormAfter(keras_norms.PReLU()),
    "GhostBatchNorm": lambda: keras_norms.GhostBatchNorm(2),
    "BatchRenorm": lambda: keras_norms.BatchRenorm(3, 5),
    "MeanOnlyBatchNorm": keras_norms.MeanOnlyBatchNorm,
    "EvoNormB0": keras_norms.EvoNormB0,
    "keras": keras.layers.BatchNormalization,
}


def between(norm):
    """Returns a model with weights to learn before and behind a normalization."""
    before, behind = keras.layers.Dense(5, use_bias=False, name="before"), keras.layers.Dense(2, name="behind")
    return moved(keras.Sequential([keras.Input((4, 3)), before, norm, behind]))


def network():
    """Returns a model with layers of the family at all depths."""
    inner = keras.Sequential(
        [keras.Input((4, 3)), keras_norms.BatchNorm(name="norm"), keras.layers.Dense(3, name="dense")], name="inner"
    )
    inputs = keras.Input((4, 3))
    x = keras.layers.BatchNormalization(name="first")(inner(inputs))
    x = keras.layers.TimeDistributed(keras_norms.BatchNorm(name="step"), name="steps")(x)
    x = keras.layers.LayerNormalization(name="layer_norm")(keras.layers.add([x, inner(x)]))
    return moved(keras.Model(inputs, x))


def flags(model):
    layers = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.layers.InputLayer)]
    return {layer.name: layer.trainable for layer in layers}


def learned(model):
    """Returns the paths of the variables that a step of training moves."""
    before = values(model)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32") * 3 + 2
    model.fit(x, np.ones((8, *model.output_shape[1:])), batch_size=8, verbose=0)
    changed = [not np.array_equal(new, old) for new, old in zip(values(model), before, strict=True)]
    return {variable.path for variable, moves in zip(model.variables, changed, strict=True) if moves}


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_layer_stays_as_it_is_while_others_learn(kind):
    model, report = freeze(between(KINDS[kind]()))
    changed = learned(model)
    assert {path.split("/")[-2] for path in changed} == {"before", "behind"}
    assert len(changed) == 3
    assert report.done == report.rows
    x = np.random.default_rng(0).normal(size=(6, 4, 3))
    trained, inferred = (keras.ops.convert_to_numpy(model(x, training=mode)) for mode in (True, False))
    np.testing.assert_array_equal(trained, inferred)


@pytest.mark.parametrize("kind", ["BatchNormAfter", "keras"])
def test_unfrozen_it_learns_and_moves_again(kind):
    own = between(KINDS[kind]())
    model, _ = unfreeze(freeze(own)[0])
    assert flags(model) == flags(own)
    assert len(learned(model)) == len(learned(own)) > 3


@pytest.mark.parametrize(
    ("layers", "frozen"),
    [
        (None, {"norm", "first", "step"}),
        ("first", {"first"}),
        ("inner/.*", {"norm"}),
        ("steps/step", {"step"}),
        ("norm|first", {"norm", "first"}),
        (["first", "st.*"], {"first", "step"}),
    ],
)
def test_layers_are_chosen_by_name_or_path(layers, frozen):
    model, report = freeze(network(), layers)
    assert {name for name, trainable in flags(model).items() if not trainable} == frozen
    assert {row.layer.rpartition("/")[2] for row in report.done} == frozen
    assert all(row.reason == "not chosen" for row in report.left)
    assert [row.layer for row in report.rows] == ["inner/norm", "first", "steps/step"]


@pytest.mark.parametrize("layers", ["firs", "dense", "layer_norm", ["first", "none"]])
def test_a_pattern_that_chooses_nothing_is_refused(layers):
    with pytest.raises(ValueError, match=r"names or paths: \['inner/norm', 'first', 'steps/step'\]"):
        freeze(network(), layers)


def test_other_flags_and_all_values_stay():
    own = network()
    own.get_layer("inner").get_layer("dense").trainable = False
    own.get_layer("layer_norm").trainable = False
    before, flags_before = values(own), flags(own)
    model, _ = freeze(own, "first")
    assert flags(model) == {**flags_before, "first": False}
    assert flags(own) == flags_before
    for value, other, old in zip(values(model), values(own), before, strict=True):
        np.testing.assert_array_equal(value, old)
        np.testing.assert_array_equal(other, old)
    assert not set(map(id, model.variables)) & set(map(id, own.variables))


def test_what_is_frozen_around_an_unfrozen_layer_learns_nothing_else():
    own = network()
    own.trainable = False
    model, report = unfreeze(own, ["norm", "step"])
    assert len(report.done) == 2
    assert [v.name for v in model.trainable_variables] == ["scale", "bias"] * 2
    assert not any(flags(model)[name] for name in ("dense", "first", "layer_norm"))
    moving = {"moving_mean", "moving_variance", "moving_weight"}
    assert {path.split("/")[-1] for path in learned(model)} == {"scale", "bias"} | moving


@keras.saving.register_keras_serializable()
class Block(keras.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras_norms.BatchNorm(name="norm")

    def build(self, shape):
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")
        self.norm.build(shape)

    def call(self, inputs):
        return self.norm(inputs * self.factor)


def test_a_frozen_layer_around_an_unfrozen_one_keeps_its_own_weights():
    own = moved(keras.Sequential([keras.Input((3,)), Block(name="block")]))
    own.trainable = False
    model, report = unfreeze(own)
    assert [row.layer for row in report.done] == ["block/norm"]
    assert [variable.name for variable in model.trainable_variables] == ["scale", "bias"]


def test_weights_with_flags_of_their_own_keep_them():
    own = between(keras_norms.BatchNorm(name="norm"))
    own.get_layer("before").kernel.trainable = False
    own.get_layer("norm").scale.trainable = False
    model, _ = freeze(own)
    assert [v.path.split("/")[-2:] for v in model.trainable_variables] == [["behind", "kernel"], ["behind", "bias"]]


def test_the_report_says_what_there_is_to_know():
    norms = [
        keras_norms.BatchNorm(use_global_stats=False, name="always"),
        keras_norms.BatchNormBefore(keras_norms.PReLU(), name="slope"),
        keras_norms.BatchNormBefore("relu", name="plain"),
        keras_norms.BatchNorm(trainable=False, name="before"),
    ]
    model = keras.Sequential([keras.Input((3,)), *norms])
    frozen, report = freeze(model)
    assert report["always"].reason == "use_global_stats=False: it still normalizes with statistics of the batch"
    assert report["slope"].reason == "the weights of its activation are frozen, too"
    assert report["plain"] == keras_norms.surgery.Row("plain", "frozen")
    assert report["before"] == keras_norms.surgery.Row("before", reason="already frozen")
    assert unfreeze(model)[1]["plain"] == keras_norms.surgery.Row("plain", reason="not frozen")
    assert unfreeze(frozen)[1]["plain"] == keras_norms.surgery.Row("plain", "unfrozen")


@pytest.mark.parametrize("procedure", [freeze, unfreeze])
def test_a_model_without_such_layers_is_refused(procedure):
    with pytest.raises(ValueError, match="must have a layer with moving statistics"):
        procedure(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))


def test_a_model_of_replicas_stays_one(strategy):
    with strategy.scope():
        own = between(keras_norms.BatchNorm(name="norm"))
    model, _ = freeze(own)
    assert [len(strategy.experimental_local_results(variable.value)) for variable in model.variables] == [2] * 8
