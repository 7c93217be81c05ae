"""Whole nets and single layers of PyTorch (2.13). Skipped where it is not installed; any backend of Keras will do."""

import copy

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_norms
from keras_norms import surgery

torch = pytest.importorskip("torch")
nn = torch.nn
weight_norm = nn.utils.parametrizations.weight_norm
# Float32 sums in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def moved(net, seed=0):
    """Moves all parameters and statistics off their initial values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.3, 3.0, generator=generator)
            elif tensor.is_floating_point():
                tensor.uniform_(-0.8, 1.0, generator=generator)
    return net.eval()


def channels_last(x):
    return np.moveaxis(x, 1, -1)


def assert_same(net, model, shape, names=None, **options):
    """Loads the net's state dict and compares what both make of random inputs of a shape with channels first."""
    loaded, report = surgery.load(model, net.state_dict(), names, **options)
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    with torch.no_grad():
        expected = net(torch.tensor(x)).numpy()
    if expected.ndim > 2:
        expected = channels_last(expected)
    result = ops.convert_to_numpy(loaded(channels_last(x)))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    return loaded, report


class Published(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.conv = nn.Conv2d(6, 4, 3, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.features = nn.BatchNorm1d(24)
        self.hidden = nn.Linear(24, 7)
        self.head = nn.Linear(7, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(self.pool(self.stem(x)))))
        x = self.features(torch.flatten(x, 1))
        return self.head(torch.relu(self.hidden(x)))


NAMES = {"stem_conv": "stem.0", "stem_norm": "stem.1"}


def published(norm=keras_norms.BatchNorm):
    return keras.Sequential(
        [
            keras.Input((10, 8, 3)),
            layers.Conv2D(6, 3, padding="same", use_bias=False, name="stem_conv"),
            norm(name="stem_norm"),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 3, groups=2, name="conv"),
            norm(name="norm"),
            layers.ReLU(),
            layers.Flatten(),
            norm(name="features"),
            layers.Dropout(0.5),
            layers.Dense(7, activation="relu", name="hidden"),
            layers.Dense(5, name="head"),
        ]
    )


@pytest.mark.parametrize("norm", [keras_norms.BatchNorm, layers.BatchNormalization, keras_norms.GhostBatchNorm])
def test_a_whole_net(norm):
    norm = (
        norm if norm is not keras_norms.GhostBatchNorm else lambda **options: keras_norms.GhostBatchNorm(2, **options)
    )
    model = published(norm)
    before = [ops.convert_to_numpy(v) for v in model.variables]
    loaded, report = assert_same(moved(Published()), model, (3, 10, 8), NAMES)
    assert report.left == ()
    assert "brought from (channels, height, width)" in report["hidden"].reason
    assert "brought" not in report["head"].reason
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    assert [v.path for v in loaded.weights] == [v.path for v in model.weights]


def test_training_goes_on_as_in_pytorch():
    """After steps in training from the loaded state the statistics are still PyTorch's."""
    net = moved(nn.Sequential(nn.BatchNorm2d(3, momentum=0.3, eps=0.02)))
    model = keras.Sequential([keras.Input((4, 5, 3)), keras_norms.BatchNorm(name="0")])
    loaded, _ = surgery.load(model, net.state_dict(), epsilon=0.02, momentum=0.7)
    net.train()
    for seed in range(3):
        x = np.random.default_rng(seed).normal(2, 3, (4, 3, 4, 5)).astype("float32")
        expected = net(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(
            channels_last(expected), ops.convert_to_numpy(loaded(channels_last(x), training=True)), rtol=1e-4, atol=1e-4
        )
    mean, variance = loaded.layers[0].statistics()
    np.testing.assert_allclose(ops.convert_to_numpy(mean), net[0].running_mean.numpy(), **CLOSE)
    np.testing.assert_allclose(ops.convert_to_numpy(variance), net[0].running_var.numpy(), **CLOSE)


def net_of(layer):
    net = nn.Sequential()
    net.add_module("layer", layer)
    return moved(net)


def model_of(layer, shape):
    return keras.Sequential([keras.Input(shape), layer])


LINEAR = {
    "dense": (nn.Linear(5, 4), lambda: layers.Dense(4, name="layer"), (5,)),
    "conv1d": (nn.Conv1d(3, 4, 2, stride=2), lambda: layers.Conv1D(4, 2, strides=2, name="layer"), (3, 7)),
    "conv2d": (nn.Conv2d(3, 4, (2, 3)), lambda: layers.Conv2D(4, (2, 3), name="layer"), (3, 5, 6)),
    "conv3d": (nn.Conv3d(2, 3, (1, 2, 3)), lambda: layers.Conv3D(3, (1, 2, 3), name="layer"), (2, 4, 5, 6)),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2), lambda: layers.Conv2D(4, 3, groups=2, name="layer"), (6, 5, 6)),
    "depthwise": (
        nn.Conv2d(3, 6, (2, 3), groups=3),
        lambda: layers.DepthwiseConv2D((2, 3), depth_multiplier=2, name="layer"),
        (3, 5, 6),
    ),
    "transposed1d": (
        nn.ConvTranspose1d(3, 5, 4, stride=2),
        lambda: layers.Conv1DTranspose(5, 4, strides=2, name="layer"),
        (3, 6),
    ),
    "transposed2d": (
        nn.ConvTranspose2d(3, 5, (3, 4), stride=2),
        lambda: layers.Conv2DTranspose(5, (3, 4), strides=2, name="layer"),
        (3, 4, 5),
    ),
}


