"""The networks in plain PyTorch are those that `tests/models` knows, by their weights and by their work."""

import math

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; make test-backends has it")

from benchmarks.peers import networks_torch  # noqa: E402

# Trainable parameters with the published classes: without normalization, batch norm before and after, weight norm.
PARAMETERS = {
    "resnet20": (269_034, 269_722, 270_074, 269_722),
    "caffenet128": (13_300_072, 13_311_016, 13_311_016, 13_305_544),
    "googlenet128": (10_232_552, 10_251_720, 10_251_720, 10_242_136),
    "resnet50": (25_530_472, 25_557_032, 25_564_648, 25_557_032),
}
NORMALIZATIONS = ("none", "batch_norm_before", "batch_norm_after", "weight_norm")
# Height and width, classes, and multiply-adds of one image, as `keras_norms.models.multiply_adds` counts them.
WORK = {
    "resnet20": (32, 10, 40_551_040),
    "caffenet128": (128, 1000, 208_986_240),
    "googlenet128": (128, 1000, 521_109_504),
    "resnet50": (224, 1000, 3_857_973_248),
}


def network(name, normalization):
    with torch.device("meta"):
        return networks_torch.NETWORKS[name](normalization, WORK[name][1])


def test_every_network_is_here():
    assert set(PARAMETERS) == set(WORK) == set(networks_torch.NETWORKS)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name, normalization):
    parameters = sum(parameter.numel() for parameter in network(name, normalization).parameters())
    assert parameters == PARAMETERS[name][NORMALIZATIONS.index(normalization)]


@pytest.mark.parametrize("name", WORK)
def test_multiply_adds(name):
    size, classes, multiply_adds = WORK[name]
    built, counted = network(name, "none"), []
    for layer in built.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(
                lambda layer, _, y: counted.append(math.prod(y.shape[2:]) * layer.weight.numel())
            )
    outputs = built(torch.empty(2, 3, size, size, device="meta"))
    heads = outputs if isinstance(outputs, dict) else {"main": outputs}
    assert {tuple(logits.shape) for logits in heads.values()} == {(2, classes)}
    assert sum(counted) == multiply_adds
