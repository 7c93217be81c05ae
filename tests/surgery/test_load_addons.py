"""Files of a net with TensorFlow Addons' WeightNormalization, from tests/golden/addons.py."""

import json
import pathlib
import shutil

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_norms
from keras_norms import surgery

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
NET = json.loads((FOLDER / "addons_net.json").read_text())["net"]
GOLDEN = {name: np.array(value, "float32") for name, value in NET.items()}
CHECKPOINT = FOLDER / "addons_net"
CHECKPOINTS_ARE_READ = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow reads its checkpoints"
)


def normalized(layer, name, **options):
    return keras_norms.WeightNormalization(layer, name=name, **options)


def plain(layer, name, axis=None):
    return type(layer).from_config({**layer.get_config(), "name": name})


def ours(normalized=normalized):
    """The net of tests/golden/addons.py."""
    deep = normalized(layers.Conv2D(5, 2, use_bias=False), "deep")
    block = keras.Sequential([keras.Input((4, 4, 4)), deep, layers.BatchNormalization(name="inner")], name="block")
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            normalized(layers.Conv2D(4, 3), "conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            block,
            layers.DepthwiseConv2D(2, name="depthwise"),
            normalized(layers.Conv2DTranspose(2, 2), "up", axis=-1),
            layers.Flatten(),
            layers.Dense(7, activation="relu", name="dense"),
            normalized(layers.Dense(3), "head"),
        ]
    )


def assert_same(model):
    y = ops.convert_to_numpy(model(GOLDEN["x"]))
    np.testing.assert_allclose(y, GOLDEN["y"], rtol=1e-5, atol=1e-5 * np.abs(GOLDEN["y"]).max())


@pytest.fixture
def weights_alone(tmp_path):
    """What `save_weights` writes is what a whole model has in `model_weights`."""
    with h5py.File(FOLDER / "addons_net.h5") as whole, h5py.File(tmp_path / "weights.h5", "w") as file:
        group = whole["model_weights"]
        for name in group:
            group.copy(name, file)
        file.attrs.update(group.attrs)
    return tmp_path / "weights.h5"


@pytest.mark.parametrize("kind", [normalized, plain])
def test_a_whole_model(kind):
    loaded, report = surgery.load(ours(kind), FOLDER / "addons_net.h5")
    assert_same(loaded)
    assert report.left == ()
    assert loaded.get_layer("norm").epsilon == 0.02
    assert loaded.get_layer("norm").momentum == 0.9


def test_weights_alone_do_not_tell_of_epsilon(weights_alone):
    loaded, report = surgery.load(ours(), weights_alone, epsilon=0.02, momentum=0.9)
    assert_same(loaded)
    loaded, report = surgery.load(ours(), weights_alone)
    assert "epsilon 0.001; momentum 0.99" in report["norm"].reason


@CHECKPOINTS_ARE_READ
def test_a_checkpoint(tmp_path):
    loaded, report = surgery.load(ours(), CHECKPOINT, epsilon=0.02, momentum=0.9)
    assert_same(loaded)
    assert report.left == ()
    for file in FOLDER.glob("addons_net.*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "addons_net"\n')
    assert_same(surgery.load(ours(), tmp_path, epsilon=0.02)[0])


def test_scales_and_directions_are_those_of_addons():
    loaded, _ = surgery.load(ours(), FOLDER / "addons_net.h5")
    with h5py.File(FOLDER / "addons_net.h5") as file:
        conv = file["model_weights/conv/conv"]
        g, v = conv["g:0"][()], conv["kernel:0"][()]
    layer = loaded.get_layer("conv")
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.scales["kernel"]), g)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.layer.kernel), v)


def test_our_batch_norm():
    model = keras.Sequential([keras.Input((4, 4, 4)), keras_norms.BatchNorm(name="norm")])
    loaded, report = surgery.load(model, FOLDER / "addons_net.h5")
    with h5py.File(FOLDER / "addons_net.h5") as file:
        norm = file["model_weights/norm/norm"]
        for value, name in zip(loaded.layers[0].statistics(), ("moving_mean", "moving_variance"), strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(value), norm[f"{name}:0"][()])
    left = ["conv", "block/deep", "block/inner", "depthwise", "up", "dense", "head"]
    assert sorted(row.layer for row in report.left) == sorted(f"source: {name}" for name in left)


def changed(folder, change):
    shutil.copy(FOLDER / "addons_net.h5", folder / "net.h5")
    with h5py.File(folder / "net.h5", "a") as file:
        change(file["model_weights"])
    return folder / "net.h5"


def replaced(name, value):
    def change(group):
        del group[name]
        if value is not None:
            group[name] = value

    return change


REFUSED = {
    "never called": (replaced("conv/conv/initialized:0", False), "'conv' has never computed anything"),
    "no g": (replaced("conv/conv/g:0", None), "needs a length"),
    "no v": (replaced("conv/conv/kernel:0", None), "needs a kernel"),
    "a longer g": (replaced("conv/conv/g:0", np.ones(7)), "length for each element"),
    "another kernel": (replaced("dense/dense/kernel:0", np.ones((8, 7))), r"kernel of shape \(18, 7\).*\(8, 7\)"),
    "NaN": (replaced("dense/dense/bias:0", np.full(7, np.nan)), "'dense/bias' with NaN"),
    "infinity": (replaced("norm/norm/gamma:0", np.full(4, np.inf)), "'norm/gamma' with NaN or infinity"),
    "a negative variance": (replaced("norm/norm/moving_variance:0", np.full(4, -1e-3)), "variance of at least 0"),
    "no variance": (replaced("norm/norm/moving_variance:0", None), "needs a variance"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case, tmp_path):
    change, match = REFUSED[case]
    with pytest.raises(ValueError, match=match):
        surgery.load(ours(), changed(tmp_path, change))


def test_axis_of_transposed_convolutions_is_told():
    model = keras.Sequential([keras.Input((3, 3, 5)), normalized(layers.Conv2DTranspose(2, 2), "up")])
    with pytest.raises(ValueError, match=r"Build it with `axis=\[3\]`"):
        surgery.load(model, FOLDER / "addons_net.h5")


def test_a_scale_is_needed():
    model = keras.Sequential([keras.Input((18,)), normalized(layers.Dense(3), "head", use_scale=False)])
    with pytest.raises(ValueError, match="Build it with `use_scale=True`"):
        surgery.load(model, FOLDER / "addons_net.h5")


def test_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data/conv/0"] = np.ones(3)
    with pytest.raises(ValueError, match=r"is not an HDF5 file of tf\.keras"):
        surgery.load(ours(), tmp_path / "other.h5")
    data = (FOLDER / "addons_net.h5").read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "short.h5").write_bytes(data[:length])
        with pytest.raises(ValueError, match="is not an HDF5 file, or not all of it"):
            surgery.load(ours(), tmp_path / "short.h5")


@CHECKPOINTS_ARE_READ
def test_damaged_checkpoints_are_refused(tmp_path):
    data = (FOLDER / "addons_net.data-00000-of-00001").read_bytes()
    shutil.copy(FOLDER / "addons_net.index", tmp_path)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        surgery.load(ours(), tmp_path / "addons_net")
    (tmp_path / "addons_net.data-00000-of-00001").write_bytes(data[:1000])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        surgery.load(ours(), tmp_path / "addons_net")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        surgery.load(ours(), tmp_path / "empty")
