"""The figures to reach: what of which benchmark may be how large, on two cores."""

import dataclasses
import re
from collections.abc import Callable

from benchmarks import layers
from benchmarks.contest import results
from benchmarks.contest.entrant import DEFAULT


def value(target, measured, case):
    """Returns the quantity of the entrant, or its ratio to that of another; `None` where it was not measured."""
    if target.other is None:
        return results.median(measured, case, target.quantity, target.entrant)
    return results.ratio(measured, case, target.quantity, target.entrant, target.other)


def value_beside_default(target, measured, case):
    """As `value`; where TensorFlow turns oneDNN on by default, Keras with oneDNN is the default environment, too."""
    found = value(target, measured, case)
    if found is None and measured["machine"]["onednn by default"]:
        found = value(dataclasses.replace(target, other="keras"), measured, case)
    return found


def over_none(target, measured, case):
    """Returns the quantity over that of the same network without normalization."""
    return cost(measured, case, target.quantity, target.entrant, 0)


def cost_ratio(target, measured, case):
    """Returns what normalization costs in a step, over what it costs the other entrant."""
    ours, theirs = (cost(measured, case, target.quantity, name, 1) for name in (target.entrant, target.other))
    return None if ours is None or not theirs or theirs <= 0 else ours / theirs


def cost(measured, case, quantity, name, less):
    """Returns the quantity over that of the network without normalization, less a number; `None` if one is missing."""
    with_it = results.median(measured, case, quantity, name)
    without = results.median(measured, f"{case.partition(',')[0]}, none", quantity, name)
    return with_it / without - less if with_it and without else None


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure to reach.

    Args:
        benchmark: The stem of the file of results.
        words: What is compared.
        cases: Pattern of the names of the cases, for `re.fullmatch`.
        quantity: The quantity measured.
        limit: What the value may be at most.
        entrant: Whose quantity it is.
        other: Whose quantity it is divided by, or `None`.
        value: Function of the target, the results and a case that returns the value.
        at_least: Whether the limit is what the value must be at least.
    """

    benchmark: str
    words: str
    cases: str
    quantity: str
    limit: float
    entrant: str = "keras_norms"
    other: str | None = None
    value: Callable = value
    at_least: bool = False

    def values(self, measured):
        """Returns a dict from cases to the values measured in them."""
        cases = dict.fromkeys(found["case"] for found in measured["measurements"])
        values = {case: self.value(self, measured, case) for case in cases if re.fullmatch(self.cases, case)}
        return {case: found for case, found in values.items() if found is not None}

    def worst(self, values):
        """Returns the case that is the furthest from the limit, or the closest."""
        return (min if self.at_least else max)(values, key=values.get)

    def reached(self, values):
        """Returns whether the worst value keeps to the limit, both as they are printed, with two decimals."""
        worst, limit = round(values[self.worst(values)], 2), self.limit
        return worst >= limit if self.at_least else worst <= limit


def of_layers(normalization, large):
    """Returns the pattern of the cases of a normalization on large activations, or on small ones."""
    names = {
        case.name
        for case in layers.cases()
        if case.normalization == normalization and (layers.chained(case.shape) == 1) == large
    }
    return "|".join(map(re.escape, sorted(names)))


BATCH_NORM = "(resnet20|caffenet128|googlenet128|resnet50), batch_norm_before"
WITHOUT_STATISTICS = "resnet20, (weight_norm|normprop|weight_norm_trelu)"
CIFAR10 = "cifar10, .*"
BACKWARD = "forward and backward"

TARGETS = [
    Target(
        "layers", "Batch norm, 4 MB and more: of Keras", of_layers("batch_norm", True), BACKWARD, 0.5, other="keras"
    ),
    Target("layers", "Batch norm, small: of Keras", of_layers("batch_norm", False), BACKWARD, 1.0, other="keras"),
    Target(
        "layers", "Batch norm, 4 MB and more: of PyTorch", of_layers("batch_norm", True), BACKWARD, 1.3, other="torch"
    ),
    Target(
        "layers",
        "Batch norm + ReLU: bytes kept for backward, of Keras",
        "batch_norm_before, .*",
        "kept for backward",
        0.5,
        other="keras",
    ),
    Target(
        "step",
        "Training step with batch norm: of Keras, default environment",
        BATCH_NORM,
        "step",
        0.5,
        other=DEFAULT,
        value=value_beside_default,
    ),
    Target("step", "Training step with batch norm: of Keras with oneDNN", BATCH_NORM, "step", 0.85, other="keras"),
    Target("step", "Training step with batch norm: of PyTorch", BATCH_NORM, "step", 0.9, other="torch"),
    Target(
        "step", "Training step with batch norm: of PyTorch, compiled", BATCH_NORM, "step", 0.95, other="torch compiled"
    ),
    Target(
        "step",
        "Cost of batch norm in a step: of Keras",
        BATCH_NORM,
        "step",
        0.5,
        other="keras",
        value=cost_ratio,
    ),
    Target(
        "step",
        "WN, NormProp, WN + TReLU at batch 128: step over the one without",
        WITHOUT_STATISTICS,
        "step",
        1.05,
        value=over_none,
    ),
    Target(
        "step",
        "Peak memory of the resnet50 step: of Keras",
        "resnet50, batch_norm_before",
        "peak memory",
        0.8,
        other="keras",
    ),
    Target(
        "training",
        "Images a second on CIFAR-10: of `keras.Model.fit`",
        CIFAR10,
        "images per second",
        2.0,
        other=DEFAULT,
        at_least=True,
    ),
    Target("training", "Share of a step on CIFAR-10 that waits for data", CIFAR10, "waiting share", 0.03),
    *(
        Target(
            "inference",
            f"{arch} exported, latency at batch {batch}: of the stock export",
            arch,
            f"latency batch {batch}",
            limit,
            entrant="keras_norms folded",
            other="keras export",
        )
        for arch, limit in [("resnet20", 0.85), ("googlenet128", 0.92)]
        for batch in (1, 32)
    ),
]
