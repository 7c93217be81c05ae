import hashlib
import itertools
import json
import os
import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_norms
from keras_norms import export
from keras_norms.export import saved_model
from tests.export import conftest
from tests.export.conftest import CLASS_NAMES, preprocess


def everything(folder):
    return {path.relative_to(folder): digest(path) for path in folder.rglob("*")}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def served(version, pixels):
    outputs = tf.saved_model.load(version).signatures["serving_default"](image=tf.constant(pixels, "float32"))
    return outputs["probabilities"].numpy(), outputs["class_id"].numpy()


def manifest_of(version):
    return json.loads((version / "assets.extra" / "keras_norms_manifest.json").read_text())


def shapes_saved(version):
    return [
        shape
        for name, shape in tf.train.list_variables(str(version / "variables" / "variables"))
        if "GRAPH" not in name
    ]


def test_version_has_what_tensorflow_serving_reads(version):
    assert version.name == "1"
    assert {str(path) for path in everything(version)} == {
        "assets",
        "assets/class_names.txt",
        "assets.extra",
        "assets.extra/keras_norms_manifest.json",
        "assets.extra/tf_serving_warmup_requests",
        "batching_params.pbtxt",
        "fingerprint.pb",
        "saved_model.pb",
        "variables",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    }
    assert [path.name for path in version.parents[1].iterdir()] == ["tiny"]


def test_others_may_read_the_version(version):
    umask = os.umask(0)
    os.umask(umask)
    assert version.stat().st_mode & 0o777 == 0o777 & ~umask


def test_serves_the_main_head_in_inference_for_any_batch(version, model, hostile):
    for batch in (1, 2, 7):
        pixels = 4 * hostile((batch, 8, 9, 3), seed=batch)
        expected = conftest.probabilities(model, pixels)
        probabilities, class_id = served(version, pixels)
        # Sums of up to 36 products in float32, in two orders.
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        np.testing.assert_array_equal(class_id, expected.argmax(-1))


def test_inputs_tell_inference_from_training(pixels):
    model = conftest.network(heads=("main", "aux"))  # its statistics move
    inference = conftest.probabilities(model, pixels)
    dropped = keras.ops.softmax(model(preprocess(pixels.astype("float32")), training=True)["main"])
    assert np.abs(inference - np.asarray(dropped)).max() > 0.01


def test_class_names_are_an_asset_of_the_graph(version):
    assert (version / "assets" / "class_names.txt").read_text(encoding="utf-8").splitlines() == CLASS_NAMES
    meta_graph = tf.compat.v1.saved_model.load(tf.compat.v1.Session(graph=tf.Graph()), ["serve"], str(version))
    assert [asset.filename for asset in meta_graph.asset_file_def] == ["class_names.txt"]


def test_other_heads_are_left_out(version, model):
    assert len(model.weights) == 19
    # Convolution with the batch norm folded in, and the dense layers; no statistics, no random state of the dropout.
    expected = [[3, 3, 3, 4], [4], [4, 4], [4], [4, 3], [3]]
    assert sorted(shapes_saved(version)) == sorted(expected)


