"""Models of every build, and what their layers return while they run."""

import keras
import numpy as np

from keras_norms.initializers import linear_layers
from keras_norms.layers import watching


def plain(layer):
    return layer


def _dense(units, name):
    return keras.layers.Dense(units, name=name, bias_initializer="zeros")


def sequential(wrap):
    relu = keras.layers.ReLU()
    return keras.Sequential([keras.Input((6,)), wrap(_dense(9, "a")), relu, wrap(_dense(4, "b"))]), (40, 6)


def residual(wrap):
    """Two blocks, created in another order than that in which they are executed."""
    convolution = [wrap(keras.layers.Conv2D(3, 3, padding="same", name=name)) for name in "dcba"][::-1]
    x = inputs = keras.Input((5, 4, 3))
    for first, second in (convolution[:2], convolution[2:]):
        x = x + second(keras.layers.ReLU()(first(x)))
    return keras.Model(inputs, x), (8, 5, 4, 3)


def shared(wrap):
    """The layer "a" is used twice, for the second time on its own outputs."""
    layer = wrap(_dense(6, "a"))
    inputs = keras.Input((6,))
    return keras.Model(inputs, wrap(_dense(5, "b"))(keras.layers.ReLU()(layer(layer(inputs))))), (40, 6)


def with_two_inputs(wrap):
    first, second = keras.Input((6,)), keras.Input((4,))
    joined = keras.layers.Concatenate()([wrap(_dense(5, "a"))(first), wrap(_dense(3, "b"))(second)])
    return keras.Model([first, second], wrap(_dense(2, "c"))(keras.layers.ReLU()(joined))), [(40, 6), (40, 4)]


def nested(wrap):
    inner = keras.Sequential([keras.Input((7,)), wrap(_dense(5, "b")), keras.layers.ReLU()])
    inputs = keras.Input((6,))
    return keras.Model(inputs, wrap(_dense(4, "c"))(inner(wrap(_dense(7, "a"))(inputs)))), (40, 6)


class Subclassed(keras.Model):
    def __init__(self, wrap):
        super().__init__()
        self.last = wrap(_dense(3, "c"))
        self.blocks = [wrap(_dense(6, "b")), wrap(_dense(6, "a"))]

    def call(self, inputs, training=None):
        x = inputs
        for block in reversed(self.blocks):
            x = x + keras.ops.relu(block(x))
        return self.last(x)


def subclassed(wrap):
    model = Subclassed(wrap)
    model(np.zeros((1, 6)))
    return model, (40, 6)


NETWORKS = [sequential, residual, shared, with_two_inputs, nested, subclassed]


def batch(shape, hostile):
    if isinstance(shape, list):
        return [hostile(one, seed=seed) for seed, one in enumerate(shape)]
    return hostile(shape)


def moved(model, seed=0, spread=3.0):
    """Returns the model with all weights far from where they started, and its kernels' vectors far from length 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(spread * rng.normal(size=weight.shape))
    return model


def outputs(model, x, training=False):
    """Returns the outputs of the linear layers at their first use, by name of what may be wrapped, in float64."""
    found = {}

    def note(layer, args, kwargs, outputs):
        found.setdefault(linear_layers.base(layer).name, np.array(numpy(outputs), "float64"))

    with watching.observed([layer for layer in linear_layers.everywhere(model) if is_linear(layer)], note):
        model(x, training=training)
    return found


def is_linear(layer):
    return hasattr(linear_layers.base(layer), "kernel")


def values(model):
    return [np.array(numpy(weight)) for weight in model.weights]


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)
