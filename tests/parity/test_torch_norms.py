"""Normalizations against PyTorch (2.13). Skipped where it is not installed; any backend of Keras will do."""

import numpy as np
import pytest
from keras import ops

from keras_norms import layers
from tests import autodiff

torch = pytest.importorskip("torch")
functional = torch.nn.functional

SHAPE = (4, 6, 5, 3)  # PyTorch has the channels at axis 1
SCALE, BIAS = np.array([0.5, -2, 3, 1, 4, -1], "float32"), np.array([5, 0.1, -1, 2, 0, -4], "float32")
# Both float32: the digits of inputs up to 50 over the smallest deviation, 0.05.
CLOSE = {"rtol": 1e-4, "atol": 1e-3}


def values(hostile, seed=0):
    return hostile(SHAPE, axis=1, seed=seed)


def moved(layer, **weights):
    layer.build(SHAPE)
    for name, value in weights.items():
        getattr(layer, name).assign(value)
    return layer


def assert_same(layer, function, x, training=False):
    """Compares outputs and the gradients of the inputs."""
    options = {"training": True} if training else {}
    dy = np.random.default_rng(9).normal(size=x.shape).astype("float32")
    inputs = torch.tensor(x, requires_grad=True)
    expected = function(inputs)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, **options)), expected.detach().numpy(), **CLOSE)
    rest = [ops.convert_to_tensor(v) for v in layer.non_trainable_variables]
    trainable = [ops.convert_to_tensor(v) for v in layer.trainable_variables]

    def total(x):
        return ops.sum(layer.stateless_call(trainable, rest, x, **options)[0] * ops.convert_to_tensor(dy))

    gradient, theirs = autodiff.gradient(total, x)[0], inputs.grad.numpy()
    np.testing.assert_allclose(gradient, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups, hostile):
    layer = moved(layers.GroupNorm(groups, axis=1), scale=SCALE, bias=BIAS)
    assert_same(
        layer, lambda x: functional.group_norm(x, groups, torch.tensor(SCALE), torch.tensor(BIAS)), values(hostile)
    )


def test_instance_norm(hostile):
    layer = moved(layers.InstanceNorm(axis=1), scale=SCALE, bias=BIAS)
    assert_same(
        layer,
        lambda x: functional.instance_norm(x, weight=torch.tensor(SCALE), bias=torch.tensor(BIAS)),
        values(hostile),
    )


@pytest.mark.parametrize("axis", [-1, (1, 2, 3)])
def test_layer_norm(axis, hostile):
    shape = SHAPE[1:] if isinstance(axis, tuple) else SHAPE[-1:]
    scale, bias = (np.random.default_rng(s).normal(1, 2, shape).astype("float32") for s in (1, 2))
    layer = moved(layers.LayerNorm(axis), scale=scale, bias=bias)
    assert_same(
        layer, lambda x: functional.layer_norm(x, shape, torch.tensor(scale), torch.tensor(bias)), values(hostile)
    )


@pytest.mark.parametrize("axis", [-1, (1, 2, 3)])
def test_rms_norm(axis, hostile):
    shape = SHAPE[1:] if isinstance(axis, tuple) else SHAPE[-1:]
    scale = np.random.default_rng(1).normal(1, 2, shape).astype("float32")
    layer = moved(layers.RMSNorm(axis, epsilon=1e-5), scale=scale)
    assert_same(layer, lambda x: functional.rms_norm(x, shape, torch.tensor(scale), eps=1e-5), values(hostile))


def test_batch_norm_in_training(hostile):
    layer = moved(layers.BatchNorm(axis=1), scale=SCALE, bias=BIAS)
    assert_same(
        layer,
        lambda x: functional.batch_norm(x, None, None, torch.tensor(SCALE), torch.tensor(BIAS), training=True),
        values(hostile),
        training=True,
    )


def running(hostile, steps):
    """Returns the running mean and variance of PyTorch after some steps, from 0 and 1."""
    mean, variance = torch.zeros(6), torch.ones(6)
    for seed in range(steps):
        functional.batch_norm(torch.tensor(values(hostile, seed)), mean, variance, training=True, momentum=0.1)
    return mean, variance


@pytest.mark.parametrize("make", [layers.BatchNorm, lambda **options: layers.GhostBatchNorm(2, **options)])
@pytest.mark.parametrize("steps", [1, 4])
def test_moving_statistics_are_the_running_ones_without_their_start(make, steps, hostile):
    # The new weight 0.1 of PyTorch is the kept one of 0.9 here; its variance is unbiased, too.
    layer = make(axis=1, momentum=0.9)
    for seed in range(steps):
        layer(values(hostile, seed), training=True)
    kept = 0.9**steps
    for ours, theirs, start in zip(layer.statistics(), running(hostile, steps), (0, 1), strict=True):
        debiased = (theirs.numpy().astype("float64") - kept * start) / (1 - kept)
        np.testing.assert_allclose(ops.convert_to_numpy(ours), debiased, rtol=1e-4)


def test_batch_norm_in_inference(hostile):
    mean, variance = running(hostile, 4)
    layer = moved(
        layers.BatchNorm(axis=1),
        scale=SCALE,
        bias=BIAS,
        moving_mean=mean.numpy(),
        moving_variance=variance.numpy(),
        moving_weight=1.0,  # so that nothing is divided out
    )
    assert_same(
        layer,
        lambda x: functional.batch_norm(x, mean, variance, torch.tensor(SCALE), torch.tensor(BIAS)),
        values(hostile, 7),
    )
