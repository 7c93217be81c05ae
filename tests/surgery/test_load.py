"""Which layer takes what, and what is refused: with state dicts of arrays, and closed forms."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_norms
from keras_norms import surgery
from keras_norms.surgery.loading import source


def drawn(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype("float32")


def dense(name, inputs, units, seed=0):
    return {f"{name}.weight": drawn(units, inputs, seed=seed), f"{name}.bias": drawn(units, seed=seed)}


def norm(name, channels, seed=0):
    return {
        f"{name}.weight": drawn(channels, seed=seed),
        f"{name}.bias": drawn(channels, seed=seed + 1),
        f"{name}.running_mean": drawn(channels, seed=seed + 2),
        f"{name}.running_var": np.abs(drawn(channels, seed=seed + 3)) + 0.3,
        f"{name}.num_batches_tracked": np.array(7),
    }


def kernel(layer):
    return ops.convert_to_numpy(layer.kernel)


def sequential(*parts, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *parts])


NORMS = [
    keras_norms.BatchNorm,
    lambda **options: keras_norms.BatchRenorm(3.0, 5.0, **options),
    lambda **options: keras_norms.GhostBatchNorm(2, **options),
    layers.BatchNormalization,
]


@pytest.mark.parametrize("make", NORMS)
def test_batch_norm_in_inference(make):
    state = norm("norm", 4)
    loaded, report = surgery.load(sequential(make(epsilon=0.7, name="norm")), state, epsilon=0.02, momentum=0.95)
    x = drawn(5, 4)
    mean, variance = state["norm.running_mean"], state["norm.running_var"]
    expected = state["norm.weight"] * (x - mean) / np.sqrt(variance + 0.02) + state["norm.bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), expected, rtol=1e-5, atol=1e-6)
    assert report["norm"].done == "loaded from 'norm': running_mean, running_var, weight, bias"
    assert "epsilon 0.02 (was 0.7); momentum 0.95" in report["norm"].reason
    config = loaded.layers[0].get_config()
    assert (config["epsilon"], config["momentum"]) == (0.02, 0.95)


def test_defaults_are_those_of_pytorch():
    loaded, _ = surgery.load(sequential(layers.BatchNormalization(name="norm")), norm("norm", 4))
    assert (loaded.layers[0].epsilon, loaded.layers[0].momentum) == (1e-5, 0.9)


@pytest.mark.parametrize("make", [keras_norms.BatchNormBefore, keras_norms.BatchNormAfter])
def test_norms_with_an_activation(make):
    model = sequential(make(layers.PReLU(name="slope"), name="norm"))
    loaded, report = surgery.load(model, norm("norm", 4))
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded.layers[0].scale), norm("norm", 4)["norm.weight"])
    assert report["norm/slope"].reason == "nothing is known of PReLU in sources"


def test_what_the_source_has_not_got_changes_nothing():
    state = {name: value for name, value in norm("norm", 4).items() if not name.endswith(("weight", "bias"))}
    state["fc.weight"] = drawn(2, 4)
    model = sequential(
        keras_norms.BatchNorm(scale_initializer="zeros", name="norm"),
        layers.Dense(2, bias_initializer="ones", name="fc"),
    )
    loaded, report = surgery.load(model, state)
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded.layers[0].scale), np.ones(4))
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded.layers[1].bias), np.zeros(2))
    assert "scale 1: the source has none; bias 0: the source has none" in report["norm"].reason
    assert report["fc"].reason == "bias 0: the source has none"


def test_report_tells_what_was_left():
    model = sequential(
        layers.Dense(3, name="fc"), layers.Dense(3, name="new"), layers.LayerNormalization(name="ln"), layers.ReLU()
    )
    _, report = surgery.load(model, {**dense("fc", 4, 3), **dense("ln", 4, 3), **dense("old", 1, 1)})
    assert [(row.layer, row.reason) for row in report.left] == [
        ("new", "not in the source"),
        ("ln", "nothing is known of LayerNormalization in sources"),
        ("source: ln", "no layer of the model takes it"),
        ("source: old", "no layer of the model takes it"),
    ]
    assert [row.layer for row in report.done] == ["fc"]


def nested():
    block = sequential(layers.Dense(4, name="fc1"), layers.Dense(4, name="fc2"))
    block.name = "block"
    x = inputs = keras.Input((4,))
    for _ in range(2):
        x = block(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


@pytest.mark.parametrize(
    ("source_names", "names"),
    [
        (("block.fc1", "block.fc2", "head"), None),
        (("block/fc1", "block/fc2", "head"), None),
        (("fc1", "fc2", "head"), None),
        (("layer1.0.fc1", "layer1.0.fc2", "head"), {"block": "layer1.0"}),
        (("layer1.0", "layer1.1", "out"), {"block/fc1": "layer1.0", "fc2": "layer1.1", "head": "out"}),
    ],
)
def test_names_in_a_model_in_a_model(source_names, names):
    state = {}
    for seed, name in enumerate(source_names):
        state.update(dense(name, 4, 4, seed))
    loaded, report = surgery.load(nested(), state, names)
    assert [row.layer for row in report.done] == ["block/fc1", "block/fc2", "head"]
    x = drawn(3, 4)
    expected = x
    for position in (0, 1, 0, 1, 2):
        expected = expected @ state[f"{source_names[position]}.weight"].T + state[f"{source_names[position]}.bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), expected, rtol=1e-4, atol=1e-4)


def test_a_name_for_a_model_is_not_searched_elsewhere():
    with pytest.raises(ValueError, match="No layer of the model is in the source"):
        surgery.load(nested(), dense("fc1", 4, 4), {"block": "features"})


def test_layers_inside_layers_are_found():
    wrapped = layers.TimeDistributed(layers.Dense(3, name="fc"), name="each")
    loaded, report = surgery.load(sequential(wrapped, shape=(5, 4)), dense("each.fc", 4, 3))
    np.testing.assert_array_equal(kernel(loaded.layers[0].layer), dense("each.fc", 4, 3)["each.fc.weight"].T)
    assert [row.layer for row in report.done] == ["each/fc"]


def image(*rest, shape=(3, 2, 4)):
    return sequential(*rest, shape=shape)


def flattened_as_there(x):
    return np.moveaxis(x, -1, 1).reshape(len(x), -1)


@pytest.mark.parametrize(
    "between",
    [
        [layers.Flatten],
        [lambda: layers.Reshape((24,))],
        [layers.Flatten, lambda: layers.Dropout(0.5), lambda: layers.Activation("linear")],
        [lambda: sequential(layers.Flatten(), shape=(3, 2, 4))],
        [layers.Flatten, lambda: sequential(layers.Identity(), shape=(24,))],
    ],
)
def test_a_flattened_image_before_a_dense_layer(between):
    state, x = dense("fc", 24, 5), drawn(2, 3, 2, 4)
    model = image(*(make() for make in between), layers.Dense(5, name="fc"))
    loaded, report = surgery.load(model, state)
    expected = flattened_as_there(x) @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), expected, rtol=1e-4, atol=1e-5)
    assert "brought from" in report["fc"].reason


def test_a_flattened_image_that_comes_into_a_model():
    head = sequential(layers.Dense(5, name="fc"), shape=(24,))
    state, x = dense("fc", 24, 5), drawn(2, 3, 2, 4)
    loaded, _ = surgery.load(image(layers.Flatten(), head), state)
    expected = flattened_as_there(x) @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), expected, rtol=1e-4, atol=1e-5)


def test_norm_scale_and_bias_behind_a_flattened_image():
    state = {**norm("norm", 24), "scale.weight": drawn(24, seed=8), "bias.bias": drawn(24, seed=9)}
    model = image(
        layers.Flatten(),
        keras_norms.BatchNorm(name="norm"),
        keras_norms.Scale(name="scale"),
        keras_norms.Bias(name="bias"),
    )
    x = drawn(2, 3, 2, 4)
    loaded, _ = surgery.load(model, state)
    y = (flattened_as_there(x) - state["norm.running_mean"]) / np.sqrt(state["norm.running_var"] + 1e-5)
    y = (y * state["norm.weight"] + state["norm.bias"]) * state["scale.weight"] + state["bias.bias"]
    result = ops.convert_to_numpy(loaded(x)).reshape(2, 3, 2, 4)
    np.testing.assert_allclose(flattened_as_there(result), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "parts",
    [
        # One channel, one position: the order is the same. Pooled: there is none. With channels first, as there.
        lambda: image(layers.GlobalAveragePooling2D(), layers.Dense(5, name="fc")),
        lambda: image(layers.Flatten(), layers.Dense(4), layers.Dense(5, name="fc")),
        lambda: image(
            layers.MaxPooling2D(1, data_format="channels_first"),
            layers.Flatten(),
            layers.Dense(5, name="fc"),
            shape=(4, 1, 1),
        ),
        lambda: sequential(layers.Flatten(), layers.Dense(5, name="fc"), shape=(2, 2)),
    ],
)
def test_the_order_of_features_that_are_no_image_is_kept(parts):
    _, report = surgery.load(parts(), dense("fc", 4, 5))
    assert "brought from" not in report["fc"].reason


def test_flatten_that_brings_channels_last():
    state, x = dense("fc", 24, 5), drawn(2, 4, 3, 2)
    loaded, _ = surgery.load(
        image(layers.Flatten("channels_first"), layers.Dense(5, name="fc"), shape=(4, 3, 2)), state
    )
    expected = x.reshape(2, -1) @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), expected, rtol=1e-4, atol=1e-5)


def test_joined_flattened_images_are_refused():
    inputs = keras.Input((3, 2, 4))
    x = layers.Concatenate(name="join")([layers.Flatten()(inputs), layers.Flatten()(inputs)])
    model = keras.Model(inputs, layers.Dense(5, name="fc")(x))
    with pytest.raises(ValueError, match="goes through 'join'"):
        surgery.load(model, dense("fc", 48, 5))


def test_a_sum_of_flattened_images():
    inputs = keras.Input((3, 2, 4))
    x = layers.Add()([layers.Flatten()(inputs), layers.Flatten()(layers.ReLU()(inputs))])
    model = keras.Model(inputs, layers.Dense(5, name="fc")(x))
    state, x = dense("fc", 24, 5), drawn(2, 3, 2, 4)
    loaded, _ = surgery.load(model, state)
    expected = flattened_as_there(x + np.maximum(x, 0)) @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), expected, rtol=1e-4, atol=1e-5)


def test_features_that_become_an_image():
    state = dense("fc", 4, 24)
    with pytest.raises(ValueError, match=r"become an image in 'shape'.*Permute"):
        surgery.load(
            sequential(layers.Dense(24, name="fc"), layers.ReLU(), layers.Reshape((3, 2, 4), name="shape")), state
        )
    model = sequential(layers.Dense(24, name="fc"), layers.Reshape((4, 3, 2)), layers.Permute((2, 3, 1)))
    loaded, _ = surgery.load(model, state)
    x = drawn(2, 4)
    expected = (x @ state["fc.weight"].T + state["fc.bias"]).reshape(2, 4, 3, 2)
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), np.moveaxis(expected, 1, -1), rtol=1e-4, atol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class Block(layers.Layer):
    def __init__(self, flatten, **options):
        super().__init__(**options)
        self.flatten = flatten
        self.first = layers.Flatten(name="flat") if flatten else layers.ReLU()
        self.fc = layers.Dense(5, name="fc")

    def build(self, shape):
        self.fc.build(self.first.compute_output_shape(shape))

    def call(self, inputs):
        return self.fc(self.first(inputs))

    def get_config(self):
        return {**super().get_config(), "flatten": self.flatten}


def test_layers_that_may_get_a_flattened_image_unseen_are_refused():
    with pytest.raises(ValueError, match=r"'fc' is inside of 'block', which has a Flatten or Reshape"):
        surgery.load(image(Block(True, name="block")), dense("block.fc", 24, 5))
    _, report = surgery.load(sequential(Block(False, name="block")), dense("block.fc", 4, 5))
    assert report["block/fc"].reason == "inputs in the order of the source: what comes before it cannot be seen"


REFUSED = {
    "a kernel of another shape": (
        dense("fc", 5, 3),
        r"'fc' \(Dense\), from 'fc' of the source, needs a kernel of shape \(4, 3\)\. "
        r"Received: 'fc\.weight' of shape \(3, 5\)",
    ),
    "a kernel of another rank": ({"fc.weight": drawn(3, 4, 1)}, r"'fc.weight' of shape \(3, 4, 1\)"),
    "a bias of another shape": ({**dense("fc", 4, 3), "fc.bias": drawn(4)}, r"needs a bias of shape \(3,\).*\(4,\)"),
    "no kernel": ({"fc.bias": drawn(3)}, "needs a kernel, which the source has not got"),
    "NaN": ({**dense("fc", 4, 3), "fc.bias": np.full(3, np.nan)}, "'fc.bias' with NaN or infinity"),
    "a number too large": ({**dense("fc", 4, 3), "fc.bias": np.full(3, 1e300)}, "bias that is not finite in float32"),
    "an unknown entry": (
        {**dense("fc", 4, 3), "fc.alpha": drawn(3)},
        r"no place for 'fc.alpha' \(alpha\) of shape \(3,\)",
    ),
    "a direction of zeros": (
        {"fc.weight_v": np.zeros((3, 4)), "fc.weight_g": np.ones((3, 1))},
        "kernel that is not finite in float32: a vector of zeros",
    ),
    "a direction without a length": ({"fc.weight_v": drawn(3, 4)}, "needs a length"),
    "lengths of another shape": (
        {"fc.weight_v": drawn(3, 4), "fc.weight_g": drawn(2, 1)},
        r"'fc.weight_g' of shape \(1, 2\)",
    ),
    "a model in the place of arrays": ({"state_dict": dense("fc", 4, 3)}, "'state_dict' of type dict"),
    "keys that are no names": ({3: drawn(3)}, "names as its keys. Received: 3"),
    "nothing": ({}, "No layer of the model is in the source"),
    "other names": (dense("linear", 4, 3), r"The model has \['fc'\]; the source has \['linear'\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    state, match = REFUSED[case]
    model = sequential(layers.Dense(3, name="fc"))
    before = kernel(model.layers[0])
    with pytest.raises(ValueError, match=match):
        surgery.load(model, state)
    np.testing.assert_array_equal(kernel(model.layers[0]), before)


def test_a_bias_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"has no place for 'fc\.bias' \(bias\) of shape \(3,\)"):
        surgery.load(sequential(layers.Dense(3, use_bias=False, name="fc")), dense("fc", 4, 3))


def test_variance_below_zero():
    model = sequential(keras_norms.BatchNorm(name="norm"))
    rounded = {**norm("norm", 4), "norm.running_var": np.array([1, 2, -1e-8, 0])}
    surgery.load(model, rounded)
    with pytest.raises(ValueError, match=r"variance of at least 0\. Received: 'norm\.running_var' with -0\.001"):
        surgery.load(model, {**rounded, "norm.running_var": np.array([1, 2, -1e-3, 0])})


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ({"fd": "fc"}, r"`names` must name layers of the model, which has \['fc'\]. Received: \['fd'\]"),
        (
            {"fc": "fd"},
            r"`names` must name layers of the source, which has \['fc'\]. Received: 'fd' for the layer 'fc'",
        ),
    ],
)
def test_unknown_names_are_refused(names, match):
    with pytest.raises(ValueError, match=match):
        surgery.load(sequential(layers.Dense(3, name="fc")), dense("fc", 4, 3), names)


def test_two_layers_for_one_entry_need_names():
    blocks = [sequential(layers.Dense(4, name="fc")) for _ in range(2)]
    for letter, block in zip("ab", blocks, strict=True):
        block.name = letter
    with pytest.raises(ValueError, match=r"Several layers would take 'fc' of the source: \['a/fc', 'b/fc'\]"):
        surgery.load(sequential(*blocks), dense("fc", 4, 4))
    loaded, _ = surgery.load(sequential(*blocks), dense("fc", 4, 4), {"a/fc": "fc", "b/fc": "fc"})
    for block in loaded.layers:
        np.testing.assert_array_equal(kernel(block.layers[0]), dense("fc", 4, 4)["fc.weight"].T)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"epsilon": 0}, "`epsilon` must be a number above 0"),
        ({"momentum": 1}, "`momentum` is the weight a moving average keeps"),
    ],
)
def test_impossible_settings_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        surgery.load(sequential(keras_norms.BatchNorm(name="norm")), norm("norm", 4), **options)


def safetensors(arrays, dtypes):
    header, body = {}, b""
    for (name, array), dtype in zip(arrays.items(), dtypes, strict=True):
        data = array.tobytes()
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_safetensors(tmp_path):
    state = dense("fc", 4, 3)
    upper_halves = (state["fc.bias"].view("uint32") >> 16).astype("uint16")
    data = safetensors({"fc.weight": state["fc.weight"].astype("float16"), "fc.bias": upper_halves}, ("F16", "BF16"))
    model, file = sequential(layers.Dense(3, name="fc")), tmp_path / "net.safetensors"
    file.write_bytes(data)
    loaded, _ = surgery.load(model, file)
    np.testing.assert_array_equal(kernel(loaded.layers[0]), state["fc.weight"].astype("float16").T)
    np.testing.assert_allclose(ops.convert_to_numpy(loaded.layers[0].bias), state["fc.bias"], rtol=2**-7)
    for length in (0, 5, 60, len(data) - 1):
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"is not a `\.safetensors` file, or not all of it"):
            surgery.load(model, file)
    file.write_bytes(safetensors({"fc.weight": state["fc.weight"]}, ("F64",)))
    with pytest.raises(ValueError, match=r"\[3, 4\] numbers of F64"):
        surgery.load(model, file)


def test_keras_renorm():
    model = sequential(layers.BatchNormalization(renorm=True, name="norm"))
    loaded, _ = surgery.load(model, norm("norm", 4), epsilon=0.02)
    layer = loaded.layers[0]
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.renorm_mean), ops.convert_to_numpy(layer.moving_mean))
    deviation = np.sqrt(norm("norm", 4)["norm.running_var"] + 0.02)
    for variable in (layer.moving_stddev, layer.renorm_stddev):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), deviation, rtol=1e-6)


def test_unknown_files_are_refused(tmp_path):
    model = sequential(layers.Dense(3, name="fc"))
    for name in ("net.onnx", "net", "net.h5", "net.pt"):
        with pytest.raises(ValueError, match=r"`source` must be a"):
            surgery.load(model, tmp_path / name)


def test_other_objects_are_refused():
    with pytest.raises(ValueError, match=r"`model\.state_dict\(\)`\. Received: an object of type list"):
        surgery.load(sequential(layers.Dense(3, name="fc")), [drawn(3)])


def test_a_model_without_shapes_is_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        surgery.load(keras.Sequential([layers.Dense(3, name="fc")]), dense("fc", 4, 3))


def test_other_reparameterizations_are_left():
    layer = keras_norms.WeightStandardization(layers.Conv2D(3, 2, name="conv"), name="standard")
    model = image(layer, layers.Flatten(), layers.Dense(5, name="fc"))
    _, report = surgery.load(model, dense("fc", 6, 5))
    assert report["standard"].reason == "nothing is known of WeightStandardization in sources"
    assert len(report.rows) == 2


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    state = dense("fc", 4, 3)
    loaded, _ = surgery.load(sequential(layers.Dense(3, name="fc")), state)
    np.testing.assert_array_equal(kernel(loaded.layers[0]), state["fc.weight"].T)


def test_nothing_of_the_given_model_changes():
    model = sequential(layers.Dense(4, name="fc"), keras_norms.BatchNorm(epsilon=0.5, name="norm"), layers.Dropout(0.5))
    before = [np.array(ops.convert_to_numpy(variable)) for variable in model.variables]
    model.layers[0].trainable = False
    loaded, _ = surgery.load(model, {**dense("fc", 4, 4), **norm("norm", 4)})
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    assert model.layers[1].epsilon == 0.5
    assert [layer.trainable for layer in loaded.layers] == [False, True, True]
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def test_modules_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"several layers of the same name.*\['a'\]"):
        source.by_name([source.Module("a", {}), source.Module("b", {}), source.Module("a", {})])
