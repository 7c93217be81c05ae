"""Batch norm that stays as it is while the rest of a model learns."""

from keras_norms.layers import batch_norm_placement
from keras_norms.surgery import batch_norm_family, placement, rebuild, report, selection


def freeze(model, layers=None):
    """Returns a model whose batch normalization does not change in training: `trainable=False` for each such layer.

    Use it to train a model further on few data or small batches, as in detection and transfer learning. In training, as
    in inference, a frozen layer normalizes with its moving statistics, a fixed factor and summand per channel:

    - its moving statistics, scale and bias do not move, nor other weights it has (a slope, those of its activation);
    - gradients pass through it to what stands before it;
    - all other layers keep their flags, and learn as before.

    A layer with `use_global_stats=False` goes on to normalize with statistics of the batch. In a functional model
    `training=False` in the call of a layer freezes nothing: the call of the model decides (Keras 3.15).

    Args:
        model: Built functional or sequential model.
        layers: Regular expression or a sequence of them, for the whole name or path of layers of batch norm's family,
            ours or Keras'. None for all of the family.

    Returns:
        The new model, and a `Report`. The given model stays as it is. The new one is not compiled: `compile` it, which
        is what takes up the flags.

    Example:
    >>> norm, head = keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(2, name="head")
    >>> model = keras.Sequential([keras.Input((3,)), norm, keras_norms.BatchNorm(name="last"), head])
    >>> model, report = keras_norms.surgery.freeze(model, "norm")
    >>> report
    layer  done    reason
    norm   frozen
    last   left    not chosen
    >>> [variable.path for variable in model.get_layer("norm").trainable_variables]
    []
    """
    return _with_flags(model, layers, trainable=False)


def unfreeze(model, layers=None):
    """Returns a model whose frozen batch normalization learns and moves again: the inverse of `freeze`.

    A model or layer that is frozen as a whole and holds a layer to unfreeze is no longer frozen as a whole; all else in
    it stays frozen.

    Args:
        model: Built functional or sequential model.
        layers: Regular expression or a sequence of them, as in `freeze`. None for all of the family.

    Returns:
        The new model, not compiled, and a `Report`. The given model stays as it is.

    Example:
    >>> model = keras.Sequential([keras.Input((3,)), keras_norms.BatchNorm(name="norm"), keras.layers.Dense(2)])
    >>> model.trainable = False
    >>> model, report = keras_norms.surgery.unfreeze(model)
    >>> report
    layer  done      reason
    norm   unfrozen
    >>> [variable.name for variable in model.trainable_variables]
    ['scale', 'bias']
    """
    return _with_flags(model, layers, trainable=True)


def _with_flags(model, patterns, trainable):
    with placement.scope(model):
        new = rebuild.rebuilt(model)
    family = batch_norm_family.layers(new)
    chosen = selection.chosen(family, patterns)
    changing = {path for path in chosen if family[path].trainable != trainable}
    rows = [_row(path, layer, path in chosen, path in changing, trainable) for path, layer in family.items()]
    _set_flags(new, [family[path] for path in changing], trainable)
    return new, report.Report(tuple(rows))


def _set_flags(model, layers, trainable):
    """Sets the flags of layers; of what is frozen around them nothing else learns."""
    everything = rebuild.nested(model)
    changing = {id(variable) for layer in layers for variable in layer.variables}
    others = [(variable, variable.trainable) for variable in model.variables if id(variable) not in changing]
    flags = [(layer, layer.trainable or (trainable and _holds(layer, layers))) for layer in everything]
    flags += [(inner, trainable) for layer in layers for inner in rebuild.nested(layer)]
    # A flag is passed on to all inside: those of the outer ones come first.
    for layer, flag in sorted(flags, key=lambda pair: -len(rebuild.nested(pair[0]))):
        layer.trainable = flag
    for variable, flag in others:
        variable.trainable = flag


def _holds(layer, layers):
    inside = {id(inner) for inner in rebuild.nested(layer)}
    return any(id(one) in inside for one in layers)


def _row(path, layer, is_chosen, is_changing, trainable):
    if not is_chosen:
        return report.Row(path, reason="not chosen")
    if not is_changing:
        return report.Row(path, reason="not frozen" if trainable else "already frozen")
    if trainable:
        return report.Row(path, "unfrozen")
    reasons = []
    if getattr(layer, "use_global_stats", None) is False:
        reasons.append("use_global_stats=False: it still normalizes with statistics of the batch")
    pair = batch_norm_placement.BatchNormBefore | batch_norm_placement.BatchNormAfter
    if isinstance(layer, pair) and layer.activation.trainable_variables:
        reasons.append("the weights of its activation are frozen, too")
    return report.Row(path, "frozen", "; ".join(reasons))
