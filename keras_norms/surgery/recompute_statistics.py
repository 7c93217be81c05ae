"""Statistics of a data set in place of moving averages."""

import itertools

import numpy as np

from keras_norms.surgery import batch_norm_family, input_batches, placement, population, rebuild, report, sweep


def recompute_statistics(model, dataset, batches=None):
    """Returns a model whose normalizations have the statistics of a data set in place of moving averages.

    Known as precise batch norm. Moving averages follow weights that have moved on, forget all but the last batches,
    and mean nothing once weights have been averaged. Use it before a model is exported, and after its weights have
    been averaged or loaded from elsewhere.

    One run through the batches, as in inference: dropout is off, and no weight or other state moves. Each layer of
    batch norm's family, ours or Keras', normalizes with the mean and variance of the whole batch, so that all
    statistics are those of the present weights. They are merged over batches in float64, each batch by the number of
    its values: of equal batches or not, the mean and variance of a layer are those of all its inputs, as if they had
    come at once. What a layer takes depends on how the data are cut only through the batch statistics of the layers
    before it: large batches in random order are nearest to inference. The same batches give the same statistics.

    - Ours store the unbiased variance, `count / (count - 1)` times the biased one, Keras' the biased one: what each
      averages in training. Ours get `moving_weight` 1, the full weight of an average.
    - Parts of `GhostBatchNorm` are merged, `BatchRenorm` corrects nothing: both are batch norm here, as in inference.
    - A layer that is called several times has the statistics of all these inputs together, as inference does.
    - Masks and `counted_rows` are heeded. Examples with a weight of 0 do not count, in Keras' layers either.
    - Left as they are: layers that normalize with their moving statistics in training, too (frozen, with
      `use_global_stats=True`, or called with `training=False`): what follows them has been trained with these.

    A model made under a `tf.distribute` strategy divides each batch over the replicas, with the batch statistics of
    all of them: it gets what one device would, on every replica. On several workers all must be given the same
    batches, whole.

    Args:
        model: Built functional or sequential model.
        dataset: Iterable of batches, as `fit` takes them: arrays or dicts of inputs, or tuples (inputs, targets) or
            (inputs, targets, weights). A `tf.data.Dataset`, a `keras.utils.PyDataset`, a list, a generator.
        batches: Integer, how many batches to take, or None for all of the dataset.

    Returns:
        The new model, not compiled, and a `Report`. The given model stays as it is.

    Raises:
        ValueError: There is nothing to recompute, there are not as many batches, or a layer gets a batch of one value
            per channel, which normalizes to 0 whatever it is.
        FloatingPointError: Statistics are no numbers; the first such layer is named.

    Example:
    >>> model = keras.Sequential([keras.Input((1,)), keras_norms.BatchNorm(name="norm")])
    >>> dataset = [np.array([[1.0], [2.0]]), np.array([[3.0], [4.0], [5.0]])]
    >>> model, report = keras_norms.surgery.recompute_statistics(model, dataset)
    >>> report
    layer  done                                     reason
    norm   mean and variance of 5 values a channel  unbiased variance, as it averages
    >>> [float(statistic[0]) for statistic in model.get_layer("norm").statistics()]
    [3.0, 2.5]

    Reference: [Wu and Johnson, 2021](https://arxiv.org/abs/2105.07576)
    """
    with placement.scope(model):
        new = rebuild.rebuilt(model)
    family = batch_norm_family.layers(new)
    feed = input_batches.of(dataset, batches)
    first = next(feed)
    reasons = _reasons(new, family, first[0])
    populations = {path: population.Population() for path, reason in reasons.items() if not reason}
    if not populations:
        raise ValueError(
            f"`model` must have statistics to recompute. Received: a model of which all are left: {reasons}."
        )
    with sweep.measuring(new, [family[path] for path in populations]) as moments:
        for inputs, rows in itertools.chain([first], feed):
            for (path, total), parts in zip(populations.items(), moments(inputs, rows), strict=True):
                for part in parts:
                    _check(path, part)
                    total.add(part)
    rows = {path: _replaced(path, family[path], total) for path, total in populations.items()}
    return new, report.Report(tuple(rows.get(path) or report.Row(path, reason=reasons[path]) for path in family))


def _reasons(model, family, inputs):
    """Returns why the statistics of each layer are left, None where they are not: these in the order of their calls."""
    movable = [layer for layer in family.values() if not _fixed(layer)]
    flags = sweep.training_flags(model, movable, inputs) if movable else {}
    order = {key: number for number, key in enumerate(flags)}
    paths = sorted(family, key=lambda path: order.get(id(family[path]), -1))
    return {path: _fixed(family[path]) or _unmeasured(flags.get(id(family[path]))) for path in paths}


def _fixed(layer):
    if not layer.trainable:
        return "frozen: it normalizes with these statistics in training, too"
    if getattr(layer, "use_global_stats", None):
        return "use_global_stats=True: it normalizes with these statistics in training, too"
    return None


def _unmeasured(flags):
    if flags is None:
        return "the batch does not reach it, or only in a compiled function"
    if None in flags:
        return "it runs in a loop or a compiled function, where its inputs cannot be read"
    if not any(flags):
        return "called with training=False: it normalizes with these statistics in training, too"
    return None


def _check(path, part):
    """Refuses statistics that are none."""
    if part.count == 1:
        raise ValueError(
            f"A batch must have more than one value per channel for {path!r}: of one the variance is 0. Give larger "
            "batches, all of them: with tf.data, `batch(size, drop_remainder=True)`."
        )
    if not all(np.isfinite(number).all() for number in part):
        raise FloatingPointError(
            f"The inputs of {path!r} have a mean or a variance that is no number: the weights before it, or the data, "
            "are not finite."
        )


def _replaced(path, layer, total):
    """Gives a layer the statistics of its inputs, and returns the row that tells it."""
    if not total.count:
        return report.Row(path, reason="none of its inputs counts")
    ours = batch_norm_family.is_ours(layer)
    variance = total.variance(unbiased=ours)
    for variable, value in batch_norm_family.variables_and_values(layer, total.mean, variance):
        variable.assign(value)
    statistics = batch_norm_family.moving(layer)
    convention = f"{'unbiased' if ours else 'biased'} variance, as it averages" if "variance" in statistics else ""
    return report.Row(path, f"{' and '.join(statistics)} of {total.count:,} values a channel", convention)
