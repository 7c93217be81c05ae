import dataclasses
import itertools
import json
import os
import signal

import keras
import numpy as np
import pytest

from keras_norms import training
from keras_norms.data import datasets, in_memory, pipeline
from keras_norms.training import history, steps


class Losses(keras.callbacks.Callback):
    """Keeps the mean loss so far after every step, and may interrupt as Ctrl-C does."""

    def __init__(self, interrupt_after=None):
        super().__init__()
        self.losses, self._interrupt_after = [], interrupt_after

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        if len(self.losses) == self._interrupt_after:
            raise KeyboardInterrupt


def losses(settings, **options):
    observer = Losses(**options)
    outcome = training.Run(settings).train([observer])
    return np.array(observer.losses), outcome


def weights_of(outcome):
    return outcome.model.get_weights()


def test_loss_curve_is_that_of_plain_keras(settings):
    made = settings(normalization="batch_norm_after", weight_decay=0.01)
    run = training.Run(made)
    twin = keras.models.clone_model(run.model)
    twin.set_weights(run.model.get_weights())
    names = {output.split("/")[-1] for output in twin.output_names}
    assert names == {"main", "aux"}
    twin.compile(
        keras.optimizers.SGD(keras.optimizers.schedules.PolynomialDecay(0.1, 6, 0.0), momentum=0.9),
        {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in ("main", "aux")},
        loss_weights={"main": 1.0, "aux": 0.3},
    )
    for layer in twin.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.regularizer = keras.regularizers.L2(0.01 / 2)
    batches = pipeline.training_batches(run.dataset, run.prepare, 50, made.seed).take(6)
    for images, labels, _ in batches:
        twin.train_on_batch(images, {"main": labels, "aux": labels})
    outcome = run.train()
    for ours, theirs in zip(weights_of(outcome), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("normalization", ["batch_norm_before", "batch_norm_after", "none"])
def test_two_replicas_with_synchronized_statistics_train_like_one(settings, normalization):
    one, first = losses(settings("one", steps=20, normalization=normalization))
    synchronized = normalization != "none"
    two, second = losses(settings("two", steps=20, normalization=normalization, synchronized=synchronized, replicas=2))
    np.testing.assert_allclose(two, one, atol=1e-4)
    for ours, theirs in zip(weights_of(second), weights_of(first), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert second.result["test_accuracy"] == pytest.approx(first.result["test_accuracy"], abs=0.02)


@pytest.mark.parametrize("xla", ["on", "off"])
@pytest.mark.parametrize(
    "differences",
    [
        {"batch_size": 49, "drop_remainder": False, "steps": 13},  # a last batch of 10 after 11 steps
        {"batch_size": 1},  # one replica has nothing at all
    ],
    ids=str,
)
def test_batches_that_do_not_divide_train_like_on_one_replica(settings, differences, xla):
    differences = {**differences, "normalization": "weight_norm", "learning_rate": 0.02, "xla": xla}
    one, first = losses(settings("one", **differences))
    two, second = losses(settings("two", **differences, replicas=2))
    np.testing.assert_allclose(two, one, rtol=1e-4)
    for ours, theirs in zip(weights_of(second), weights_of(first), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert second.result["test_accuracy"] == pytest.approx(first.result["test_accuracy"], abs=0.01)


@pytest.mark.parametrize("batch_size", [49, 1])
def test_such_batches_are_synchronized(settings, batch_size):
    differences = {"batch_size": batch_size, "drop_remainder": False, "synchronized": True, "learning_rate": 0.01}
    one, first = losses(settings("one", **differences))
    two, second = losses(settings("two", **differences, replicas=2))
    np.testing.assert_allclose(two, one, rtol=1e-3)
    for ours, theirs in zip(weights_of(second), weights_of(first), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("differences", [{}, {"replicas": 2, "xla": "on"}], ids=str)
def test_micro_batches_are_one_batch(settings, differences):
    differences = {**differences, "normalization": "none", "weight_decay": 0.1, "learning_rate": 0.02}
    whole, first = losses(settings("whole", **differences))
    cut, second = losses(settings("cut", **differences, micro_batches=3))
    np.testing.assert_allclose(cut, whole, rtol=1e-5)
    for ours, theirs in zip(weights_of(second), weights_of(first), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("xla", ["on", "off"])
def test_nothing_is_traced_twice(settings, monkeypatch, xla):
    made = []
    for name in ("training_step", "test_step"):
        real = getattr(steps, name)
        monkeypatch.setattr(steps, name, lambda *arguments, real=real: made.append(real(*arguments)) or made[-1])
    compiled = []
    real_function = steps.Computation.function
    monkeypatch.setattr(steps.Computation, "function", lambda *a: compiled.append(real_function(*a)) or compiled[-1])
    # Two epochs, each with a smaller last batch, on replicas of which one has fewer examples.
    losses(settings(batch_size=49, drop_remainder=False, steps=22, replicas=2, xla=xla))
    assert [step.experimental_get_tracing_count() for step in made] == [1, 1]
    if xla == "on":  # each replica has a program for its own device
        assert [pure.experimental_get_tracing_count() for pure in compiled] == [2, 2]


@pytest.mark.parametrize(("xla", "compiled"), [("on", True), ("off", False), ("auto", False)])
def test_xla_is_on_where_it_is_asked_for(settings, monkeypatch, xla, compiled):
    seen = []
    real = steps.training_step

    def spy(*arguments):
        step = real(*arguments)
        graph = step.get_concrete_function().graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        seen.append(any(node.attr["_XlaMustCompile"].b for node in nodes))
        return step

    monkeypatch.setattr(steps, "training_step", spy)
    training.Run(settings(xla=xla, steps=1)).train()
    assert seen == [compiled]


@pytest.mark.parametrize("differences", [{"seed": 1}, {"crop": False}, {"flip": False}, {"dropout": 0.5}])
def test_what_decides_the_result_reaches_the_training(settings, differences):
    baseline, _ = losses(settings("baseline"))
    other, _ = losses(settings("other", **differences))
    assert not np.allclose(other, baseline, rtol=1e-4)


@pytest.mark.parametrize("replicas", [1, 2])
def test_xla_trains_like_plain_graphs(settings, replicas):
    plain, first = losses(settings("off", replicas=replicas, xla="off"))
    compiled, second = losses(settings("on", replicas=replicas, xla="on"))
    np.testing.assert_allclose(compiled, plain, atol=1e-4)
    for ours, theirs in zip(weights_of(second), weights_of(first), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("xla", ["on", "off"])
def test_replicas_have_equal_weights_and_the_means_of_their_statistics(settings, xla):
    made = settings(replicas=2, steps=1, xla=xla)
    run = training.Run(made)
    images, _, _ = next(iter(pipeline.training_batches(run.dataset, run.prepare, 50, made.seed)))
    # Each replica normalizes half of the batch by itself: what they have seen is averaged.
    first_layers = keras.Model(run.model.input, run.model.get_layer("conv1").output)
    convolved = first_layers(images).numpy().reshape(2, -1, 8)
    outcome = run.train()
    for variable in run.model.variables:
        first, second = run.strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first.numpy(), second.numpy())
    layer = outcome.model.get_layer("conv1_batch_norm")
    mean, variance = (value.numpy() for value in layer.statistics())
    np.testing.assert_allclose(mean, convolved.mean((0, 1)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(variance, convolved.var(1, ddof=1).mean(0), rtol=1e-3)


@pytest.mark.parametrize("replicas", [1, 2])
def test_result_is_that_of_the_exported_model_on_all_test_images(settings, replicas):
    made = settings(replicas=replicas)
    outcome = training.Run(made).train()
    correct, total = 0, 0
    for images, labels, weights in pipeline.test_batches(outcome.dataset, outcome.prepare, 64):
        predicted = outcome.model(images)["main"].numpy().argmax(-1)
        correct += ((predicted == labels.numpy()) * weights.numpy()).sum()
        total += weights.numpy().sum()
    assert total == outcome.result["test_examples"] == 130
    assert outcome.result["test_accuracy"] == pytest.approx(correct / total, abs=1e-3)


@pytest.mark.parametrize("interrupt_after", [1, 4, 10, 13])
def test_interrupted_run_goes_on_to_the_same_result(settings, interrupt_after):
    # An epoch and a half, with dropout and augmentation.
    options = {"steps": 15, "dropout": 0.3}
    whole, expected = losses(settings("whole", **options))
    made = settings("broken", **options)
    with pytest.raises(training.Interrupted, match=f"after step {interrupt_after} of 15.*same command"):
        losses(made, interrupt_after=interrupt_after)
    rest, outcome = losses(made)
    np.testing.assert_array_equal(rest, whole[interrupt_after:])
    for ours, theirs in zip(weights_of(outcome), weights_of(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("history.csv", "result.json"):
        assert (made.folder / name).read_bytes() == (settings("whole").folder / name).read_bytes()


def test_epoch_that_is_repeated_has_one_row(settings):
    made = settings("broken", steps=25)
    once = iter([True])

    def break_down(epoch, logs):  # after the row of the second epoch is shown, before its checkpoint is written
        if epoch == 1 and next(once, False):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        training.Run(made).train([keras.callbacks.LambdaCallback(on_epoch_end=break_down)])
    assert len(history.read(made.folder / "history.csv")) == 2
    training.Run(made).train()
    assert [row["epoch"] for row in history.read(made.folder / "history.csv")] == [0, 1, 2]


def test_interrupt_at_the_very_end_of_an_epoch_repeats_nothing_of_it(settings):
    whole, expected = losses(settings("whole", steps=15))
    made = settings("broken", steps=15)
    once = iter([True])

    def interrupt(epoch, logs):
        if next(once, False):
            raise KeyboardInterrupt

    with pytest.raises(training.Interrupted):
        training.Run(made).train([keras.callbacks.LambdaCallback(on_epoch_end=interrupt)])
    rest, outcome = losses(made)
    np.testing.assert_array_equal(rest, whole[10:])
    assert outcome.result == expected.result


@pytest.mark.parametrize("ended_epoch", [0, 1])
def test_told_to_end_while_it_tests(settings, ended_epoch):
    _, expected = losses(settings("whole", steps=15))
    made = settings("broken", steps=15)

    def tell(epoch, logs):
        if epoch == ended_epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(training.Preempted, match=r"Told to end after step 1[15] of 15.*same command"):
        training.Run(made).train([keras.callbacks.LambdaCallback(on_epoch_end=tell)])
    assert not (made.folder / "result.json").exists()
    _, outcome = losses(made)
    assert outcome.result == expected.result


def test_result_is_that_of_weights_a_callback_restores(settings):
    best = keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="min", patience=1, restore_best_weights=True)
    made = settings(steps=60)
    outcome = training.Run(made).train([best])
    again = training.Run(made).train()
    for ours, theirs in zip(weights_of(again), weights_of(outcome), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rows = history.read(made.folder / "history.csv")
    assert outcome.result["test_accuracy"] == pytest.approx(min(row["val_accuracy"] for row in rows))


def test_finished_run_is_not_repeated(settings):
    first, outcome = losses(settings())
    again, taken_up = losses(settings())
    assert (len(first), len(again)) == (6, 0)
    assert taken_up.result == outcome.result
    for ours, theirs in zip(weights_of(taken_up), weights_of(outcome), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_run_folder_holds_all_of_the_run(settings):
    made = settings(normalization="none")
    training.Run(made).train()
    folder = made.folder
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["normalization"] == "none"
    assert config["settings"]["seed"] == 0
    assert {"commit", "keras", "tensorflow", "keras_norms", "devices", "TF_ENABLE_ONEDNN_OPTS"} <= config[
        "environment"
    ].keys()
    (row,) = history.read(folder / "history.csv")
    result = json.loads((folder / "result.json").read_text())
    assert row["val_accuracy"] == result["test_accuracy"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").rglob("events*"))
    assert list((folder / "checkpoints").glob("ckpt-6.*"))


def test_keras_callbacks_see_the_training(settings, tmp_path):
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", logs["val_accuracy"] > 0)
    )
    save = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_accuracy", mode="max", save_best_only=True
    )
    outcome = training.Run(settings(steps=25)).train([stop, save])
    assert outcome.result["epochs"] == 1
    assert outcome.result["steps"] == 10
    assert keras.saving.load_model(tmp_path / "best.keras").count_params() == outcome.model.count_params()


@pytest.mark.parametrize("replicas", [1, 2])
def test_mixed_precision_trains(settings, replicas):
    # A decay so strong that forgetting it, or its loss scale, shows in six steps.
    options = {"weight_decay": 1.0, "replicas": replicas}
    full, expected = losses(settings("full", **options))
    for precision, xla in itertools.product(["mixed_bfloat16", "mixed_float16"], ["on", "off"]):
        made = settings(f"{precision}-{xla}", precision=precision, xla=xla, **options)
        run = training.Run(made)
        assert run.model.get_layer("conv1").compute_dtype == precision.removeprefix("mixed_")
        half, outcome = losses(made)
        np.testing.assert_allclose(half, full, rtol=0.1)
        for ours, theirs in zip(outcome.model.trainable_weights, expected.model.trainable_weights, strict=True):
            if ours.name == "kernel":
                np.testing.assert_allclose(np.linalg.norm(ours), np.linalg.norm(theirs), rtol=0.03)
        assert {weight.dtype for weight in outcome.model.weights} == {"float32"}
        assert keras.config.dtype_policy().name == "float32"


def test_loss_that_is_no_number_stops_the_run(settings):
    made = settings(learning_rate=1e30, normalization="none", steps=50)
    words = r"loss became no number in step 2. The first place that shows it: the outputs of the layer 'conv\d'"
    with pytest.raises(FloatingPointError, match=words):
        training.Run(made).train()
    assert not (made.folder / "result.json").exists()
    assert [path.name for path in (made.folder / "checkpoints").glob("*.index")] == ["ckpt-0.index"]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"arch": "resnet21"}, "`arch` must be one of .*resnet20.* Received: arch='resnet21'"),
        ({"normalization": "group"}, "`normalization` must be one of .*none.* Received: normalization='group'"),
        ({"activation": "reluu"}, "`activation` must be .* Received: activation='reluu'"),
        ({"dropout": 1.0}, "`dropout` must be .*1.0"),
        ({"arch": "googlenet128", "image_size": 32}, "at least 79 for googlenet128.*32"),
        ({"batch_size": 501}, "500. Received: batch_size=501"),
        ({"xla": "yes"}, "`xla` must be one of"),
        ({"precision": "float8"}, "`precision` must be one of"),
        ({"replicas": 0}, "`replicas` must be at least 1"),
        ({"lr_mult": (("biases", 2.0),)}, "`lr_mult` must name kinds of weights"),
        ({"xla": "on", "synchronized": True}, "--xla=off or --nosynchronized"),
    ],
)
def test_impossible_settings_are_refused_and_leave_nothing(settings, differences, words):
    made = settings(**differences)
    with pytest.raises(ValueError, match=words):
        training.Run(made)
    assert not made.folder.exists()


def test_missing_data_set_is_refused_and_leaves_nothing(settings, tmp_path):
    made = settings(dataset="cifar10")
    made = training.Settings(made.recipe, data_dir=str(tmp_path), workdir=made.workdir)
    with pytest.raises(FileNotFoundError, match="cifar10"):
        training.Run(made)
    assert not made.folder.exists()


def test_folder_of_another_configuration_is_refused_and_left_alone(settings):
    training.Run(settings()).train()
    before = {path: path.read_bytes() for path in settings().folder.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"learning_rate=0.1, now 0.2.*--workdir"):
        training.Run(settings(learning_rate=0.2))
    assert before == {path: path.read_bytes() for path in settings().folder.rglob("*") if path.is_file()}


def test_folder_with_other_files_is_refused(settings):
    made = settings()
    os.makedirs(made.folder)
    (made.folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="`workdir` must be empty"):
        training.Run(made)


def test_grey_images_and_their_classes_shape_the_model(settings, monkeypatch):
    real = datasets.load

    def grey(*arguments, **options):
        dataset = real(*arguments, **options)
        train, test = (
            in_memory.InMemory(source.images[..., :1], source.labels) for source in (dataset.train, dataset.test)
        )
        return dataclasses.replace(dataset, image_shape=(16, 16, 1), train=train, test=test)

    monkeypatch.setattr(datasets, "load", grey)
    run = training.Run(settings())
    assert run.model.input_shape == (None, 16, 16, 1)
    run.train()
