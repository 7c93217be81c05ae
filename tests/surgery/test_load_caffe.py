"""Nets of Caffe: against outputs of OpenCV, which reads `.caffemodel` files by itself, and closed forms."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_norms
from keras_norms import surgery
from tests.golden import caffe

GOLDEN = json.loads((caffe.FOLDER / "caffe.json").read_text())


def channels_last(x):
    return np.moveaxis(np.array(x, "float32"), 1, -1)


def output(model, x):
    return ops.convert_to_numpy(model(x))


def written(folder, *layers, name="net.caffemodel", net=caffe.net):
    (folder / name).write_bytes(net(list(layers)))
    return folder / name


def trunk(norm1, norm2, norm3):
    return keras.Sequential(
        [
            keras.Input((10, 8, 3)),
            layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv1"),
            *norm1,
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 3, groups=2, name="conv2"),
            *norm2,
            layers.ReLU(),
            layers.Conv2DTranspose(5, (2, 3), strides=2, use_bias=True, name="up"),
            *norm3,
            layers.Flatten(),
            layers.Dense(7, name="fc1"),
            layers.Dense(3, name="fc2"),
        ]
    )


def with_ours():
    bare = {"use_scale": False, "use_bias": False}
    return trunk(
        [keras_norms.BatchNorm(name="norm1")],
        [keras_norms.BatchNorm(name="norm2", **bare)],
        [keras_norms.BatchNorm(name="norm3", **bare), keras_norms.Scale(name="scale3")],
    )


def with_those_of_keras():
    return trunk(*([layers.BatchNormalization(name=f"norm{number}")] for number in (1, 2, 3)))


def with_layers_of_their_own():
    bare = {"use_scale": False, "use_bias": False}
    return trunk(
        [keras_norms.BatchNorm(name="norm1", **bare), keras_norms.Scale(name="scale1"), keras_norms.Bias(name="bias1")],
        [layers.BatchNormalization(scale=False, name="norm2")],
        [layers.BatchNormalization(name="norm3"), keras_norms.Scale(name="scale3")],
    )


@pytest.mark.parametrize("make", [with_ours, with_those_of_keras, with_layers_of_their_own])
def test_a_whole_net(make):
    names = {"bias1": "scale1"} if make is with_layers_of_their_own else None
    loaded, report = surgery.load(make(), caffe.FOLDER / "caffe_net.caffemodel", names)
    expected = np.array(GOLDEN["caffe_net"])
    np.testing.assert_allclose(
        output(loaded, channels_last(GOLDEN["image"])), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )
    assert report.left == ()
    assert report["conv2"].done == "loaded from 'conv2': blob 0, blob 1"
    assert report["norm1"].done.startswith("loaded from 'norm1': blob 0, blob 1, blob 2")
    assert "epsilon 0.02 (was" in report["norm1"].reason
    assert "momentum 0.95 (was" in report["norm1"].reason
    assert "epsilon 1e-05" in report["norm2"].reason
    assert "momentum 0.999" in report["norm2"].reason


def test_a_net_of_2014():
    model = keras.Sequential(
        [
            keras.Input((10, 8, 3)),
            layers.Conv2D(6, 3, activation="relu", name="conv1"),
            layers.Flatten(),
            layers.Dense(4, name="fc1"),
        ]
    )
    loaded, _ = surgery.load(model, caffe.FOLDER / "caffe_2014.caffemodel")
    expected = np.array(GOLDEN["caffe_2014"])
    np.testing.assert_allclose(
        output(loaded, channels_last(GOLDEN["image"])), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )


def norm(blobs, **parameters):
    numbers = {"fraction": 2, "eps": 3}
    return caffe.layer(
        "norm", "BatchNorm", "x", "y", blobs, {caffe.BATCH_NORM: {numbers[k]: v for k, v in parameters.items()}}
    )


def bare(**options):
    layer = keras_norms.BatchNorm(use_scale=False, use_bias=False, name="norm", **options)
    return keras.Sequential([keras.Input((5, 3)), layer])


def test_training_goes_on_as_in_caffe(tmp_path):
    """The sums of Caffe after 3 steps, loaded, after 2 more steps: as its equations say, in float64."""
    fraction = float(np.float32(0.9))
    batches = [np.random.default_rng(seed).normal([1, -20, 30], [1, 5, 0.1], (4, 5, 3)) for seed in range(5)]
    mean, variance, factor = np.zeros(3), np.zeros(3), 0.0
    for step, batch in enumerate(batches):
        if step == 3:
            file = written(tmp_path, norm([mean, variance, np.array([factor])], fraction=0.9))
        mean = fraction * mean + batch.mean((0, 1))
        variance = fraction * variance + batch.var((0, 1)) * 20 / 19
        factor = fraction * factor + 1
    loaded, _ = surgery.load(bare(), file)
    for batch in batches[3:]:
        loaded(batch.astype("float32"), training=True)
    ours = [ops.convert_to_numpy(value) for value in loaded.layers[0].statistics()]
    np.testing.assert_allclose(ours[0], mean / factor, rtol=1e-6)
    np.testing.assert_allclose(ours[1], variance / factor, rtol=1e-5)


@pytest.mark.parametrize(
    "make", [bare, lambda: keras.Sequential([keras.Input((5, 3)), layers.BatchNormalization(name="norm")])]
)
def test_a_net_that_was_never_trained_divides_by_the_root_of_epsilon(make, tmp_path):
    file = written(tmp_path, norm([np.zeros(3, "float32"), np.zeros(3, "float32"), np.zeros(1, "float32")]))
    loaded, report = surgery.load(make(), file)
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    np.testing.assert_allclose(output(loaded, x), x / np.sqrt(1e-5), rtol=1e-5)
    assert "never trained" in report["norm"].reason


def test_training_after_that_begins_anew(tmp_path):
    file = written(tmp_path, norm([np.zeros(3, "float32"), np.zeros(3, "float32"), np.zeros(1, "float32")]))
    loaded, _ = surgery.load(bare(), file)
    x = np.random.default_rng(0).normal(7, 3, (4, 5, 3)).astype("float32")
    loaded(x, training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(loaded.layers[0].statistics()[0]), x.mean((0, 1)), rtol=1e-5)


def test_doubles_and_transposed_inner_product(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(5, 2))
    transposed = {117: {2: 0, 6: 1}}
    file = written(tmp_path, caffe.layer("fc", "InnerProduct", "x", "y", [kernel], transposed))
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2, use_bias=False, name="fc")])
    loaded, _ = surgery.load(model, file)
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded.layers[0].kernel), kernel.astype("float32"))


def test_a_scalar_scale(tmp_path):
    file = written(tmp_path, caffe.layer("scale", "Scale", "x", "y", [np.array(2.5, "float32")]))
    model = keras.Sequential([keras.Input((5, 3)), keras_norms.Scale(axis=None, name="scale")])
    loaded, _ = surgery.load(model, file)
    assert float(loaded.layers[0].scale) == 2.5


SUMS = caffe.sums(3, 2.0, 0)
SCALE = [caffe.drawn(3), caffe.drawn(3, seed=1)]


def scale(bottom, name="scale"):
    return caffe.layer(name, "Scale", bottom, "z", SCALE, {caffe.SCALE: {4: 1}})


def full():
    return keras.Sequential([keras.Input((5, 3)), keras_norms.BatchNorm(name="norm")])


def test_only_a_scale_right_behind_a_norm_is_its(tmp_path):
    behind = written(tmp_path, norm(SUMS), scale("y"))
    elsewhere = written(tmp_path, norm(SUMS), scale("other"), name="elsewhere.caffemodel")
    branch = caffe.layer("sum", "Pooling", "y", "pooled")
    read_before = written(tmp_path, norm(SUMS), branch, scale("y"), name="before.caffemodel")
    read_after = written(tmp_path, norm(SUMS), scale("y"), branch, name="after.caffemodel")
    np.testing.assert_array_equal(ops.convert_to_numpy(surgery.load(full(), behind)[0].layers[0].scale), SCALE[0])
    for file in (elsewhere, read_before, read_after):
        loaded, report = surgery.load(full(), file)
        np.testing.assert_array_equal(ops.convert_to_numpy(loaded.layers[0].scale), np.ones(3))
        assert "scale 1: the source has none" in report["norm"].reason
        assert report["source: scale"].reason == "no layer of the model takes it"


def test_a_scale_without_a_place_is_refused(tmp_path):
    file = written(tmp_path, norm(SUMS), scale("y"))
    with pytest.raises(ValueError, match="'norm' of the source, has no place for 'blob 0 of scale'"):
        surgery.load(bare(), file)


REFUSED = {
    "two blobs": (norm(SUMS[:2]), "must have 3 blobs"),
    "five blobs": (norm([*SUMS, *SCALE]), "must have 3 blobs"),
    "another number of channels": (norm(caffe.sums(4, 2.0, 0)), r"mean of shape \(3,\).*blob 0 of norm.*\(4,\)"),
    "NaN": (norm([SUMS[0] * np.float32("nan"), *SUMS[1:]]), "blob 0 of norm' with NaN"),
    "a negative variance": (norm([SUMS[0], -SUMS[1], SUMS[2]]), "variance of at least 0.*blob 1 of norm"),
    "a negative factor": (norm([*SUMS[:2], -SUMS[2]]), "factor, one number of at least 0.*blob 2 of norm"),
    "a factor per channel": (norm([*SUMS[:2], SUMS[1]]), "factor, one number of at least 0.*blob 2 of norm"),
    "a plain sum": (norm(SUMS, fraction=1.0), "at least 0 and below 1"),
    "another type": (caffe.layer("norm", "Scale", "x", "y", SCALE[:1]), "needs a mean"),
    "blobs of a fork": (norm([b.reshape(1, -1, 1, 1) for b in SUMS]), "one number per channel"),
    "no layer of that name": (
        caffe.layer("bn", "BatchNorm", "x", "y", SUMS),
        r"has \['norm'\]; the source has \['bn'\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case, tmp_path):
    layer, match = REFUSED[case]
    model = bare()
    with pytest.raises(ValueError, match=match):
        surgery.load(model, written(tmp_path, layer))
    assert float(model.layers[0].moving_weight) == 0


def test_a_missing_bias_blob_is_refused(tmp_path):
    file = written(tmp_path, caffe.layer("fc", "InnerProduct", "x", "y", [caffe.drawn(2, 3)]))
    with pytest.raises(ValueError, match=r"must have 2 blobs \(kernel, bias\).*1 blobs of shapes \[\(2, 3\)\]"):
        surgery.load(keras.Sequential([keras.Input((3,)), layers.Dense(2, name="fc")]), file)


def test_two_layers_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"several layers of the same name.*\['norm'\]"):
        surgery.load(bare(), written(tmp_path, norm(SUMS), norm(SUMS)))


def test_numbers_that_are_missing_are_refused(tmp_path):
    short = caffe.message(
        {1: "norm", 2: "BatchNorm", 7: [caffe.message({7: caffe.message({1: caffe.varint(3)}), 5: b""})] * 3}
    )
    with pytest.raises(ValueError, match=r"Blob 0 of the layer 'norm'.*shape \(3,\).*0 numbers"):
        surgery.load(bare(), written(tmp_path, short))


def test_truncated_files_are_refused(tmp_path):
    data = (caffe.FOLDER / "caffe_net.caffemodel").read_bytes()
    file = tmp_path / "short.caffemodel"
    for length in [0, 1, *range(100, len(data), 997), len(data) - 1]:
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match="caffemodel"):
            surgery.load(with_ours(), file)


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "net.caffemodel"
    file.write_text(caffe.PROTOTXT)
    with pytest.raises(ValueError, match=r"is not a `\.caffemodel` file"):
        surgery.load(with_ours(), file)
    with pytest.raises(ValueError, match="must be a file"):
        surgery.load(with_ours(), tmp_path / "none.caffemodel")
    with pytest.raises(ValueError, match=r"says its epsilon and momentum itself.*epsilon=0\.1"):
        surgery.load(with_ours(), caffe.FOLDER / "caffe_net.caffemodel", epsilon=0.1)
