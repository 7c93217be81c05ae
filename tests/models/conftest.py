"""Models with weights that no initializer gives, and questions about their layers."""

import keras
import numpy as np
import pytest


@pytest.fixture
def moved():
    """Returns a function that moves every weight of a model off its initial value, and returns the model."""

    def move(model, seed=0):
        rng = np.random.default_rng(seed)
        for weight in model.weights:
            value = keras.ops.convert_to_numpy(weight.value)
            # Variances and gathered weights are positive.
            moving = "moving" in weight.name
            step = rng.uniform(0.3, 0.9, value.shape) if moving else 0.03 * rng.normal(size=value.shape)
            weight.assign(value + step)
        return model

    return move


@pytest.fixture
def predicted():
    """Returns a function of a model and images, to the logits of inference, those of several outputs side by side."""

    def predict(model, images):
        outputs = model(images, training=False)
        outputs = [outputs[name] for name in sorted(outputs)] if isinstance(outputs, dict) else [outputs]
        return np.concatenate([keras.ops.convert_to_numpy(output) for output in outputs], axis=-1)

    return predict


@pytest.fixture
def output_of():
    """Returns a function of a model, the name of a layer and images, to the layer's output in inference."""

    def output(model, name, images):
        layer = keras.Model(model.input, model.get_layer(name).output)
        return keras.ops.convert_to_numpy(layer(images, training=False))

    return output


@pytest.fixture
def sources():
    """Returns a function of a model and the name of a layer, to the names of the layers it reads."""

    def names(model, name):
        inputs = model.get_layer(name).input
        inputs = inputs if isinstance(inputs, list) else [inputs]
        return [tensor._keras_history.operation.name for tensor in inputs]

    return names
