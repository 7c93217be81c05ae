"""The networks that benchmarks/startup.py and benchmarks/scaling.py make, and the cases they name."""

import math
from unittest import mock

import keras
import pytest

from benchmarks import scaling
from benchmarks.peers import scaling_chain
from keras_norms import models, recipes


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow")
def test_first_step_of_keras_is_that_of_a_network_of_stock_layers():
    from benchmarks.peers import startup_first_step

    model = startup_first_step.network("resnet20", 8, 10)
    ours = models.build("resnet20", (8, 8, 3), normalization="batch_norm_before")
    assert all(type(layer).__module__.startswith("keras.src.") for layer in model.layers)
    assert sum(map(_size, model.trainable_variables)) == sum(map(_size, ours.trainable_variables))


@mock.patch.dict(models.ARCHITECTURES)
@mock.patch.dict(recipes.BASELINES)
def test_a_chain_is_as_wide_and_as_long_as_it_is_called():
    name = scaling_chain.add(channels=5, layers=3)
    assert recipes.BASELINES[name].arch == name
    model = models.build(name, (8, 8, 3), normalization="batch_norm_before")
    # 3 to 5, twice 5 to 5 channels, and the classifier; batch norm has a scale and a bias.
    assert sum(map(_size, model.trainable_variables)) == 9 * 3 * 5 + 2 * 9 * 5 * 5 + 3 * 2 * 5 + 5 * 10 + 10


def test_cases_that_are_measured_together_have_entrants_of_different_names():
    for group in (scaling.replicas(), scaling.workers(), scaling.layers(), scaling.channels()):
        assert len({made.name for made, _ in group.values()}) == len(group)


def _size(variable):
    return math.prod(variable.shape)
