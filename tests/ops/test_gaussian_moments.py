import math

import keras
import numpy as np
import pytest

from keras_norms.ops import gaussian_moments
from tests.reference import normprop as definition

rectifier, by_quadrature = gaussian_moments.rectifier, gaussian_moments.by_quadrature

# What makes the moments: mean, variance, E f ** 2, E f' ** 2, root of the last over the deviation. By 30-digit
# quadrature split at the corners (shared/facts/algorithms.md, 4.4).
GOLDEN = {
    "linear": (None, 0, 1, 1, 1, 1),
    "relu": ("relu", 0.3989422804, 0.3408450569, 0.5, 0.5, 1.2111738962),
    "relu6": ("relu6", 0.3989422802, 0.3408450551, 0.4999999981, 0.4999999990, 1.2111738982),
    "leaky 0.01": (rectifier(0.01), 0.3949528576, 0.3440622403, 0.50005, 0.50005, 1.2055582778),
    "leaky 0.1": (rectifier(0.1), 0.3590480524, 0.3760844961, 0.505, 0.505, 1.1587852912),
    "leaky 0.2": ("leaky_relu", 0.3191538243, 0.4181408364, 0.52, 0.52, 1.1151682086),
    "leaky 0.25": (rectifier(0.25), 0.2992067103, 0.4417253445, 0.53125, 0.53125, 1.0966633063),
    "leaky 0.3": (rectifier(0.3), 0.2792595963, 0.4670140779, 0.545, 0.545, 1.0802723616),
    "leaky 1/3": (rectifier(1 / 3), 0.2659615203, 0.4848200253, 0.5555555556, 0.5555555556, 1.0704674657),
    "leaky 11/48": (rectifier(11 / 48), 0.3075180078, 0.4316913554, 0.5262586806, 0.5262586806, 1.1041115684),
    "leaky 2/11": (rectifier(2 / 11), 0.3264073203, 0.4099871869, 0.5165289256, 0.5165289256, 1.1224375353),
    "elu 1": ("elu", 0.1605205723, 0.6191785634, 0.6449454175, 0.6681020012, 1.0387557246),
    "elu 0.5": (gaussian_moments.elu(0.5), 0.2797314263, 0.4579866835, 0.5362363544, 0.5420255003, 1.0878861161),
    "selu": ("selu", 0, 1, 1, 1.0715749925, 1.0351690647),
    "gelu": ("gelu", 0.2820947918, 0.3456440110, 0.4252214826, 0.4558508656, 1.1484097574),
    "gelu tanh": (
        by_quadrature(lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
        *(0.2820385881, 0.3456479459, 0.4251937110, 0.4558178460, 1.1483616274),
    ),
    "silu": ("silu", 0.2066209641, 0.3130832970, 0.3557755198, 0.3794823516, 1.1009455549),
    "hard_swish": ("hard_swish", 0.1662167007, 0.3039393836, 0.3315673751, 0.3585315172, 1.0861009168),
    "mish": ("mish", 0.2404038884, 0.3945481628, 0.4523421924, 0.4790837584, 1.1019343244),
    "tanh": ("tanh", 0, 0.3942944904, 0.3942944904, 0.4644029024, 1.0852682767),
    "scaled tanh": (
        by_quadrature(lambda x: 1.7159 * np.tanh(2 / 3 * x)),
        *(0, 0.7504302763, 0.7504302763, 0.8039891133, 1.0350704503),
    ),
    "sigmoid": ("sigmoid", 0.5, 0.0433790359, 0.2933790359, 0.0448362414, 1.0166574595),
    "softplus": ("softplus", 0.8060591833, 0.2715145018, 0.9212459089, 0.2933790359, 1.0394845129),
    "shifted softplus": (
        by_quadrature(lambda x: np.logaddexp(0, x) - math.log(2)),
        *(0.1129120028, 0.2715145018, 0.2842636222, 0.2933790359, 1.0394845129),
    ),
    "softsign": ("softsign", 0, 0.1830140213, 0.1830140213, 0.2276713404, 1.1153521285),
    "abs": (keras.ops.abs, 0.7978845608, 0.3633802276, 1, 1, 1.6588967400),
    "relu squared": (
        by_quadrature(lambda x: np.maximum(x, 0) ** 2),
        *(0.5, 1.25, 1.5, 2, 1.2649110641),
    ),
    # Its slope is our own: E sigmoid ** 2 + E sigmoid' ** 2, both from the rows above.
    "glu": ("glu", 0, 0.2933790359, 0.2933790359, 0.3382152773, 1.0736978215),
    "threshold -1": (rectifier(threshold=-1), 0.0833154706, 0.7510878078, 0.7580292755, 0.8413447461, 1.0583800314),
    "threshold -0.5": (
        rectifier(threshold=-0.5),
        *(0.1977965574, 0.5534407045, 0.5925641826, 0.6914624613, 1.1177604920),
    ),
    "threshold 0.5": (rectifier(threshold=0.5), 0.6977965574, 0.1705157819, 0.6574358174, 0.3085375387, 1.3451530942),
    "threshold 1": (rectifier(threshold=1), 1.0833154706, 0.0683983157, 1.2419707245, 0.1586552539, 1.5230162094),
}

# Of the largest of so many standard normal variables: mean and deviation; the same through a ReLU.
LARGEST = {
    2: (0.5641895835, 0.8256452712, 0.6810370722, 0.6673405798),
    3: (0.8462843753, 0.7479754032, 0.8881472424, 0.6802640034),
    4: (1.0293753730, 0.7012240989, 1.0457555155, 0.6709548519),
    5: (1.1629644736, 0.6689798719, 1.1697048641, 0.6551448701),
    6: (1.2672063606, 0.6449241110, 1.2700726299, 0.6385170629),
    8: (1.4236003060, 0.6106530466, 1.4241526893, 0.6092457188),
    9: (1.4850131622, 0.5977903699, 1.4852610649, 0.5971253611),
    16: (1.7659913931, 0.5431480544, 1.7659925233, 0.5431442328),
}

# Closed forms, and the functions they are of.
CLOSED = {
    "relu": (rectifier, lambda x: np.maximum(x, 0)),
    "leaky": (lambda scale: rectifier(0.3, scale=scale), lambda x: np.where(x > 0, x, 0.3 * x)),
    "abs": (lambda scale: rectifier(-1.0, scale=scale), np.abs),
    "identity": (lambda scale: rectifier(1.0, threshold=2.0, scale=scale), lambda x: x),
    "trelu": (lambda scale: rectifier(threshold=-0.7, scale=scale), lambda x: np.maximum(x, -0.7)),
    "tprelu": (
        lambda scale: rectifier(0.25, threshold=0.9, scale=scale),
        lambda x: np.where(x > 0.9, x, 0.25 * (x - 0.9) + 0.9),
    ),
    "clipped": (lambda scale: gaussian_moments.clipped_relu(1.5, scale), lambda x: np.clip(x, 0, 1.5)),
    "elu": (lambda scale: gaussian_moments.elu(0.7, scale), lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    "selu": (gaussian_moments.selu, lambda x: 1.05070098736 * np.where(x > 0, x, 1.67326324235 * np.expm1(x))),
    "gelu": (gaussian_moments.gelu, np.vectorize(lambda x: x * math.erfc(-x / math.sqrt(2)) / 2)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_equals_the_table(name):
    of, mean, variance, square, square_slope, jacobian = GOLDEN[name]
    moments = of if isinstance(of, gaussian_moments.Moments) else gaussian_moments.of(of)
    found = [*moments, moments.variance + moments.mean**2, 1 / moments.jacobian_scale]
    # The table has ten decimals, rounded.
    np.testing.assert_allclose(found, [mean, variance, square_slope, square, jacobian], rtol=0, atol=1.1e-10)


@pytest.mark.parametrize("count", LARGEST)
def test_largest_of_many_equals_the_table(count):
    mean, deviation, relu_mean, relu_deviation = LARGEST[count]
    moments = gaussian_moments.maximum_of(count)
    of_relu = gaussian_moments.maximum_of(count, lambda x: np.maximum(x, 0))
    found = [moments.mean, moments.deviation, of_relu.mean, of_relu.deviation]
    np.testing.assert_allclose(found, [mean, deviation, relu_mean, relu_deviation], rtol=0, atol=6e-11)
    # One of them has the slope 1 and the others 0; behind a ReLU if one is positive.
    np.testing.assert_allclose([moments.square_slope, of_relu.square_slope], [1, 1 - 0.5**count], rtol=1e-10)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_closed_forms_of_the_largest_equal_the_quadrature(count):
    closed = gaussian_moments.maximum_of(count, scale=1.7)
    summed = gaussian_moments.maximum_of(count, lambda x: x, scale=1.7)
    np.testing.assert_allclose(closed, summed, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_closed_forms_equal_the_sum_at_any_scale(name, scale):
    closed, function = CLOSED[name]
    mean, variance, square_slope = closed(scale=scale)
    expected = definition.moments(function, scale, cells=240_000)
    # Cells of 1e-4: the error of the sum is their square, in the cell with the corner half their width.
    np.testing.assert_allclose([mean, variance], expected[:2], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(square_slope, expected[2], rtol=2e-4)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_equal_the_quadrature(name):
    closed, function = CLOSED[name]
    # The SELU's constants are written with twelve digits above.
    np.testing.assert_allclose(closed(scale=1.3), by_quadrature(function, 1.3), rtol=1e-10, atol=1e-11)


def test_random_slopes():
    """Slopes of 0.1 and 0.7, each in half of the cases: the mean of both first and second moments."""
    mixed, one, other = rectifier(0.4, (0.01 + 0.49) / 2), rectifier(0.1), rectifier(0.7)
    np.testing.assert_allclose(mixed.mean, (one.mean + other.mean) / 2, rtol=1e-14)
    squares = [m.variance + m.mean**2 for m in (mixed, one, other)]
    np.testing.assert_allclose(squares[0], (squares[1] + squares[2]) / 2, rtol=1e-14)


@pytest.mark.parametrize("threshold", [-30.0, 6.0])
def test_variance_keeps_its_digits_at_large_thresholds(threshold):
    expected = {-30.0: 1.0, 6.0: by_quadrature(lambda x: np.maximum(x - 6, 0)).variance}
    np.testing.assert_allclose(rectifier(threshold=threshold).variance, expected[threshold], rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (lambda x: keras.ops.maximum(x, 0.3), lambda x: np.maximum(x, 0.3)),
        (lambda x: 1.7159 * keras.ops.tanh(2 / 3 * x), lambda x: 1.7159 * np.tanh(2 / 3 * x)),
        (keras.layers.ReLU(max_value=1.0, dtype="float64"), lambda x: np.clip(x, 0, 1)),
        ("celu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("hard_shrink", lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    ],
)
def test_any_function_of_tensors(activation, function):
    found, expected = gaussian_moments.of(activation, 0.8), by_quadrature(function, 0.8)
    # float32 on JAX
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.square_slope, expected.square_slope, rtol=1e-3)


@pytest.mark.parametrize("name", sorted(set(GOLDEN) & set(dir(keras.activations)) - {"glu"}))
def test_table_is_of_the_functions_of_keras(name):
    function = getattr(keras.activations, name)
    found = gaussian_moments.of(lambda x: function(x))
    np.testing.assert_allclose(found[:2], gaussian_moments.of(name)[:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(GOLDEN) & set(dir(keras.activations)) - {"glu"}))
def test_poincare_inequality(name):
    """The variance is at most the mean squared slope, and equal only for a straight line."""
    scale = gaussian_moments.of(name).jacobian_scale
    assert scale == 1 if name == "linear" else scale < 1


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (0.0398942280, "relu"),  # a constant that circulates in public code
        (0.3989422804 * 0.5, "relu"),
        (0.5205008857, "sigmoid"),
    ],
)
def test_table_tells_wrong_constants_apart(wrong, name):
    assert abs(gaussian_moments.of(name).mean - wrong) > 1e-3


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (lambda x: 0 * x + 5, "must not be constant"),
        ("softmax", "each element"),
        ("sparsemax", "each element"),
        (lambda x: keras.ops.log(x), "not finite"),
        (lambda x: keras.ops.cumsum(x, axis=-1), "all channels alike"),
        (lambda x: x[:, :1], "each element"),
        ("no_such_activation", "no_such_activation"),
    ],
)
def test_what_is_no_activation_of_elements_is_refused(activation, message):
    with pytest.raises(ValueError, match=message):
        gaussian_moments.of(activation)
