"""Scores against float64 NumPy; runs and SavedModels tested in every way, and nothing changed by it."""

import csv
import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_norms import training
from keras_norms.data import datasets, pipeline, views
from keras_norms.training import batch_statistics, checkpoints, evaluation, run_folder, scores, steps, subjects

SHAPES = subjects.Source("shapes")
OWN = subjects.Source()


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def expected_scores(probabilities, labels):
    """Returns top-1, top-5 and log-loss of float64 probabilities, the first of equal ones being the larger."""
    order = np.argsort(-probabilities, axis=-1, kind="stable")
    place = (order == labels[:, None]).argmax(-1)
    own = probabilities[np.arange(len(labels)), labels]
    return (place < 1).mean(), (place < 5).mean(), -np.log(own).mean()


def told(result):
    return result.top_1, result.top_5, result.log_loss


def viewed(dataset, view):
    """Returns the views and the labels of all test images, in the order stored."""
    images = tf.constant(np.stack([image for image, _ in dataset.test.decoded().as_numpy_iterator()]))
    labels = np.array([label for _, label in dataset.test.decoded().as_numpy_iterator()])
    return view(images, tf.zeros((len(labels), 3))).numpy(), labels


def contents(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def runs():
    """The runs that were trained, by what differs in them."""
    return {}


@pytest.fixture
def trained(settings, runs, tmp_path):
    """Returns a function of differences that returns the folder of a trained run, a copy, and its outcome."""

    def train(**differences):
        key = json.dumps(differences, sort_keys=True)
        if key not in runs:
            made = settings(**differences)
            runs[key] = made.folder, training.Run(made).train()
        folder, outcome = runs[key]
        return shutil.copytree(folder, tmp_path / "copy" / "run"), outcome

    return train


def served(folder, probabilities=None, size=16, channels=3, name="image", output="probabilities"):
    """Writes a SavedModel with a function of the pixels, and returns its folder."""
    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(channels, 10)).astype("float32") / 50)

    def serve(**inputs):
        (pixels,) = inputs.values()
        logits = tf.reduce_mean(pixels, [1, 2]) @ module.kernel
        return {output: tf.nn.softmax(logits) if probabilities is None else probabilities(logits)}

    spec = tf.TensorSpec((None, size, size, channels), "float32", name=name)
    signature = tf.function(serve).get_concrete_function(**{name: spec})
    tf.saved_model.save(module, folder, signatures=signature)
    return folder


# Scores.


