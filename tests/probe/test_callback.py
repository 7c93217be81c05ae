import csv
import importlib.util

import keras
import numpy as np
import pytest

import keras_norms
from keras_norms import probe
from keras_norms.probe import callback, measurement, picture

TENSORFLOW = keras.backend.backend() == "tensorflow"
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.arange(12) % 2
PLOT = picture.plot


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes most of the time."""
    monkeypatch.setattr(picture, "plot", lambda readings, picture: None)


def made(dropout=0.3, **compiled):
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Dense(4), keras_norms.BatchNormBefore("relu"), keras.layers.Dropout(dropout)]
    model = keras.Sequential([keras.Input((3,)), *parts, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Without XLA, or the C++ compiler that PyTorch calls, the training step is there sooner.
    jit_compile = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile, **{"loss": loss, **compiled})
    return model


def observer(folder, **options):
    return keras_norms.Probe((X[:5], Y[:5]), folder, **{"every": 2, "tensorboard": False, **options})


def fit(model, *callbacks, **options):
    """Trains for 4 steps an epoch."""
    model.fit(X, Y, batch_size=3, verbose=0, callbacks=list(callbacks), **options)
    return model


def loop(model, observer, first_step=0, batches=range(8)):
    """A training loop of our own, which does not change the weights."""
    observers = keras.callbacks.CallbackList([observer], model=model, epochs=1, steps=8, first_step=first_step)
    observers.on_train_begin()
    for batch in batches:
        observers.on_train_batch_begin(batch)
        observers.on_train_batch_end(batch, {})
    observers.on_train_end()


def steps(folder):
    return sorted({row["step"] for row in probe.read(folder / "probe.csv")})


def losses(folder):
    return {row["step"]: row["value"] for row in probe.read(folder / "probe.csv") if row["quantity"] == "loss"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"every": 3}, [0, 3, 6]),
        ({"every": None, "steps": (0, 5)}, [0, 5]),
        ({"every": 4, "steps": [1]}, [0, 1, 4, 8]),
        ({"every": None, "steps": (7, 100)}, [7]),
    ],
)
def test_looks_at_the_chosen_steps(options, expected, tmp_path):
    loop(made(), observer(tmp_path, **options))
    assert steps(tmp_path) == expected
    with open(tmp_path / "channels.csv") as file:
        assert sorted({int(row["step"]) for row in csv.DictReader(file)}) == expected


def test_looks_at_the_weights_of_that_step(tmp_path):
    model = made(dropout=0.0)
    before = measurement.measure(model, (X[:5], Y[:5]), callback.cross_entropy)
    fit(model, observer(tmp_path, every=4))
    after = measurement.measure(model, (X[:5], Y[:5]), callback.cross_entropy)
    for step, measured in ((0, before), (4, after)):
        written = [row["value"] for row in probe.read(tmp_path / "probe.csv") if row["step"] == step]
        np.testing.assert_allclose(written, [reading.value for reading in measured.readings], rtol=1e-6)


def test_training_is_the_same_with_it(tmp_path):
    plain, observed = fit(made()), fit(made(), observer(tmp_path, every=1))
    for ours, theirs in zip(observed.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="makes one step at a time")
def test_a_look_amid_several_steps_is_taken_at_their_end(tmp_path):
    fit(made(steps_per_execution=2), observer(tmp_path, every=3), epochs=2)
    assert steps(tmp_path) == [0, 4, 6]


def test_counts_on_and_repeats_no_step(tmp_path):
    model, probe_of_it = made(), observer(tmp_path)
    fit(model, probe_of_it)
    fit(model, probe_of_it)
    assert steps(tmp_path) == [0, 2, 4, 6, 8]
    assert len(losses(tmp_path)) == len([r for r in probe.read(tmp_path / "probe.csv") if r["quantity"] == "loss"])


def test_training_of_our_own_says_where_it_starts(tmp_path):
    loop(made(), observer(tmp_path), first_step=7, batches=range(3, 6))
    assert steps(tmp_path) == [8, 10]


def test_draws_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "plot", PLOT)
    loop(made(), observer(tmp_path / "looked", every=8))
    assert (tmp_path / "looked" / "probe.png").exists() == bool(importlib.util.find_spec("matplotlib"))
    loop(made(), observer(tmp_path / "never", every=None, steps=[100]))
    assert not (tmp_path / "never" / "probe.png").exists()


def test_layers_are_chosen(tmp_path):
    model = made()
    loop(model, observer(tmp_path, every=100, layers=model.layers[:1]))
    assert {row["layer"] for row in probe.read(tmp_path / "probe.csv")} == {"", model.layers[0].name}


def squared(labels, outputs):
    return keras.ops.square(keras.ops.cast(labels, "float32") - outputs[:, 0])


class Squared(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return squared(y_true, y_pred)


@pytest.mark.parametrize(
    ("compiled", "given"),
    [
        ({"loss": squared}, None),
        ({"loss": Squared(reduction="sum")}, None),
        ({}, squared),
        ({}, Squared()),
    ],
)
def test_the_loss_is_the_one_given_else_that_of_compile(compiled, given, tmp_path):
    model = made(**compiled)
    fit(model, observer(tmp_path, loss=given), epochs=0)
    ((step, loss),) = losses(tmp_path).items()
    outputs = keras.ops.convert_to_numpy(model(X[:5], training=True))
    assert step == 0
    assert loss == pytest.approx(np.mean((Y[:5] - outputs[:, 0]) ** 2), rel=1e-4)


def test_the_loss_of_a_model_that_is_not_compiled_is_the_cross_entropy_of_its_main_output(tmp_path):
    inputs = keras.Input((3,))
    heads = {name: keras.layers.Dense(2, name=name)(inputs) for name in ("main", "aux")}
    model = keras.Model(inputs, heads)
    observers = keras.callbacks.CallbackList([observer(tmp_path)], model=model)
    observers.on_train_begin()
    logits = keras.ops.convert_to_numpy(model(X[:5])["main"]).astype("float64")
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(5), Y[:5]])
    assert losses(tmp_path)[0] == pytest.approx(expected, rel=1e-5)
    gradients = {
        r["weight"]: r["value"] for r in probe.read(tmp_path / "probe.csv") if r["quantity"] == "gradient_norm"
    }
    assert gradients[model.get_layer("aux").kernel.path] == 0
    assert gradients[model.get_layer("main").kernel.path] > 0


def test_several_compiled_losses_are_refused(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, {name: keras.layers.Dense(2, name=name)(inputs) for name in ("main", "aux")})
    model.compile("sgd", {"main": "mse", "aux": "mse"})
    with pytest.raises(ValueError, match="`loss` must be one loss"):
        keras.callbacks.CallbackList([observer(tmp_path)], model=model).on_train_begin()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": None}, "`every` or `steps` must choose"),
        ({"every": 0}, "`every` must be an integer, at least 1"),
        ({"every": True}, "`every` must be an integer"),
        ({"steps": (1.5,)}, "`steps` must be an integer"),
        ({"steps": (-1,)}, "`steps` must be an integer, at least 0"),
        ({"tensorboard": "yes"}, "`tensorboard` must be True or False"),
        ({"batch": X}, "`batch` must be a pair"),
        ({"batch": (X[:1], Y[:1])}, r"two examples or more.*Received: arrays of \[1\]"),
        ({"batch": (X, Y[:5])}, r"as many inputs as labels.*Received: arrays of \[5, 12\]"),
    ],
)
def test_refuses_early_what_cannot_be(options, words, tmp_path):
    arguments = {"batch": (X, Y), "directory": tmp_path / "probe", "every": 2, "tensorboard": False, **options}
    with pytest.raises(ValueError, match=words):
        keras_norms.Probe(**arguments)
    assert not (tmp_path / "probe").exists()


@pytest.mark.skipif(TENSORFLOW, reason="the backend that can write for TensorBoard")
def test_other_backends_refuse_tensorboard(tmp_path):
    with pytest.raises(ValueError, match="tensorboard=False"):
        keras_norms.Probe((X, Y), tmp_path, every=2)


@pytest.mark.skipif(not TENSORFLOW, reason="needs TensorFlow")
def test_tensorboard_gets_the_same(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    model = made()
    loop(model, keras_norms.Probe((X, Y), tmp_path, every=4))
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"), {"tensors": 0}).Reload()
    rows = probe.read(tmp_path / "probe.csv")
    tags = {}
    for row in rows:
        tags.setdefault("/".join(filter(None, (row["quantity"], row["weight"] or row["layer"]))), []).append(row)
    for tag, expected in tags.items():
        found = [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
        assert found == [(row["step"], pytest.approx(row["value"], rel=1e-6, nan_ok=True)) for row in expected], tag
    name = model.layers[0].name
    histograms = {f"channel_{quantity}/{name}" for quantity in ("mean", "variance")}
    assert histograms <= set(events.Tags()["tensors"])
    assert len(events.Tags()["tensors"]) == len(tags) + 2 * len(model.layers)
