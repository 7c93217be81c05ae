import math

import numpy as np
import pytest

from keras_norms.ops import gaussian_quadrature


def test_polynomials_are_exact():
    """E z ** n = (n - 1)!!"""
    found = gaussian_quadrature.integrals(lambda z: 2 + z - z**3)
    np.testing.assert_allclose(found, [2, 4 + 1 + 15 - 2 * 3, 1 - 6 * 1 + 9 * 3], rtol=1e-12)


@pytest.mark.parametrize("corner", [-7.7, -1 / 3, 0.0, 0.1234567, 2.5])
def test_corners_are_found(corner):
    phi, above = math.exp(-(corner**2) / 2) / math.sqrt(2 * math.pi), math.erfc(corner / math.sqrt(2)) / 2
    found = gaussian_quadrature.integrals(lambda z: np.maximum(z - corner, 0))
    expected = [phi - corner * above, (1 + corner**2) * above - corner * phi, above]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("jump", [-1 / 3, 0.0, 1.7])
def test_jumps_are_found_and_have_no_slope(jump):
    above = math.erfc(jump / math.sqrt(2)) / 2
    found = gaussian_quadrature.integrals(lambda z: np.where(z > jump, 1.0, -1.0) + 2 * z)
    phi = math.exp(-(jump**2) / 2) / math.sqrt(2 * math.pi)
    # E sign * z = 2 phi
    np.testing.assert_allclose(found, [2 * above - 1, 1 + 4 + 8 * phi, 4], rtol=1e-9, atol=1e-12)


def test_weight_changes_the_density():
    """The larger of two: twice the density times the distribution function. Its mean square is 1."""
    found = gaussian_quadrature.integrals(lambda z: z, np.vectorize(lambda z: math.erfc(-z / math.sqrt(2))))
    np.testing.assert_allclose(found, [1 / math.sqrt(math.pi), 1, 1], rtol=1e-12)


def test_functions_in_float32_are_integrated_to_their_digits():
    found = gaussian_quadrature.integrals(lambda z: np.maximum(z.astype("float32"), np.float32(0.3)))
    expected = gaussian_quadrature.integrals(lambda z: np.maximum(z, 0.3))
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-6)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-3)


def test_fast_functions_are_resolved():
    np.testing.assert_allclose(gaussian_quadrature.integrals(lambda z: np.sin(60 * z))[1:], [0.5, 1800], rtol=1e-11)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: np.random.default_rng().normal(size=z.shape), "piecewise smooth"),
        (lambda z: 1 / (z - 0.1), "piecewise smooth"),
        (lambda z: np.where(z > 3, np.nan, z), "not finite"),
    ],
)
def test_what_has_no_moments_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        gaussian_quadrature.integrals(function)