def test_scores_are_those_of_the_definition_also_with_ties():
    rng = np.random.default_rng(0)
    logits = rng.integers(-3, 3, (400, 12)).astype("float32")
    labels = rng.integers(0, 12, 400)
    sums = scores.sums(tf.constant(logits), tf.constant(labels), tf.ones(400))
    result = scores.of_sums(sums.numpy(), 12)
    assert result.examples == 400
    np.testing.assert_allclose(told(result), expected_scores(softmax(logits.astype("float64")), labels), rtol=1e-6)
    first = logits.argmax(-1) == labels
    assert result.top_1 == first.mean()
    assert result.top_5 == tf.reduce_mean(
        tf.cast(tf.reduce_any(tf.math.top_k(logits, 5).indices == labels[:, None], 1), tf.float64)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_do_not_count_may_hold_anything(bad):
    logits = tf.constant([[1.0, 3.0, 2.0], [bad, bad, bad]])
    sums = scores.sums(logits, tf.constant([1, 0], tf.int64), tf.constant([1.0, 0.0]))
    np.testing.assert_allclose(sums, [np.log(1 + np.exp(-2) + np.exp(-1)), 1, 1, 1], rtol=1e-6)


def test_what_is_no_number_is_never_right():
    logits = tf.fill((2, 10), np.nan)
    assert scores.sums(logits, tf.constant([0, 9], tf.int64), tf.ones(2)).numpy()[1:3].tolist() == [0, 0]


def test_no_top_5_of_five_classes():
    assert scores.of_sums([1.0, 1.0, 2.0, 2.0], 5).top_5 is None
    assert scores.of_sums([1.0, 1.0, 2.0, 2.0], 6).top_5 == 1.0


def test_average_of_views_is_that_of_probabilities():
    logits = np.random.default_rng(0).normal(size=(7, 10, 4)) * 30
    averaged = scores.averaged(tf.constant(logits, tf.float32)).numpy()
    # Logarithms as small as -100, to float32's last digits of the logits.
    np.testing.assert_allclose(averaged, np.log(softmax(logits).mean(1)), rtol=1e-5, atol=1e-5)


# Runs.


@pytest.mark.parametrize("differences", [{}, {"weight_average": 0.5}, {"replicas": 2}, {"precision": "mixed_bfloat16"}])
def test_a_run_is_tested_as_it_tests_itself(trained, differences):
    folder, outcome = trained(**differences)
    report = evaluation.report(subjects.of_run(folder, OWN, differences.get("replicas")))
    assert report["top_1"] == outcome.result["test_accuracy"]
    assert report["log_loss"] == pytest.approx(outcome.result["test_loss"], rel=1e-6)
    assert report["examples"] == 130
    assert report["subject"]["step"] == 6


@pytest.mark.parametrize(("replicas", "batch_size"), [(1, 50), (1, 7), (1, 200), (2, 50), (2, 13)])
def test_every_image_counts_once_for_any_batch_size_and_number_of_replicas(trained, replicas, batch_size):
    folder, outcome = trained()
    images, labels = viewed(outcome.dataset, views.Centre(outcome.prepare))
    logits = outcome.model(images, training=False)["main"].numpy().astype("float64")
    report = evaluation.report(subjects.of_run(folder, OWN, replicas), batch_size=batch_size)
    assert report["examples"] == len(labels) == 130
    expected = expected_scores(softmax(logits), labels)
    np.testing.assert_allclose([report[name] for name in ("top_1", "top_5", "log_loss")], expected, rtol=1e-5)


def test_training_images_can_be_tested(trained):
    folder, _ = trained(steps=1)
    report = evaluation.report(subjects.of_run(folder, SHAPES), evaluation.Protocol(split="train"))
    assert (report["examples"], report["split"]) == (500, "train")


@pytest.mark.parametrize("xla", ["off", "on"])
def test_ten_crops_are_the_mean_of_ten_views(trained, xla):
    folder, outcome = trained()
    crops, labels = viewed(outcome.dataset, views.TenCrops(outcome.prepare))
    each = [softmax(outcome.model(crops[:, i])["main"].numpy().astype("float64")) for i in range(10)]
    subject = subjects.of_run(folder, OWN, xla=xla)
    report = evaluation.report(subject, evaluation.Protocol(crops=10))
    expected = expected_scores(np.mean(each, 0), labels)
    np.testing.assert_allclose([report[name] for name in ("top_1", "top_5", "log_loss")], expected, rtol=1e-5)
    assert report["log_loss"] != pytest.approx(evaluation.report(subject)["log_loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("batch_size", "replicas", "xla"), [(50, 1, "off"), (50, 1, "on"), (65, 1, "off"), (50, 2, "off"), (13, 2, "off")]
)
def test_batch_statistics_are_those_of_training_without_dropout(trained, batch_size, replicas, xla):
    folder, outcome = trained(dropout=0.5)
    images, labels = viewed(outcome.dataset, views.Centre(outcome.prepare))
    (dropout,) = (layer for layer in outcome.model.layers if isinstance(layer, keras.layers.Dropout))
    dropout.rate = 0.0
    parts = [images[i : i + batch_size] for i in range(0, 130, batch_size)]
    logits = np.concatenate([outcome.model(part, training=True)["main"].numpy().astype("float64") for part in parts])
    subject = subjects.of_run(folder, OWN, replicas, xla)
    before = [variable.numpy() for variable in subject.computation.model.variables]
    report = evaluation.report(subject, evaluation.Protocol(statistics="batch"), batch_size)
    expected = expected_scores(softmax(logits), labels)
    # The fused kernel of plain batches rounds otherwise than the one of batches with a mask.
    np.testing.assert_allclose([report[name] for name in ("top_1", "top_5", "log_loss")], expected, rtol=1e-4)
    for variable, value in zip(subject.computation.model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    moving = evaluation.report(subject)
    assert moving["log_loss"] == pytest.approx(outcome.result["test_loss"], rel=1e-6)
    assert moving["log_loss"] != pytest.approx(report["log_loss"], rel=1e-3)


def test_batch_statistics_are_given_back_after_an_error(trained):
    _, outcome = trained(steps=1)
    layer = outcome.model.get_layer("conv1_batch_norm")

    def fail():
        with batch_statistics.used(outcome.model, True):
            assert (layer.use_global_stats, layer.synchronized) == (False, True)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (layer.use_global_stats, layer.synchronized) == (None, False)


def test_a_run_at_work_is_read_and_nothing_in_its_folder_changes(trained):
    folder, _ = trained()
    before = contents(folder)
    with run_folder.locked(folder):
        locked = contents(folder)
        evaluation.report(subjects.of_run(folder, OWN))
        assert contents(folder) == locked
    assert before.keys() == contents(folder).keys()


@pytest.mark.parametrize("weight_average", [None, 0.9])
def test_an_unfinished_run_is_tested_as_it_tested_itself_last(settings, weight_average):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    made = settings(steps=20, weight_average=weight_average)
    with pytest.raises(KeyboardInterrupt):
        training.Run(made).train([Stop()])
    (row,) = csv.DictReader((made.folder / "history.csv").read_text().splitlines())
    report = evaluation.report(subjects.of_run(made.folder, OWN))
    assert report["subject"]["step"] == int(row["step"]) == 10
    assert report["log_loss"] == pytest.approx(float(row["val_loss"]), rel=1e-6)


def test_a_damaged_checkpoint_is_passed_over_and_stays_as_it_is(trained):
    folder, _ = trained(steps=12)
    newest = folder / "checkpoints" / "ckpt-12.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:-5] + b"wrong")
    before = contents(folder)
    report = evaluation.report(subjects.of_run(folder, OWN))
    assert report["subject"]["step"] == 10
    assert "ckpt-12 is damaged" in report["notes"][0]
    assert contents(folder) == before


def test_a_checkpoint_that_is_removed_while_it_is_read_gives_way_to_a_newer_one(trained, monkeypatch, tmp_path):
    folder, _ = trained(steps=12)
    kept, matches = folder / "checkpoints", checkpoints._matches
    for file in kept.glob("ckpt-12.*"):
        file.rename(tmp_path / file.name)

    def training_goes_on(prefix):
        for file in kept.glob("ckpt-10.*"):
            file.unlink()
        for file in tmp_path.glob("ckpt-12.*"):
            file.rename(kept / file.name)
        return matches(prefix)

    monkeypatch.setattr(checkpoints, "_matches", training_goes_on)
    subject = subjects.of_run(folder, OWN)
    assert (subject.origin["step"], subject.notes) == (12, ())


def test_without_a_whole_checkpoint_there_is_nothing_to_test(trained):
    folder, _ = trained(steps=1)
    for data in (folder / "checkpoints").glob("*.data*"):
        data.write_bytes(b"wrong")
    with pytest.raises(OSError, match="2 are damaged"):
        subjects.of_run(folder, OWN)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(OSError, match="There is no checkpoint in"):
        subjects.of_run(folder, OWN)


# Other sets.


@pytest.fixture
def other_set(monkeypatch):
    """Returns a function that makes a set called "other" of what differs from `shapes`."""
    load = datasets.load

    def make(**differences):
        def loaded(name, *arguments, **options):
            own = load("shapes", *arguments, **options)
            return dataclasses.replace(own, name="other", **differences) if name == "other" else own

        monkeypatch.setattr(datasets, "load", loaded)
        return subjects.Source("other")

    return make


def test_pixels_of_another_set_are_normalized_as_in_training(trained, other_set):
    folder, outcome = trained()
    dark = datasets.InMemory(np.zeros((500, 16, 16, 3)), np.zeros(500))
    subject = subjects.of_run(folder, other_set(train=dark, class_names=tuple("abcdefghij")))
    assert subject.prepare == outcome.prepare
    report = evaluation.report(subject)
    assert report["top_1"] == outcome.result["test_accuracy"]
    assert report["dataset"] == "other"
    assert "10 of 10 classes have other names than those trained on; class 0 is 'a', was 'disc'" in report["notes"][0]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"class_names": ("a", "b")}, "has 10 classes, the data set 'other' has 2"),
        ({"image_shape": (16, 16, 1)}, "has 3 channels, the data set 'other' has 1"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(trained, other_set, tmp_path, differences, words):
    folder, _ = trained(steps=1)
    source = other_set(**differences)
    with pytest.raises(ValueError, match=f"The network of .*run {words}"):
        subjects.of_run(folder, source)
    with pytest.raises(ValueError, match=f"The SavedModel .*served {words}"):
        subjects.of_saved_model(served(tmp_path / "served"), source)


# SavedModels.


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("crops", [1, 10])
def test_a_saved_model_is_given_pixels_and_trusted_with_its_probabilities(tmp_path, crops, replicas):
    folder = served(tmp_path / "served")
    subject = subjects.of_saved_model(folder, SHAPES, replicas)
    report = evaluation.report(subject, evaluation.Protocol(crops), 13)
    mean, _ = datasets.pixel_statistics(subject.dataset)
    prepare = pipeline.Preprocessing(16, tuple(mean), (1.0, 1.0, 1.0))
    pixels, labels = viewed(subject.dataset, views.Centre(prepare) if crops == 1 else views.TenCrops(prepare))
    kernel = tf.saved_model.load(folder).kernel.numpy().astype("float64")
    # Beyond the image there is the mean pixel.
    probabilities = softmax((pixels.astype("float64") + mean).mean((-3, -2)) @ kernel)
    expected = expected_scores(probabilities if crops == 1 else probabilities.mean(1), labels)
    np.testing.assert_allclose([report[name] for name in ("top_1", "top_5", "log_loss")], expected, rtol=1e-5)
    assert report["subject"] == {"saved_model": str(folder)}


def test_a_probability_of_zero_has_a_finite_loss(tmp_path):
    folder = served(tmp_path / "served", lambda logits: tf.one_hot(tf.zeros_like(logits[:, 0], tf.int32), 10))
    report = evaluation.report(subjects.of_saved_model(folder, SHAPES))
    smallest = -np.log(np.finfo("float32").tiny)
    assert report["log_loss"] == pytest.approx(smallest * (1 - report["top_1"]), rel=1e-6)


@pytest.mark.parametrize(
    "differences",
    [
        {"name": "pixels"},
        {"output": "logits"},
        {"size": None},
        {"probabilities": lambda logits: tf.cast(logits, tf.float64)},
        {"probabilities": lambda logits: logits[0]},
    ],
)
def test_a_saved_model_of_another_form_is_refused(tmp_path, differences):
    folder = served(tmp_path / "served", **differences)
    with pytest.raises(ValueError, match=r"must take `image`, .* Received: .*served, which takes `(image|pixels)`, fl"):
        subjects.of_saved_model(folder, SHAPES)


def test_a_saved_model_without_signature_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "served")
    with pytest.raises(ValueError, match="must have the signature 'serving_default'"):
        subjects.of_saved_model(tmp_path / "served", SHAPES)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_a_damaged_saved_model_is_named(name, tmp_path):
    folder = served(tmp_path / "served")
    file = folder / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(OSError, match="served is damaged"):
        subjects.of_saved_model(folder, SHAPES)


# What cannot be.


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"crops": 2}, "`crops` must be one of"),
        ({"statistics": "global"}, "`statistics` must be one of"),
        ({"split": "validation"}, "`split` must be one of"),
        ({"crops": 10, "statistics": "batch"}, "one view of each image"),
    ],
)
def test_an_impossible_protocol_is_refused(entries, words):
    with pytest.raises(ValueError, match=words):
        evaluation.Protocol(**entries)


