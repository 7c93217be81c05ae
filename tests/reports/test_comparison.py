import math

import pytest

pytest.importorskip("scipy")

from keras_norms.reports import comparison, quantity, results
from tests.reports import made_up


def row(recipe, **accuracies):
    """A row with an accuracy a seed: `s0=0.5`; None for a run that failed."""
    return results.Row(
        recipe,
        recipe,
        made_up.PUBLISHED[recipe],
        tuple(
            results.Run(int(seed[1:]), "failed" if value is None else "ended", result={"test_accuracy": value})
            for seed, value in accuracies.items()
        ),
    )


A = row("a", s0=0.50, s1=0.60, s2=0.70)


def compare(*rows, shown=quantity.ACCURACY):
    return comparison.compare([A, *rows], "a", shown)


def test_difference_is_over_the_seeds_that_both_rows_have():
    found = compare(row("b", s1=0.62, s2=0.75, s3=0.01))["b"]
    assert found.seeds == 2
    assert found.measured == pytest.approx(0.035)
    t = 0.035 / (0.03 / math.sqrt(2) / math.sqrt(2))
    assert found.p == found.corrected == pytest.approx(1 - 2 / math.pi * math.atan(t))
    assert found.verdict == "cannot be told apart"
    assert found.published == pytest.approx(0.05)


@pytest.mark.parametrize(("shift", "verdict", "of_error"), [(0.2, "higher", "lower"), (-0.2, "lower", "higher")])
def test_verdict_has_a_direction(shift, verdict, of_error):
    other = row("b", s0=0.501 + shift, s1=0.603 + shift, s2=0.702 + shift)
    assert compare(other)["b"].verdict == verdict
    of_errors = compare(other, shown=quantity.ERROR)["b"]
    assert of_errors.verdict == of_error
    assert of_errors.measured == pytest.approx(-shift - 0.002)


def test_holm_is_over_the_rows():
    other = {"s0": 0.50 + 0.05, "s1": 0.60 + 0.06, "s2": 0.70 + 0.055}
    alone = compare(row("b", **other))["b"]
    both = compare(row("b", **other), row("c", **other), row("d", s0=0.9))
    assert alone.p < 0.05 / 2
    assert both["c"].p == alone.p
    assert both["b"].corrected == both["c"].corrected == pytest.approx(2 * alone.p)
    assert both["d"].corrected is None


@pytest.mark.parametrize(("accuracies", "verdict"), [
    ({"s0": 0.9}, "one seed: cannot be told"),
    ({"s7": 0.9}, "no seed to compare"),
    ({"s0": None}, "no seed to compare"),
    ({"s0": 0.6, "s1": 0.7, "s2": 0.8}, "the same difference with each seed: no test"),
])  # fmt: skip
def test_too_little_is_said_to_be_so(accuracies, verdict):
    found = compare(row("b", **accuracies))["b"]
    assert (found.verdict, found.p) == (verdict, None)


def test_baseline_is_not_compared():
    assert compare()["a"].verdict == "baseline"


def test_summary_counts():
    far = row("b", s0=0.8, s1=0.91, s2=1.0)
    near = row("c", s0=0.51, s1=0.58, s2=0.71)
    told = comparison.summary(list(compare(far, near, row("d", s0=0.1)).values()), quantity.ACCURACY)
    assert told.startswith("With 3 seeds only 1 of 2 differences in accuracy from the baseline is significant at 5%")
    assert "With 3 seeds a difference must be 4.3 times its standard error" in told
    assert "no difference between rows can be told" in comparison.summary(
        list(compare(row("d", s0=0.1)).values()), quantity.ACCURACY
    )


def test_errors_are_shown_where_errors_are_published():
    error = made_up.published("e", made_up.reference(0.08, "test_error"))
    assert quantity.of([error, made_up.PUBLISHED["d"]]) == quantity.ERROR
    assert quantity.of([error, made_up.PUBLISHED["a"]]) == quantity.of([made_up.PUBLISHED["d"]]) == quantity.ACCURACY
    assert quantity.ERROR.published(error) == 0.08
    assert quantity.ACCURACY.published(error) == pytest.approx(0.92)
    assert quantity.ERROR.published(made_up.PUBLISHED["a"]) == 0.5
    assert quantity.ERROR.of(0.75) == 0.25
    assert quantity.ACCURACY.published(made_up.published("f", made_up.reference(0.1, "train_loss"))) is None
