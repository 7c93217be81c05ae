import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import layers
from benchmarks.contest import interleaved
from benchmarks.peers import kept_tensorflow, layers_keras


def test_case_and_quantity_name_one_contest():
    names = collections.Counter((case.name, case.quantity) for case in layers.cases())
    assert set(names.values()) == {1}


def test_both_libraries_have_all_normalizations():
    normalizations = {case.normalization for case in layers.cases()}
    assert normalizations == set(layers_keras.OURS) == set(layers_keras.STOCK)


def test_quick_cases_are_cases_of_the_full_run_with_peers():
    assert [case for case in layers.cases() if case.quick and set(case.entrants) > {"keras_norms"}]


@pytest.mark.parametrize("normalization", layers_keras.OURS)
def test_layers_keep_the_shape(normalization):
    for library in ("keras_norms", "keras"):
        model = layers_keras.model(library, normalization, (2, 4, 4, 16), "float32", 2)
        assert model.output_shape == (2, 4, 4, 16)


def test_kept_bytes_of_a_known_graph():
    # The convolution keeps its input, of 2 * 3 * 3 * 4 numbers, and tanh its output, of 2 * 45: the dense layer
    # keeps the same memory, reshaped. Kernels are variables.
    model = keras.Sequential(
        [
            keras.Input((3, 3, 4), batch_size=2),
            keras.layers.Conv2D(5, 1, use_bias=False),
            keras.layers.Activation("tanh"),
            keras.layers.Reshape((45,)),
            keras.layers.Dense(1, use_bias=False),
        ]
    )
    assert kept_tensorflow.kept_bytes(model, (2, 3, 3, 4), tf.float32) == 4 * (72 + 90)


def test_activation_that_the_next_layer_keeps_counts_once():
    model = keras.Sequential([keras.Input((6,), batch_size=2), *(keras.layers.Activation("relu") for _ in range(2))])
    # Each ReLU keeps its output; the sum that follows in a Dense layer would be the second's.
    assert kept_tensorflow.kept_bytes(model, (2, 6), tf.float32) == 4 * (12 + 12)
    model.add(keras.layers.Dense(1, use_bias=False))
    assert kept_tensorflow.kept_bytes(model, (2, 6), tf.float32) == 4 * (12 + 12)


def test_measures_and_records_a_case(made_up):
    case = layers.Case("batch_norm_before", "small", (2, 3, 3, 4), ["keras_norms", "keras"])
    entrants = [layers.entrant(name, case, "float32") for name in case.entrants]
    measured = interleaved.measure(entrants, rounds=2)
    record = made_up({}, "layers")
    layers.record(record, case, measured, "float32")
    assert record["absent"] == {}
    found = {(one["entrant"], one["quantity"]): one["values"] for one in record["measurements"]}
    for name in case.entrants:
        np.testing.assert_allclose(
            found[name, "forward and backward"], np.divide(measured[name].seconds, layers.CHAIN), rtol=1e-12
        )
        moved = np.array(found[name, "effective bandwidth forward and backward"]) * found[name, "forward and backward"]
        np.testing.assert_allclose(moved, 13 * 4 * 2 * 3 * 3 * 4, rtol=1e-12)
        assert found[name, "kept for backward"][0] >= 4 * 2 * 3 * 3 * 4