def test_manifest_says_what_the_version_is(version):
    manifest = manifest_of(version)
    assert manifest["singleprint"] == tf.saved_model.experimental.read_fingerprint(str(version)).singleprint()
    assert manifest["versions"] == {
        "keras_norms": keras_norms.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    assert manifest["classes"] == 3
    assert manifest["command"] == shlex.join(sys.argv)
    assert manifest["origin"] == {"recipe": "none"}
    assert manifest["verification"] == [
        "5 images get the probabilities of the model, up to 5e-05 of the largest, without Keras.",
        "5 images get the probabilities of the model through the C API, up to 5e-05 of the largest.",
    ]
    assert list(manifest["folded"]) == ["batch_norm_before"]
    files = {str(path) for path, content in everything(version).items() if content}
    assert manifest["sha256"].keys() == files - {"assets.extra/keras_norms_manifest.json"}
    assert all(digest(version / name) == value for name, value in manifest["sha256"].items())


def test_manifest_has_the_signatures(version):
    signatures = tf.saved_model.load(version).signatures
    manifest = manifest_of(version)["signatures"]
    assert manifest.keys() == set(signatures) == {"serving_default", "image_bytes", "classify"}
    for name, said in manifest.items():
        real = {
            "inputs": signatures[name].structured_input_signature[1],
            "outputs": signatures[name].structured_outputs,
        }
        for side, tensors in real.items():
            assert said[side] == {
                key: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for key, spec in tensors.items()
            }


def test_next_version_of_a_model_in_bfloat16_serves_float32(pixels, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = conftest.network(normalization=keras_norms.BatchNorm(dtype="float32"))
    keras.config.set_dtype_policy("float32")
    (tmp_path / "m" / "7").mkdir(parents=True)
    (tmp_path / "m" / "7" / "saved_model.pb").write_text("old")
    version = export.export(model, tmp_path, "m", CLASS_NAMES, preprocess, pixels)
    assert version == tmp_path / "m" / "8"
    assert [path.name for path in (tmp_path / "m" / "7").iterdir()] == ["saved_model.pb"]
    probabilities, _ = served(version, pixels)
    assert all("up to 1e-01" in line for line in manifest_of(version)["verification"])
    assert probabilities.dtype == "float32"
    # As probabilities in bfloat16 would not.
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(probabilities, conftest.probabilities(model, pixels), atol=0.05)


def test_model_of_several_replicas_has_the_mean_of_their_statistics_once(strategy, pixels, tmp_path):
    with strategy.scope():
        model = conftest.network()

    @tf.function
    def step(images):
        strategy.run(lambda images: model(images, training=True), (images,))

    images = np.linspace(-3, 8, 64, dtype="float32").reshape(-1, 1, 1, 1) * np.ones((8, 9, 3), "float32")
    for batch in strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(images).batch(64)):
        step(batch)
    mean = next(weight for weight in model.weights if "moving_mean" in weight.path)
    first, second = (np.asarray(value) for value in mean.value.values)
    assert np.abs(first - second).max() > 0.1
    expected = conftest.probabilities(model, pixels)  # read outside the replicas: the mean
    version = export.export(model, tmp_path, "m", CLASS_NAMES, preprocess, pixels)
    np.testing.assert_allclose(served(version, pixels)[0], expected, atol=1e-5)
    assert len(shapes_saved(version)) == 6


def refused(model, tmp_path, pixels, preprocess=preprocess):
    """Returns the lines for which an export is refused, which must leave nothing."""
    with pytest.raises(RuntimeError, match="must serve what the model computes") as error:
        export.export(model, tmp_path, "m", CLASS_NAMES, preprocess, pixels)
    assert everything(tmp_path) == {}
    _, *lines = str(error.value).splitlines()
    return lines


class Training(keras.layers.Wrapper):
    """Trains also in inference. An argument `training=True` of a functional model would give way to that of a call."""

    def call(self, inputs):
        return self.layer(inputs, training=True)


def test_model_that_trains_is_refused(pixels, tmp_path):
    def trained(x):
        return Training(keras.layers.Dropout(0.5))(Training(keras_norms.BatchNorm())(x))

    lines = refused(conftest.network(normalization=trained), tmp_path, pixels)
    for reason in ("assigns a variable", "draws random numbers", "normalizes by the statistics of the batch"):
        assert sum(reason in line for line in lines) == 1


def test_preprocessing_compiled_with_xla_is_refused(pixels, tmp_path):
    (line,) = refused(conftest.network(), tmp_path, pixels, tf.function(preprocess, jit_compile=True))
    assert "compiled with XLA" in line


def test_preprocessing_that_changes_is_refused(pixels, tmp_path):
    calls = itertools.count(1)
    lines = refused(conftest.network(), tmp_path, pixels, lambda pixels: preprocess(pixels) * next(calls))
    assert [line.split(" must ")[0] for line in lines][:2] == ["The images", "The first image alone"]
    assert lines[-1].startswith("The C API must give the probabilities of the model")


@pytest.mark.parametrize("check", saved_model.CHECKS)
def test_verification_that_crashes_is_refused(check, pixels, tmp_path, monkeypatch):
    (tmp_path / "killed.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setitem(saved_model.CHECKS, check, tmp_path / "killed.py")
    (tmp_path / "models").mkdir()
    assert refused(conftest.network(), tmp_path / "models", pixels) == ["killed.py ended with status -9."]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_is_interrupted_leaves_nothing(error, pixels, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise error

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(error):
        export.export(conftest.network(), tmp_path, "m", CLASS_NAMES, preprocess, pixels)
    assert everything(tmp_path) == {}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "a/b"}, "`name` must.*'a/b'"),
        ({"class_names": CLASS_NAMES[:2]}, "the 3 classes. Received: 2 names"),
        ({"class_names": [*CLASS_NAMES, "dog"]}, "the 3 classes. Received: 4 names"),
        ({"class_names": ["cat", "do\ng", "fox"]}, r"one line.*'do\\ng'"),
        ({"class_names": ["cat", "", "fox"]}, "one line.*''"),
        ({"images": np.ones((1, 8, 9, 3))}, r"`images` must.*\(1, 8, 9, 3\)"),
        ({"images": np.ones((8, 9, 3))}, r"`images` must.*\(8, 9, 3\)"),
        ({"origin": {"accuracy": float("nan")}}, "not JSON compliant"),
    ],
)
def test_bad_arguments_are_refused(changed, message, model, pixels, tmp_path):
    arguments = {
        "model": model,
        "folder": tmp_path,
        "name": "m",
        "class_names": CLASS_NAMES,
        "preprocess": preprocess,
        "images": pixels,
    }
    with pytest.raises(ValueError, match=message):
        export.export(**arguments | changed)
    assert everything(tmp_path) == {}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda x: {"left": x, "right": x}, r"one called 'main'. Received: outputs=\['left', 'right'\]"),
        (lambda x: keras.layers.Reshape((3, 1))(x), r"shape `\(batch, classes\)`. Received: shape=\(None, 3, 1\)"),
    ],
)
def test_bad_models_are_refused(outputs, message, pixels, tmp_path):
    inputs = keras.Input((8, 9, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    with pytest.raises(ValueError, match=message):
        export.export(keras.Model(inputs, outputs(x)), tmp_path, "m", CLASS_NAMES, preprocess, pixels)


def test_unwritable_folder_is_refused_before_tensorflow_sees_it(model, pixels, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="`folder` must be a folder"):
        export.export(model, tmp_path / "file", "m", CLASS_NAMES, preprocess, pixels)
