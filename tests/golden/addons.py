"""Writes numbers of TensorFlow Addons 0.23, which ended with TensorFlow 2.15, for the tests in tests/parity, and files
of a net with its weight normalization, for those of `surgery.load`.

make golden      # computes them in an environment of their own, writes addons.json and the files of the net
make test-tfa    # computes them again and compares
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

FILE = pathlib.Path(__file__).with_suffix(".json")


def drawn(*shape, low=-2.0, high=2.0, seed=0):
    return np.random.default_rng((seed, *shape)).uniform(low, high, shape).astype("float32")


def uniform():
    return tf.keras.initializers.RandomUniform(-2, 2, seed=0)


def weight_normalization(layer, x, kernel):
    """Values and gradients of `g v / ||v||` for given g and v, and what g starts from."""
    layer.kernel_initializer = uniform()
    wrapper = tfa.layers.WeightNormalization(layer, data_init=False)
    wrapper(x)  # sets g to the norm of v
    start = {"initial_v": wrapper.v.numpy(), "initial_scale": wrapper.g.numpy()}
    scale, bias = drawn(kernel[-1], low=-1.5, high=3, seed=1), drawn(kernel[-1], seed=2)
    for variable, value in ((wrapper.v, drawn(*kernel)), (wrapper.g, scale), (wrapper.layer.bias, bias)):
        variable.assign(value)
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = wrapper(x)
        dy = drawn(*y.shape, seed=3)
        loss = tf.reduce_sum(y * dy)
    names = ("x", "v", "scale", "bias")
    gradients = tape.gradient(loss, [x, wrapper.v, wrapper.g, wrapper.layer.bias])
    return {
        **start,
        "x": x,
        "v": wrapper.v,
        "scale": scale,
        "bias": bias,
        "y": y,
        "dy": dy,
        **{f"gradient_{name}": gradient for name, gradient in zip(names, gradients, strict=True)},
    }


def weight_normalization_from_data():
    """The defect: it measures with v where the layer computes with v / ||v||."""
    x = np.random.default_rng(0).normal(2, 3, (64, 16)).astype("float32")
    layer = tf.keras.layers.Dense(4, kernel_initializer=uniform())
    wrapper = tfa.layers.WeightNormalization(layer, data_init=True)
    wrapper(x)
    return {"x": x, "v": wrapper.v, "y": wrapper(x), "scale": wrapper.g, "bias": wrapper.layer.bias}


def with_weights(layer, x, **weights):
    """Values and the gradient of the input, for given weights."""
    layer.build(x.shape)
    for name, value in weights.items():
        getattr(layer, name).assign(value)
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        dy = drawn(*y.shape, seed=3)
        loss = tf.reduce_sum(y * dy)
    return {"x": x, **weights, "y": y, "dy": dy, "gradient_x": tape.gradient(loss, x)}


def cases():
    layers = tf.keras.layers
    images = drawn(2, 4, 3, 6, low=-1, high=5)
    affine = {"gamma": drawn(6, low=0.3, seed=1), "beta": drawn(6, seed=2)}
    along = {name: value.reshape(1, 1, 1, 6) for name, value in affine.items()}
    return {
        "weight_normalization_dense": weight_normalization(layers.Dense(4), drawn(5, 3), (3, 4)),
        "weight_normalization_conv2d": weight_normalization(
            layers.Conv2D(3, (3, 2), strides=2), drawn(2, 7, 6, 2), (3, 2, 2, 3)
        ),
        "weight_normalization_from_data": weight_normalization_from_data(),
        "maxout": with_weights(tfa.layers.Maxout(2), images),
        "rrelu": {"x": images - 2, "y": tfa.activations.rrelu(images - 2, training=False)},
        "group_normalization": with_weights(tfa.layers.GroupNormalization(groups=3, epsilon=1e-3), images, **affine),
        "instance_normalization": with_weights(tfa.layers.InstanceNormalization(epsilon=1e-3), images, **affine),
        "filter_response_normalization": with_weights(
            tfa.layers.FilterResponseNormalization(epsilon=1e-3), images, **along
        ),
        "filter_response_normalization_learned_epsilon": with_weights(
            tfa.layers.FilterResponseNormalization(epsilon=1e-3, learned_epsilon=True),
            images,
            **along,
            eps_learned=np.array([-0.5], "float32"),
        ),
        # There each element has a threshold of its own, where the paper has one per channel.
        "tlu": with_weights(tfa.layers.TLU(), images - 2, tau=np.broadcast_to(affine["beta"], (4, 3, 6))),
    }


def net():
    """A net with weight normalization in a model in the model and around a transposed convolution, which Addons
    normalizes by its inputs."""
    layers, normalized = tf.keras.layers, tfa.layers.WeightNormalization
    deep = normalized(layers.Conv2D(5, 2, use_bias=False), data_init=False, name="deep")
    x = inputs = tf.keras.Input((6, 6, 3))
    x = normalized(layers.Conv2D(4, 3), data_init=False, name="conv")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=0.02, name="norm")(x)
    x = layers.ReLU()(x)
    inner = layers.BatchNormalization(momentum=0.9, epsilon=0.02, name="inner")
    x = tf.keras.Sequential([tf.keras.Input((4, 4, 4)), deep, inner], name="block")(x)
    x = layers.DepthwiseConv2D(2, name="depthwise")(x)
    x = normalized(layers.Conv2DTranspose(2, 2), data_init=False, name="up")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(7, activation="relu", name="dense")(x)
    model = tf.keras.Model(inputs, normalized(layers.Dense(3), name="head")(x))
    x = drawn(2, 6, 6, 3)
    model.compile("adam", "mse")
    model.fit(x, drawn(2, 3), verbose=0)  # a first batch, and slots of the optimizer
    for number, variable in enumerate(model.variables):
        if variable.dtype != tf.bool:
            low = 0.3 if "variance" in variable.name else -1.0
            variable.assign(drawn(*variable.shape, low=low, high=1.5, seed=number))
    return model, x


NET = FILE.with_name("addons_net.json")


def outputs_of(model, x):
    return {"net": {"x": x.tolist(), "y": model(x).numpy().tolist()}}


def write_net():
    model, x = net()
    model.save(NET.with_suffix(".h5"), include_optimizer=False)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(NET.with_suffix("")))
    NET.write_text(json.dumps(outputs_of(model, x)) + "\n")


def computed():
    origin = {
        "script": "tests/golden/addons.py",
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "tensorflow_addons": tfa.__version__,
    }
    numbers = {
        case: {name: np.asarray(value, "float32").tolist() for name, value in values.items()}
        for case, values in cases().items()
    }
    return {"origin": origin, **numbers}


def differences(new, old):
    """Yields a line for each array that is not what the file has."""
    for case in sorted({*new, *old} - {"origin"}):
        for name in sorted({*new.get(case, {}), *old.get(case, {})}):
            try:
                np.testing.assert_allclose(new[case][name], old[case][name], rtol=1e-5, atol=1e-6)
            except (KeyError, AssertionError) as error:
                yield f"{case}, {name}: {error}"


def main(arguments):
    new = computed()
    if arguments != ["--check"]:
        FILE.write_text(json.dumps(new) + "\n")
        write_net()
        return 0
    found = [
        *differences(new, json.loads(FILE.read_text())),
        *differences(outputs_of(*net()), json.loads(NET.read_text())),
    ]
    print("\n".join(found) or f"{len(new) - 1} cases are those of {FILE.name}, the net that of {NET.name}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
