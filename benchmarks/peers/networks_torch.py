"""The four networks of benchmarks/step.py in plain PyTorch, as its users write them.

Images are (batch, channels, height, width). Layer for layer those of `keras_norms.models`, biases included.
"""

import dataclasses

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Linear layers with their normalization and ReLU.

    Attributes:
        normalization: String, one of "none", "batch_norm_before", "batch_norm_after" and "weight_norm".
        keeps_bias: Boolean, whether a linear layer has a bias also where batch norm cancels it.
    """

    normalization: str
    keeps_bias: bool

    def convolution(self, channels, filters, size, activate=True, **geometry):
        layer = nn.Conv2d(channels, filters, size, bias=self._has_bias(activate), **geometry)
        return self._followed(layer, nn.BatchNorm2d, filters, activate)

    def dense(self, features, units):
        layer = nn.Linear(features, units, bias=self._has_bias(activate=True))
        return self._followed(layer, nn.BatchNorm1d, units, activate=True)

    def _has_bias(self, activate):
        cancelled = self.normalization == "batch_norm_before"
        cancelled |= self.normalization == "batch_norm_after" and not activate
        return self.keeps_bias or not cancelled

    def _followed(self, layer, norm, channels, activate):
        activation = [nn.ReLU(inplace=True)] if activate else []
        if self.normalization == "batch_norm_before":
            return nn.Sequential(layer, norm(channels), *activation)
        if self.normalization == "batch_norm_after":
            return nn.Sequential(layer, *activation, norm(channels))
        if self.normalization == "weight_norm":
            layer = parametrizations.weight_norm(layer)
        return nn.Sequential(layer, *activation)


class Subsampled(nn.Module):
    """Every second pixel, with zeros behind the channels."""

    def __init__(self, missing):
        super().__init__()
        self.missing = missing

    def forward(self, x):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.missing))


class ResidualUnit(nn.Module):
    def __init__(self, shortcut, branch):
        super().__init__()
        self.shortcut, self.branch = shortcut, branch

    def forward(self, x):
        return functional.relu(self.shortcut(x) + self.branch(x), inplace=True)


class Inception(nn.Module):
    def __init__(self, blocks, channels, one, three_reduced, three, five_reduced, five, projected):
        super().__init__()
        self.branches = nn.ModuleList(
            [
                blocks.convolution(channels, one, 1),
                nn.Sequential(
                    blocks.convolution(channels, three_reduced, 1),
                    blocks.convolution(three_reduced, three, 3, padding=1),
                ),
                nn.Sequential(
                    blocks.convolution(channels, five_reduced, 1),
                    blocks.convolution(five_reduced, five, 5, padding=2),
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), blocks.convolution(channels, projected, 1)),
            ]
        )

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class GoogLeNet(nn.Module):
    """Returns a dict of the logits of the three classifiers."""

    def __init__(self, blocks, classes):
        super().__init__()
        inceptions = {name: Inception(blocks, *channels) for name, channels in INCEPTIONS.items()}
        self.until_fourth_a = nn.Sequential(
            blocks.convolution(3, 64, 7, stride=2, padding=3),
            _max_pool(),
            nn.LocalResponseNorm(5),
            blocks.convolution(64, 64, 1),
            blocks.convolution(64, 192, 3, padding=1),
            nn.LocalResponseNorm(5),
            _max_pool(),
            inceptions["3a"],
            inceptions["3b"],
            _max_pool(),
            inceptions["4a"],
        )
        self.until_fourth_d = nn.Sequential(inceptions["4b"], inceptions["4c"], inceptions["4d"])
        self.main = nn.Sequential(
            inceptions["4e"],
            _max_pool(),
            inceptions["5a"],
            inceptions["5b"],
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(1024, classes),
        )
        self.aux1 = _auxiliary(blocks, 512, classes)
        self.aux2 = _auxiliary(blocks, 528, classes)

    def forward(self, x):
        fourth_a = self.until_fourth_a(x)
        fourth_d = self.until_fourth_d(fourth_a)
        return {"main": self.main(fourth_d), "aux1": self.aux1(fourth_a), "aux2": self.aux2(fourth_d)}


# Input channels; of 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection.
INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def _max_pool():
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _auxiliary(blocks, channels, classes):
    return nn.Sequential(
        nn.AvgPool2d(5, 3),
        blocks.convolution(channels, 128, 1),
        nn.Flatten(),
        blocks.dense(512, 1024),
        nn.Dropout(0.7),
        nn.Linear(1024, classes),
    )


def resnet20(normalization, classes):
    blocks = Blocks(normalization, keeps_bias=False)
    layers, channels = [blocks.convolution(3, 16, 3, padding=1)], 16
    for width in (16, 32, 64):
        for _ in range(3):
            layers.append(_basic_unit(blocks, channels, width))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def _basic_unit(blocks, channels, width):
    stride = width // channels
    branch = nn.Sequential(
        blocks.convolution(channels, width, 3, stride=stride, padding=1),
        blocks.convolution(width, width, 3, activate=False, padding=1),
    )
    return ResidualUnit(nn.Identity() if stride == 1 else Subsampled(width - channels), branch)


def caffenet128(normalization, classes):
    blocks = Blocks(normalization, keeps_bias=True)
    return nn.Sequential(
        blocks.convolution(3, 96, 11, stride=4),
        _max_pool(),
        blocks.convolution(96, 256, 5, padding=2, groups=2),
        _max_pool(),
        blocks.convolution(256, 384, 3, padding=1),
        blocks.convolution(384, 384, 3, padding=1, groups=2),
        blocks.convolution(384, 256, 3, padding=1, groups=2),
        _max_pool(),
        nn.Flatten(),
        blocks.dense(2304, 2048),
        nn.Dropout(0.5),
        blocks.dense(2048, 2048),
        nn.Dropout(0.5),
        nn.Linear(2048, classes),
    )


def googlenet128(normalization, classes):
    return GoogLeNet(Blocks(normalization, keeps_bias=True), classes)


def resnet50(normalization, classes):
    blocks = Blocks(normalization, keeps_bias=False)
    layers, channels = [blocks.convolution(3, 64, 7, stride=2, padding=3), _max_pool()], 64
    for stage, (width, units) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for unit in range(units):
            layers.append(_bottleneck(blocks, channels, width, stride=2 if stage and not unit else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))


def _bottleneck(blocks, channels, width, stride):
    branch = nn.Sequential(
        blocks.convolution(channels, width, 1, stride=stride),
        blocks.convolution(width, width, 3, padding=1),
        blocks.convolution(width, 4 * width, 1, activate=False),
    )
    if channels == 4 * width:
        return ResidualUnit(nn.Identity(), branch)
    return ResidualUnit(blocks.convolution(channels, 4 * width, 1, activate=False, stride=stride), branch)


NETWORKS = {
    "resnet20": resnet20,
    "caffenet128": caffenet128,
    "googlenet128": googlenet128,
    "resnet50": resnet50,
}
