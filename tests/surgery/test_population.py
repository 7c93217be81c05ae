import numpy as np
import pytest

from keras_norms.surgery import population


def part(values):
    values = np.asarray(values, "float64")
    return len(values), values.mean(0), np.zeros(values.shape[1:]), values.var(0)


def test_merges_by_counts_and_by_the_distance_of_the_means():
    total = population.Population()
    total.add(part([[1.0], [2.0]]))
    total.add(part([[3.0], [4.0], [5.0]]))
    assert total.count == 5
    assert (total.mean, total.variance(unbiased=False), total.variance(unbiased=True)) == (3.0, 2.0, 2.5)


@pytest.mark.parametrize("first", [True, False])
def test_a_part_without_values_changes_nothing(first):
    total = population.Population()
    parts = [(0, np.array([7.0]), np.array([0.0]), np.array([9.0])), part([[1.0], [2.0]])]
    for one in parts if first else reversed(parts):
        total.add(one)
    assert (total.count, total.mean, total.variance(unbiased=False)) == (2, 1.5, 0.25)


def test_what_the_mean_lost_to_rounding_counts():
    total = population.Population()
    total.add((2, np.array([1e8]), np.array([0.25]), np.array([0.0])))
    total.add((2, np.array([1e8]), np.array([0.75]), np.array([0.0])))
    assert total.mean == 1e8 + 0.5
    assert total.variance(unbiased=False) == 0.0625
