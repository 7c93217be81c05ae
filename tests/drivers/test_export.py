"""The driver as a command: a run that has ended, one that has not, .keras files, and wrong words."""

import json

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import keras_norms
from keras_norms.training import run_folder
from tests.drivers import forked


def run(folder, *arguments):
    return forked.run("export.py", [f"--export_dir={folder / 'saved_models'}", *arguments], folder)


def manifest(version):
    return json.loads((version / "assets.extra" / "keras_norms_manifest.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    flags = ["--arch=resnet20", "--image_size=16", "--steps=2", "--batch_size=8", "--workdir=run", "--export_dir="]
    result = forked.run("train.py", flags, folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture
def keras_file(tmp_path):
    """Returns a function of a classifier's activation to the flags for its file."""
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (12 + i, 20, 3), "uint8")
        PIL.Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "names.txt").write_text("left\nright\n")

    def flags(activation=None):
        inputs = keras.Input((8, 8, 3))
        x = keras_norms.BatchNorm()(keras.layers.Conv2D(4, 3)(inputs))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
        keras.Model(inputs, keras.layers.Dense(2, activation=activation)(x)).save(tmp_path / "mine.keras")
        return f"--model={tmp_path / 'mine.keras'}", "--class_names=names.txt", "--images=*.png", "--deviation=255"

    return flags


def test_a_run_is_exported_once_as_by_the_training(trained, tmp_path):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    for _ in range(2):
        result = run(tmp_path, f"--run={trained}")
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    assert "drivers/query.py" in result.stdout
    (version,) = (tmp_path / "saved_models" / "resnet20").iterdir()
    origin = manifest(version)["origin"]
    assert origin["settings"]["arch"] == "resnet20"
    assert origin["result"] == run_folder.result(trained)
    assert origin["statistics"] == "moving"
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_recomputed_statistics_are_tested_and_told(trained, tmp_path):
    result = run(tmp_path, f"--run={trained}", "--statistics=recomputed", "--batches=3", "--export_name=other")
    assert result.returncode == 0, result.stderr
    assert "conv1" in result.stdout
    moving = run_folder.result(trained)
    origin = manifest(tmp_path / "saved_models" / "other" / "1")["origin"]
    assert (origin["statistics"], origin["batches"]) == ("recomputed", 3)
    assert origin["result"]["test_loss"] != moving["test_loss"]
    assert origin["result"]["test_examples"] == moving["test_examples"]


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_keras_file_is_exported(activation, keras_file, tmp_path):
    outputs = "probabilities" if activation else "logits"
    result = run(tmp_path, *keras_file(activation), f"--outputs={outputs}")
    assert result.returncode == 0, result.stderr
    version = tmp_path / "saved_models" / "mine" / "1"
    served = tf.saved_model.load(version).signatures["image_bytes"](
        image_bytes=tf.constant([(tmp_path / "0.png").read_bytes()])
    )
    assert served["class_name"][0].numpy().decode() in ("left", "right")
    model = keras.saving.load_model(tmp_path / "mine.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    serve = tf.saved_model.load(version).signatures["serving_default"]
    expected = np.asarray(model(pixels / 255))
    expected = expected if activation else np.asarray(keras.ops.softmax(expected))
    np.testing.assert_allclose(serve(image=tf.constant(pixels))["probabilities"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give one of --run and --model"),
        (["--run=none"], "`run` must be the folder of a run"),
        (["--model=none.keras"], "--class_names, --images"),
        (["--run=none", "--statistics=batch"], "would depend on the others in its batch"),
        (["--run=none", "--format=caffe"], "`format` must be among"),
    ],
)
def test_bad_input_gets_one_clear_error_and_leaves_nothing(arguments, words, tmp_path):
    result = run(tmp_path, *arguments)
    assert result.returncode not in (0, 130)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("saved_models/*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images=0.png"], "two or more files"),
        (["--images=*.txt"], "two or more files"),
        (["--mean=1,2"], "one for each of 3 channels"),
        (["--class_names=none.txt"], "none.txt"),
    ],
)
def test_bad_words_about_a_keras_file_are_refused(arguments, words, keras_file, tmp_path):
    result = run(tmp_path, *keras_file(), *arguments)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("saved_models/*"))
