"""Batch norm turned into another kind of it, or into another normalization."""

import dataclasses
from collections.abc import Callable

import keras

from keras_norms.layers import (
    batch_norm,
    batch_norm_placement,
    batch_renorm,
    filter_response_norm,
    ghost_batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    mean_only_batch_norm,
    rms_norm,
)
from keras_norms.surgery import batch_norm_family, batch_norm_parts, placement, rebuild, report, selection

_PAIRS = (batch_norm_placement.BatchNormBefore, batch_norm_placement.BatchNormAfter)
_SOURCES = (
    *_PAIRS,
    batch_norm.BatchNorm,
    ghost_batch_norm.GhostBatchNorm,
    batch_renorm.BatchRenorm,
    keras.layers.BatchNormalization,
)


@dataclasses.dataclass(frozen=True)
class _Target:
    """What batch norm can be turned into.

    Attributes:
        kind: Class of the new layers.
        make: Function of `batch_norm_parts.Parts` and options, to a built layer.
        required, options: Tuples of the options that must, and that may be given.
        exact: Boolean, whether the outputs in inference stay.
        lost: String, what a layer of this kind has no place for.
        ranks: Tuple, the lowest and the highest rank of its inputs.
    """

    kind: type
    make: Callable
    required: tuple = ()
    options: tuple = ()
    exact: bool = False
    lost: str = ""
    ranks: tuple = (2, 5)


def _ours(kind, **attributes):
    return _Target(kind, lambda parts, **options: batch_norm_parts.ours(kind, parts, **options), **attributes)


def _ghost(parts, **options):
    return batch_norm_parts.ours(ghost_batch_norm.GhostBatchNorm, parts, **options, synchronized=False)


_STATISTICS = "its moving statistics are gone"
_TARGETS = {
    "batch_norm": _ours(batch_norm.BatchNorm, exact=True),
    "keras_batch_norm": _Target(keras.layers.BatchNormalization, batch_norm_parts.keras_own, exact=True),
    "ghost_batch_norm": _Target(ghost_batch_norm.GhostBatchNorm, _ghost, ("ghost_batch_size",), exact=True),
    "batch_renorm": _ours(batch_renorm.BatchRenorm, required=("maximum_scale", "maximum_shift"), exact=True),
    "mean_only_batch_norm": _ours(
        mean_only_batch_norm.MeanOnlyBatchNorm, lost="its moving variance and its scale are gone"
    ),
    "group_norm": _ours(group_norm.GroupNorm, options=("groups", "epsilon"), lost=_STATISTICS),
    "layer_norm": _ours(layer_norm.LayerNorm, options=("epsilon",), lost=_STATISTICS),
    "instance_norm": _ours(instance_norm.InstanceNorm, options=("epsilon",), lost=_STATISTICS, ranks=(3, 5)),
    "rms_norm": _ours(rms_norm.RMSNorm, options=("epsilon",), lost=_STATISTICS),
    "filter_response_norm": _ours(
        filter_response_norm.FilterResponseNorm,
        options=("epsilon", "use_learned_epsilon"),
        lost=_STATISTICS,
        ranks=(3, 5),
    ),
}
_SYNCHRONIZED = {"synchronized": True, "per_replica": False}


def convert(model, to, layers=None, **options):
    """Returns a model whose batch normalization, ours or Keras', is of another kind.

    | `to` | each layer becomes | options | outputs in inference |
    | --- | --- | --- | --- |
    | `"batch_norm"` | `BatchNorm` | | the same |
    | `"keras_batch_norm"` | `keras.layers.BatchNormalization` | | the same |
    | `"synchronized"`, `"per_replica"` | what it is, with or without `synchronized=True` | | the same |
    | `"ghost_batch_norm"` | `GhostBatchNorm` | `ghost_batch_size` | the same |
    | `"batch_renorm"` | `BatchRenorm` | `maximum_scale`, `maximum_shift` | the same |
    | `"mean_only_batch_norm"` | `MeanOnlyBatchNorm` | | others |
    | `"group_norm"` | `GroupNorm` | `groups`, `epsilon` | others |
    | `"layer_norm"`, `"rms_norm"` | `LayerNorm`, `RMSNorm` over the channels | `epsilon` | others |
    | `"instance_norm"` | `InstanceNorm` | `epsilon` | others |
    | `"filter_response_norm"` | `FilterResponseNorm` | `epsilon`, `use_learned_epsilon` | others |

    Scale and bias go along, with their values, initializers, regularizers, constraints and flags, and so do the name,
    the axis, the dtype and the trainable flag. Within batch norm's family momentum, epsilon, moving statistics and
    `synchronized` do, too: Keras' `momentum` is ours, the weight kept. Where outputs become others, epsilon is the
    default of the new layer, and the model must be trained again.

    What is different in training though outputs in inference are the same: Keras averages the biased variance, ours the
    unbiased one. The average that there is stays as it is: from a model trained with batches of n values per channel it
    is off by a factor of (n - 1) / n. Keras' averages start from 0 and 1 and forget them with time, so in ours they
    have the full weight, `moving_weight` 1; ours are divided by their weight on the way to Keras.

    `BatchNormBefore` and `BatchNormAfter` become two layers, except for `"batch_norm"`, which they are already, and for
    the two with `synchronized`. The activation is then called as the layer, with `_activation` behind.

    Args:
        model: Built functional or sequential model.
        to: String, a row of the table.
        layers: Regular expression or a sequence of them, for the whole name or path of layers of batch norm's family.
            None for all of the family.
        **options: Options of the new layers, see the table.

    Returns:
        The new model, not compiled, and a `Report`. The given model stays as it is.

    Raises:
        ValueError: The model has no such layer, or `to` or an option is not in the table or does not fit.

    Example:
    >>> norms = [keras.layers.BatchNormalization(name="first"), keras_norms.MeanOnlyBatchNorm(name="second")]
    >>> model, report = keras_norms.surgery.convert(keras.Sequential([keras.Input((4,)), *norms]), "batch_norm")
    >>> report
    layer   done       reason
    first   BatchNorm  same outputs in inference; its variance goes on as an average of unbiased ones
    second  left       MeanOnlyBatchNorm is no batch norm to convert: it has no variance
    >>> type(model.get_layer("first")).__name__
    'BatchNorm'
    """
    _check(to, options)
    family = batch_norm_family.layers(model)
    chosen = selection.chosen(family, layers)
    replaceable = {id(layer) for layer in rebuild.layers_of(model).values()}
    rows, replacements = [], {}
    with placement.scope(model):
        for path, layer in family.items():
            reason = "not chosen" if path not in chosen else _obstacle(layer, to, replaceable)
            if not reason:
                replacements[id(layer)] = _converted(path, layer, to, options)
            rows.append(report.Row(path, reason=reason) if reason else _row(path, layer, to))
        new = rebuild.rebuilt(model, replacements)
    return new, report.Report(tuple(rows))


