import numpy as np
import pytest
from keras import ops

from keras_norms.ops import moving_average
from tests.reference import batch_norm as definition


def run(values, counts, momentum):
    total, weight = np.zeros(values.shape[1:], "float32"), np.float32(0)
    for value, count in zip(values, counts, strict=True):
        total = moving_average.updated(ops.convert_to_tensor(total), value, momentum, ops.convert_to_tensor(count))
        weight = moving_average.updated(ops.convert_to_tensor(weight), 1.0, momentum, ops.convert_to_tensor(count))
    return ops.convert_to_numpy(total), ops.convert_to_numpy(weight)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_equals_the_weighted_mean_from_the_first_step(momentum, steps):
    values = np.random.default_rng(0).normal(5, 3, (steps, 4)).astype("float32")
    total, weight = run(values, np.full(steps, 7.0, "float32"), momentum)
    average = ops.convert_to_numpy(moving_average.average(total, weight, 0.0))
    # 1 - 0.999 has 14 good bits left in float32 after one step.
    np.testing.assert_allclose(average, definition.moving_average(values.astype("float64"), momentum), rtol=2e-4)
    np.testing.assert_allclose(weight, 1 - momentum**steps, rtol=2e-4)


def test_weight_is_caffes_third_blob_but_for_its_unit():
    _, weight = run(np.ones((100, 1), "float32"), np.ones(100, "float32"), 0.999)
    np.testing.assert_allclose(weight / (1 - 0.999), 95.2078529, rtol=1e-4)


def test_no_elements_change_no_bit():
    values = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    before = run(values[:2], np.array([5, 5], "float32"), 0.9)
    after = run(values, np.array([5, 5, 0], "float32"), 0.9)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_average_of_nothing_is_the_initial_value():
    np.testing.assert_array_equal(moving_average.average(np.zeros(3, "float32"), np.float32(0), 1.0), np.ones(3))


def test_means_over_replicas_weigh_what_each_has_seen():
    # One replica has seen three batches, the other one batch, with nothing in between.
    values = np.array([[2.0], [4.0], [6.0]], "float32")
    first = run(values, np.ones(3, "float32"), 0.5)
    second = run(np.array([[10.0], [0.0], [0.0]], "float32"), np.array([1, 0, 0], "float32"), 0.5)
    total, weight = (first[0] + second[0]) / 2, (first[1] + second[1]) / 2
    average = ops.convert_to_numpy(moving_average.average(total, weight, 0.0))
    # Weights 1/8, 1/4, 1/2 of the first replica; 1/2 of the second.
    np.testing.assert_allclose(average, [(2 / 8 + 4 / 4 + 6 / 2 + 10 / 2) / (7 / 8 + 1 / 2)], rtol=1e-6)
