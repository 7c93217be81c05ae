"""One test, two sides: stock Keras or TensorFlow must fail it, ours must pass.

The numbers H1 to H21 are those of our list of traps; threads are issues of the GitHub repositories named. The day
Keras mends a defect, the strict mark makes the stock side fail the suite: then look whether our way round can go.
"""

import pytest


def stock_fails(defect, raises=AssertionError):
    """Returns the mark of a test that stock Keras or TensorFlow fails with this exception."""
    return pytest.mark.xfail(strict=True, raises=raises, reason=f"stock: {defect}")


def sides(defect, stock, ours, raises=AssertionError):
    """Returns the decorator that gives a test `side`: once stock, where it must fail, and once ours.

    Args:
        defect: String, the number of the defect, what it is and its threads.
        stock, ours: Values of `side`.
        raises: The exception that shows the defect.
    """
    failing = pytest.param(stock, id="stock", marks=stock_fails(defect, raises))
    return pytest.mark.parametrize("side", [failing, pytest.param(ours, id="ours")])
