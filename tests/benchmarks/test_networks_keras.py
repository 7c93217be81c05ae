"""The networks of stock layers are ours: no layer of `keras_norms` is left, and all values agree."""

import keras
import numpy as np
import pytest

from benchmarks.peers import networks_keras

ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="stock Keras has TensorFlow's local response normalization alone"
)
# The smallest images that the networks take, and whether they can be compared in training: without dropout.
CASES = [
    ("resnet20", "batch_norm_before", 16, True),
    ("resnet20", "batch_norm_after", 16, True),
    ("caffenet128", "none", 63, False),
    pytest.param("googlenet128", "none", 79, False, marks=ON_TENSORFLOW),
]


def layers_of(model):
    for layer in model.layers:
        yield layer
        yield from layers_of(layer) if isinstance(layer, keras.Model) else ()


@pytest.mark.parametrize(("arch", "normalization", "size", "training"), CASES)
def test_stock_network_equals_ours(arch, normalization, size, training):
    ours = networks_keras.ours(arch, normalization, size, classes=10)
    stock = networks_keras.stock(arch, normalization, size, classes=10)
    assert {type(layer).__module__.partition(".")[0] for layer in layers_of(stock)} == {"keras"}
    generator = np.random.default_rng(1)
    for variable, other in zip(ours.trainable_variables, stock.trainable_variables, strict=True):
        assert (variable.name, variable.shape) == (RENAMED.get(other.name, other.name), other.shape)
        # Not the initial ones, with which scales and biases do nothing.
        value = keras.ops.convert_to_numpy(variable) + generator.normal(0, 0.01, variable.shape)
        variable.assign(value)
        other.assign(value)
    # Large, so that local response normalization does something.
    images = 300 * generator.normal(size=(4, size, size, 3)).astype("float32")
    expected, outputs = (keras.tree.flatten(model(images, training=training)) for model in (ours, stock))
    for one, other in zip(expected, outputs, strict=True):
        one, other = map(keras.ops.convert_to_numpy, (one, other))
        # The rounding errors of twenty layers.
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3 * np.abs(one).max())


# Stock Keras' names, of what they are called here.
RENAMED = {"gamma": "scale", "beta": "bias"}


def test_what_stock_keras_lacks_is_refused():
    with pytest.raises(ValueError, match="nothing in place of WeightNormalization"):
        networks_keras.stock("resnet20", "weight_norm_trelu", 16, classes=10)