def transposed(case):
    return case.startswith("transposed")


@pytest.mark.parametrize("case", LINEAR)
def test_linear_layers(case):
    theirs, ours, shape = LINEAR[case]
    _, report = assert_same(net_of(theirs), model_of(ours(), (*shape[1:], shape[0])), shape)
    assert report["layer"].done == "loaded from 'layer': weight, bias"


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("case", LINEAR)
def test_weight_norm_into_ours_and_into_the_layer_itself(case, old):
    theirs, ours, shape = LINEAR[case]
    apply = nn.utils.weight_norm if old else weight_norm
    net = net_of(apply(copy.deepcopy(theirs), dim=1 if transposed(case) else 0))
    shapes = (*shape[1:], shape[0])
    inner = type(ours()).from_config({**ours().get_config(), "name": "inner"})
    wrapped = keras_norms.WeightNormalization(inner, name="layer")
    loaded, _ = assert_same(net, model_of(wrapped, shapes), shape)
    scale = ops.convert_to_numpy(loaded.layers[0].scales["kernel"])
    g = next(value for name, value in net.state_dict().items() if name.endswith(("weight_g", "original0")))
    np.testing.assert_array_equal(scale.reshape(-1), g.numpy().reshape(-1))
    _, report = assert_same(net, model_of(ours(), shapes), shape)
    assert "which weight normalization computes" in report["layer"].reason


@pytest.mark.parametrize(("dim", "axis"), [(0, -1), (1, -2), (2, 0), (3, 1), (None, ())])
def test_weight_norm_along_any_axis(dim, axis):
    net = net_of(weight_norm(nn.Conv2d(3, 4, (2, 5)), dim=dim))
    wrapper = keras_norms.WeightNormalization(layers.Conv2D(4, (2, 5)), axis=axis, name="layer")
    assert_same(net, model_of(wrapper, (6, 7, 3)), (3, 6, 7))
    if dim != 0:
        with pytest.raises(ValueError, match=r"Build it with `axis=\["):
            surgery.load(
                model_of(keras_norms.WeightNormalization(layers.Conv2D(4, (2, 5)), name="layer"), (6, 7, 3)),
                net.state_dict(),
            )


def test_weight_norm_of_transposed_convolutions_is_by_input_there():
    net = net_of(weight_norm(nn.ConvTranspose2d(3, 5, 2)))
    layer = layers.Conv2DTranspose(5, 2)
    with pytest.raises(ValueError, match=r"Build it with `axis=\[3\]`"):
        surgery.load(model_of(keras_norms.WeightNormalization(layer, name="layer"), (4, 4, 3)), net.state_dict())
    layer = keras_norms.WeightNormalization(layers.Conv2DTranspose(5, 2), axis=-1, name="layer")
    assert_same(net, model_of(layer, (4, 4, 3)), (3, 4, 4))


@pytest.mark.parametrize("dim", [0, 1])
def test_weight_norm_behind_a_flattened_image(dim):
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("layer", weight_norm(nn.Linear(24, 3), dim=dim))
    wrapper = keras_norms.WeightNormalization(layers.Dense(3), axis=-1 - dim, name="layer")
    model = keras.Sequential([keras.Input((3, 2, 4)), layers.Flatten(), wrapper])
    assert_same(moved(net), model, (4, 3, 2))


@pytest.mark.parametrize("case", LINEAR)
def test_plain_kernel_into_weight_normalization(case):
    theirs, ours, shape = LINEAR[case]
    inner = type(ours()).from_config({**ours().get_config(), "name": "inner"})
    wrapper = keras_norms.WeightNormalization(inner, name="layer")
    _, report = assert_same(net_of(theirs), model_of(wrapper, (*shape[1:], shape[0])), shape)
    assert "its scale is the norm of the kernel" in report["layer"].reason


def test_files(tmp_path):
    net = moved(Published())
    torch.save(net.state_dict(), tmp_path / "net.pt")
    torch.save(net.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for file in ("net.pt", "old.pth"):
        loaded, _ = surgery.load(published(), tmp_path / file, NAMES)
        expected, _ = surgery.load(published(), net.state_dict(), NAMES)
        for ours, theirs in zip(loaded.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))


@pytest.mark.parametrize("length", [0, 10, 700, -10])
def test_truncated_files_are_refused(length, tmp_path):
    torch.save(moved(Published()).state_dict(), tmp_path / "net.pt")
    data = (tmp_path / "net.pt").read_bytes()
    (tmp_path / "net.pt").write_bytes(data[:length])
    with pytest.raises(ValueError, match=r"must be a file of `torch\.save"):
        surgery.load(published(), tmp_path / "net.pt", NAMES)


def test_a_pickled_model_is_refused(tmp_path):
    torch.save(moved(Published()), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"must be a file of `torch\.save"):
        surgery.load(published(), tmp_path / "net.pt", NAMES)


def test_half_precision():
    net = net_of(nn.Linear(5, 4)).to(torch.bfloat16)
    loaded, _ = surgery.load(model_of(layers.Dense(4, name="layer"), (5,)), net.state_dict())
    kernel = ops.convert_to_numpy(loaded.layers[0].kernel)
    np.testing.assert_array_equal(kernel, net[0].weight.detach().float().numpy().T)