def test_batch_statistics_are_refused_where_there_are_none(trained, tmp_path):
    folder, _ = trained(steps=1, normalization="none")
    protocol = evaluation.Protocol(statistics="batch")
    for subject in (subjects.of_run(folder, OWN), subjects.of_saved_model(served(tmp_path / "served"), SHAPES)):
        with pytest.raises(ValueError, match="use --statistics=moving"):
            evaluation.report(subject, protocol, 50)


def test_batch_statistics_need_a_batch_size_and_no_xla_on_several_replicas(trained):
    folder, _ = trained(steps=1)
    protocol = evaluation.Protocol(statistics="batch")
    with pytest.raises(ValueError, match="decided by `batch_size`: give it"):
        evaluation.report(subjects.of_run(folder, OWN), protocol)
    with pytest.raises(ValueError, match="--replicas=1"):
        evaluation.report(subjects.of_run(folder, OWN, 2, "on"), protocol, 50)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        evaluation.report(subjects.of_run(folder, OWN), batch_size=0)


def test_a_folder_that_is_no_run_is_refused(tmp_path, trained):
    with pytest.raises(FileNotFoundError, match="must be the folder of a run"):
        subjects.of_run(tmp_path, OWN)
    folder, _ = trained(steps=1)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"settings": {**config["settings"], "colour": "red"}}))
    with pytest.raises(ValueError, match=r"config.json is damaged, or was made by another version .*colour"):
        subjects.of_run(folder, OWN)