def _check(to, options):
    if to not in _TARGETS and to not in _SYNCHRONIZED:
        raise ValueError(f"`to` must be one of {[*_TARGETS, *_SYNCHRONIZED]}. Received: to={to!r}.")
    required = _TARGETS[to].required if to in _TARGETS else ()
    allowed = (*required, *_TARGETS[to].options) if to in _TARGETS else ()
    if not set(required) <= set(options) <= set(allowed):
        raise ValueError(
            f"The options of {to!r} are {list(allowed) or 'none'}, of which {list(required) or 'none'} must be given. "
            f"Received: {options}."
        )


def _obstacle(layer, to, replaceable):
    """Returns why a layer cannot become another, or None."""
    name = type(layer).__name__
    if id(layer) not in replaceable:
        return "it is part of a layer with a call of its own"
    if to in _SYNCHRONIZED:
        return _obstacle_to_synchronization(layer, _SYNCHRONIZED[to])
    if type(layer) not in _SOURCES:
        missing = [statistic for statistic in ("mean", "variance") if statistic not in batch_norm_family.moving(layer)]
        if missing:
            return f"{name} is no batch norm to convert: it has no {missing[0]}"
        return f"{name} is a class of its own: what it computes is not known"
    target = _TARGETS[to]
    if type(layer) is target.kind or (to == "batch_norm" and isinstance(layer, _PAIRS)):
        return f"it is {name} already"
    if to == "keras_batch_norm" and layer.use_global_stats is not None:
        return f"use_global_stats={layer.use_global_stats}, which Keras' layer has not got"
    lowest, highest = target.ranks
    if not lowest <= layer.input_spec.ndim <= highest:
        return f"an input of rank {layer.input_spec.ndim}, where {to} takes {lowest} to {highest}"
    return None


def _obstacle_to_synchronization(layer, synchronized):
    if isinstance(layer, ghost_batch_norm.GhostBatchNorm) and synchronized:
        return "parts of a batch are those of one replica"
    if synchronized and not batch_norm_family.is_ours(layer) and keras.backend.backend() != "tensorflow":
        return "Keras' layer synchronizes on the TensorFlow backend alone"
    if layer.synchronized == synchronized:
        return f"it has synchronized={synchronized} already"
    return None


def _converted(path, layer, to, options):
    """Returns the layers in the place of a layer, in the order they are applied."""
    if to in _SYNCHRONIZED:
        new = rebuild.copied(layer, layer.name)
        new.synchronized = _SYNCHRONIZED[to]
        return [new]
    try:
        new = _TARGETS[to].make(batch_norm_parts.of(layer), **options)
    except ValueError as error:
        raise ValueError(f"{path!r} cannot become {to}: {error}") from error
    if not isinstance(layer, _PAIRS):
        return [new]
    activation = rebuild.copied(layer.activation, f"{layer.name}_activation")
    return [new, activation] if isinstance(layer, batch_norm_placement.BatchNormBefore) else [activation, new]


def _row(path, layer, to):
    if to in _SYNCHRONIZED:
        done = f"synchronized={_SYNCHRONIZED[to]}"
        return report.Row(path, done, "same outputs in inference")
    target = _TARGETS[to]
    notes = ["same outputs in inference" if target.exact else "other outputs: to be trained again"]
    if target.lost:
        notes.append(target.lost)
    if batch_norm_family.is_ours(layer) != issubclass(target.kind, batch_norm.BatchNorm) and target.exact:
        notes.append(f"its variance goes on as an average of {'' if to == 'keras_batch_norm' else 'un'}biased ones")
    is_renorm = getattr(layer, "renorm", False) or isinstance(layer, batch_renorm.BatchRenorm)
    if target.exact and is_renorm and to != "batch_renorm":
        notes.append("no renormalization in training")
    if target.exact and isinstance(layer, ghost_batch_norm.GhostBatchNorm):
        notes.append("statistics of the whole batch in training")
    if to == "ghost_batch_norm" and layer.synchronized:
        notes.append("no longer synchronized")
    kind = f"keras.layers.{target.kind.__name__}" if to == "keras_batch_norm" else target.kind.__name__
    return report.Row(path, f"{kind} and its activation" if isinstance(layer, _PAIRS) else kind, "; ".join(notes))
