import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from keras_norms.reports import statistics


def test_deviation_is_that_of_a_sample():
    assert statistics.mean([1.0, 2.0, 6.0]) == 3
    assert statistics.deviation([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_none_and_one_value():
    assert statistics.mean([]) is None
    assert statistics.deviation([]) is statistics.deviation([0.5]) is None


def test_two_pairs_follow_the_cauchy_distribution():
    """Student's t with one degree of freedom: P(|T| > t) = 1 - 2 / pi * arctan(t)."""
    differences = np.array([0.01, 0.04])
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(2))
    p = statistics.paired([0.5, 0.7], [0.49, 0.66])
    assert p == pytest.approx(1 - 2 / math.pi * math.atan(t))


def test_three_pairs_have_two_degrees_of_freedom():
    """P(|T| > t) = 1 - t / sqrt(2 + t^2)."""
    differences = np.array([-0.02, -0.03, 0.01])
    t = abs(differences.mean()) / (differences.std(ddof=1) / math.sqrt(3))
    p = statistics.paired([0.48, 0.57, 0.31], [0.5, 0.6, 0.3])
    assert p == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_pairs_matter():
    """Seeds that differ much more than rows do hide nothing: that is what pairs are for."""
    values, others = [0.51, 0.62, 0.73], [0.50, 0.60, 0.70]
    assert statistics.paired(values, others) < 0.08 < statistics.paired(values, [0.60, 0.70, 0.50])


@pytest.mark.parametrize(("values", "others", "p"), [
    ([], [], None),
    ([0.5], [0.4], None),
    ([0.5, 0.7, 0.1], [0.5, 0.7, 0.1], 1.0),
    # 0.5 - 0.4 and 0.6 - 0.5 differ in their last bits: no proof of a difference.
    ([0.5, 0.6], [0.4, 0.5], None),
])  # fmt: skip
def test_without_a_spread_there_is_no_test(values, others, p):
    assert statistics.paired(values, others) == p


def test_holm_by_hand():
    """0.01 * 4, 0.02 * 3, 0.03 * 2 raised to the one before, 0.5 * 1."""
    corrected = statistics.holm([0.03, 0.01, None, 0.5, 0.02])
    assert corrected[2] is None
    np.testing.assert_allclose([corrected[place] for place in (1, 4, 0, 3)], [0.04, 0.06, 0.06, 0.5])


def test_holm_goes_to_one_and_no_further():
    assert statistics.holm([0.6, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_what_is_needed():
    """The quantile of Cauchy's distribution: tan(pi * (0.975 - 0.5)) = 12.706."""
    assert statistics.needed(2, 0.05) == pytest.approx(math.tan(math.pi * 0.475))


def test_binomial_error():
    assert statistics.binomial_error(0.9, 10_000) == pytest.approx(0.003)