def test_several_machines_are_refused(tmp_path, monkeypatch, trained):
    folder, _ = trained(steps=1)
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    for subject_of, path in ((subjects.of_run, folder), (subjects.of_saved_model, served(tmp_path / "served"))):
        with pytest.raises(ValueError, match="unset TF_CONFIG"):
            subject_of(path, SHAPES)


def test_a_network_that_computes_no_numbers_is_an_error(trained):
    folder, _ = trained(steps=1)
    subject = subjects.of_run(folder, OWN)
    kernel = subject.computation.model.get_layer("main").kernel
    kernel.assign(kernel * np.nan)
    with pytest.raises(FloatingPointError, match="no numbers"):
        evaluation.report(subject)


def test_too_little_memory_says_what_to_do(trained, monkeypatch):
    folder, _ = trained(steps=1)

    def exhausted(self):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(evaluation.Evaluation, "scores", exhausted)
    with pytest.raises(RuntimeError, match=r"50 images of 1 view.*smaller --batch_size"):
        evaluation.report(subjects.of_run(folder, OWN))


def test_one_program_serves_all_batches_and_all_passes(trained, strategy):
    _, outcome = trained(steps=1)
    run = evaluation.Evaluation(
        steps.Computation(outcome.model, tf.distribute.get_strategy()), outcome.dataset, outcome.prepare, 50
    )
    first = run.means()
    assert run.means() == first
    assert run._step.experimental_get_tracing_count() == 1
