"""What a few seeds can tell.

The deviation is that of a sample (n - 1). Rows are compared with the paired t-test:
the same seed gives both the same order of the images and the same random numbers.
Several rows against one baseline are several chances to be wrong: Holm, "A Simple
Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6,
1979.
"""

import math

import numpy as np

# Accuracies are multiples of one image: differences that differ by less differ in their last bits only.
_SAME = 1e-9


def mean(values):
    """Returns the mean of floats, or None of none."""
    return float(np.mean(values)) if values else None


def median(values):
    """Returns the median of floats, or None of none."""
    return float(np.median(values)) if values else None


def deviation(values):
    """Returns the standard deviation of a sample, or None of fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired(values, others):
    """Returns the p-value of a two-sided paired t-test.

    Args:
        values, others: Sequences of floats of the same length.

    Returns:
        Float; 1 for equal values; None where there is no test: fewer than two pairs, or pairs that all differ by the
        same amount, whose spread is not zero but unknown.
    """
    differences = np.subtract(values, others)
    if len(differences) < 2:
        return None
    if np.ptp(differences) < _SAME:
        return 1.0 if abs(differences[0]) < _SAME else None
    from scipy import stats  # of the extra [train]

    return float(stats.ttest_rel(values, others).pvalue)


def holm(p_values):
    """Returns p-values corrected for their number.

    Args:
        p_values: Sequence of floats, or None where there was no test.

    Returns:
        List of floats, or None where there was no test.
    """
    tested = sorted((place for place, p in enumerate(p_values) if p is not None), key=lambda place: p_values[place])
    corrected, largest = [None] * len(p_values), 0.0
    for before, place in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - before) * p_values[place]))
        corrected[place] = largest
    return corrected


def needed(seeds, level):
    """Returns how many times its standard error a difference must be to be told from zero, before any correction.

    Args:
        seeds: Integer, at least 2.
        level: Float, such as 0.05.
    """
    from scipy import stats  # of the extra [train]

    return float(stats.t.ppf(1 - level / 2, seeds - 1))


def binomial_error(accuracy, examples):
    """Returns the standard error of an accuracy that is measured on so many examples."""
    return math.sqrt(accuracy * (1 - accuracy) / examples)
