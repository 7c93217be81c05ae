"""Activations against PyTorch (2.13). Skipped where it is not installed; any backend of Keras will do."""

import numpy as np
import pytest
from keras import ops

from keras_norms.layers import Maxout, PReLU, RReLU, TPReLU, TReLU, VLReLU
from keras_norms.ops import trelu
from tests import autodiff

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def ours(layer, x, *values):
    """Returns what a layer with channels in the middle, as PyTorch has them, makes of x, with values of its weights."""
    layer.build(x.shape)
    layer.set_weights(list(values))
    return ops.convert_to_numpy(layer(x))


@pytest.fixture
def x(hostile):
    x = hostile((4, 6, 5, 3), axis=1) - 10
    x[0] = 0
    return x


THRESHOLD = np.array([-30, -1, 0, 0.5, 20, 100], "float32")
SLOPE = np.array([-0.5, 0.0, 0.25, 0.7, 1.0, 1.5], "float32")


def along(values):
    return torch.tensor(values).reshape(1, -1, 1, 1)


def test_prelu(x):
    expected = functional.prelu(torch.tensor(x), torch.tensor(SLOPE)).numpy()
    np.testing.assert_allclose(ours(PReLU(axis=1), x, SLOPE), expected, rtol=1e-6)
    # Its module has one slope for all channels, and starts where ours does.
    module, layer = torch.nn.PReLU(), PReLU(axis=None)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), module(torch.tensor(x)).detach().numpy(), rtol=1e-6)
    assert sum(p.numel() for p in module.parameters()) == layer.count_params() == 1


@pytest.mark.parametrize("bounds", [(), (0.2, 0.7)])
def test_rrelu_in_inference(x, bounds):
    expected = torch.nn.RReLU(*bounds).eval()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours(RReLU(*bounds), x), expected, rtol=1e-6)


def test_rrelu_in_training_has_the_same_distribution():
    x = np.full(100_000, -1, "float32")
    theirs = -functional.rrelu(torch.tensor(x), training=True).numpy().astype("float64")
    slopes = -ops.convert_to_numpy(RReLU(seed=1)(x, training=True)).astype("float64")
    quantiles = np.linspace(0.1, 0.9, 9)
    # 5 standard errors of a difference of quantiles of a uniform distribution.
    error = 5 * np.sqrt(2 * quantiles * (1 - quantiles) / len(x)) * (1 / 3 - 1 / 8)
    assert (abs(np.quantile(slopes, quantiles) - np.quantile(theirs, quantiles)) < error).all()


def test_leaky_relu(x):
    expected = functional.leaky_relu(torch.tensor(x), 1 / 3).numpy()
    np.testing.assert_allclose(ours(VLReLU(), x), expected, rtol=1e-6)


def test_trelu(x):
    np.testing.assert_array_equal(ours(TReLU(axis=1), x, THRESHOLD), torch.maximum(torch.tensor(x), along(THRESHOLD)))


def test_tprelu_as_its_authors_compute_it(x):
    """`prelu(x - threshold) + threshold` with the slope clamped, as in stormraiser/GAN-weight-norm."""
    shifted = torch.tensor(x) - along(THRESHOLD)
    expected = functional.prelu(shifted, torch.tensor(SLOPE).clamp(0, 1)) + along(THRESHOLD)
    # Their sum rounds what lies above the threshold, too.
    np.testing.assert_allclose(ours(TPReLU(axis=1), x, THRESHOLD, SLOPE), expected.numpy(), rtol=1e-6, atol=1e-5)


def test_gradients_of_tprelu(x):
    """At a slope of exactly 0 or 1, too, which learns; beyond it does not."""
    arguments = [torch.tensor(a, requires_grad=True) for a in (x, THRESHOLD, SLOPE)]
    shifted = arguments[0] - arguments[1].reshape(1, -1, 1, 1)
    y = functional.prelu(shifted, arguments[2].clamp(0, 1)) + arguments[1].reshape(1, -1, 1, 1)
    expected = [g.numpy() for g in torch.autograd.grad((y**2).sum(), arguments)]

    def function(x, threshold, slope):
        return ops.sum(ops.square(trelu.translated_prelu(x, threshold, slope, axis=1)))

    for gradient, theirs in zip(autodiff.gradient(function, x, THRESHOLD, SLOPE), expected, strict=True):
        np.testing.assert_allclose(gradient, theirs, rtol=1e-4, atol=1e-5 * abs(theirs).max())


@pytest.mark.parametrize("pieces", [2, 3])
def test_maxout(x, pieces):
    expected = torch.stack(torch.chunk(torch.tensor(x), pieces, dim=1)).amax(dim=0)
    np.testing.assert_array_equal(ours(Maxout(pieces=pieces, axis=1), x), expected.numpy())
