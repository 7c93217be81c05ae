"""Normalization that is constant in inference, folded into the weights of the layers around it."""

import keras
import numpy as np

from keras_norms.surgery import fold_graph, fold_layers, fold_parts, fold_search, fold_weights, rebuild, report


def fold(model):
    """Folds normalization into the linear layers around it, for inference.

    Each batch norm (ours and Keras'), `Scale` and `Bias` is in inference a factor and a summand per channel. It goes
    into the dense layer or convolution before it, or else into those after it, where that is exact: through dropout,
    identities, average pooling, and max pooling if no scale is negative; not across a nonlinearity, and forwards not
    into a convolution that pads with zeros. Layers whose weights a wrapper computes (`WeightNormalization`,
    `WeightStandardization`, Keras' `SpectralNormalization`) become plain layers with the effective weights, and
    `NormProp` a linear layer, its activation and the constants of its moments, folded forwards or left as `Rescaling`.

    Folded weights are computed in float64 and rounded once. The given model stays as it is. The new one has the names
    of its layers, is not compiled, and is for inference: where statistics of the batch were, it has constants.

    Args:
        model: Built functional or sequential model, of any depth.

    Returns:
        The new model, and a `Report` with a row for each layer that has been folded or left, and the reason.

    Example:
    >>> layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"), keras_norms.BatchNormBefore("relu")]
    >>> folded, report = keras_norms.surgery.fold(keras.Sequential(layers))
    >>> [type(layer).__name__ for layer in folded.layers]
    ['Conv2D', 'Activation']
    >>> report.rows[0].done
    'folded into conv'
    """
    paths = rebuild.layers_of(model)
    _check_built(model)
    folding = _Folding(model, paths)
    folding.fold_backwards()
    folding.fold_forwards()
    return rebuild.rebuilt(model, folding.replacements()), report.Report(tuple(folding.rows()))


class _Folding:
    """What is known of a model while it is folded.

    Args:
        model: Keras model.
        paths: Dict from the paths of its layers to them.
    """

    def __init__(self, model, paths):
        self._path_of = {id(layer): path for path, layer in paths.items()}
        self._names = _names_of_plain_layers(model)
        computed = [layer for layer in paths.values() if fold_weights.are_computed(layer)]
        # What computes the weights of a layer speaks for it.
        self._inner = {id(inner) for wrapper in computed for inner in rebuild.nested(wrapper)[1:]}
        self._layers = [layer for layer in paths.values() if id(layer) not in self._inner]
        self._parts = {}
        self._calls = {}
        for step in fold_graph.steps([model, *self._models_in_wrappers()], self._parts_of, _is_open):
            self._calls.setdefault(step.part, []).append(step)
        self._affine = [part for part in self._calls if isinstance(part, fold_parts.Affine)]
        self._reasons = {part: [] for part in self._affine}

    def fold_backwards(self):
        """Folds into the linear layers before, from the first map to the last."""
        for affine in self._affine:
            try:
                for step in self._calls[affine]:
                    fold_search.check(step)
            except fold_search.LeftError as left:
                self._reasons[affine].append(str(left))
            else:
                self._fold(affine, "scaled_outputs", self._sources, "before it, ")

    def fold_forwards(self):
        """Folds what is left into the linear layers after, from the last map to the first."""
        for affine in reversed(self._affine):
            if not affine.folded_into and affine.obstacle is None and self._reasons[affine][0].startswith("before it"):
                self._fold(affine, "scaled_inputs", fold_search.targets, "after it, ")

    def replacements(self):
        """Returns what `rebuild.rebuilt` is to replace."""
        changed = [layer for layer in self._layers if self._changes(layer)]
        return {id(layer): [new for part in self._parts_of(layer) for new in part.made()] for layer in changed}

    def rows(self):
        """Yields the rows of the report."""
        for layer in self._layers:
            path = self._path_of[id(layer)]
            if isinstance(layer, fold_layers.FOLDABLE):
                yield report.Row(path, self._done(layer), self._reason(layer))
            elif not isinstance(layer, keras.layers.Wrapper):
                for inner in rebuild.nested(layer)[1:]:
                    if isinstance(inner, fold_layers.FOLDABLE) and id(inner) not in self._path_of:
                        reason = f"it is part of {path} ({type(layer).__name__}), which calls it by itself"
                        yield report.Row(f"{path}/{inner.name}", reason=reason)

    def _models_in_wrappers(self):
        wrappers = [layer for layer in self._layers if isinstance(layer, keras.layers.Wrapper)]
        return [layer.layer for layer in wrappers if not fold_weights.are_computed(layer) and _is_open(layer.layer)]

    def _parts_of(self, layer):
        if id(layer) in self._inner:
            return [fold_parts.Part(layer, "is in a wrapper elsewhere, too")]
        if id(layer) not in self._parts:
            # With the layer: an id is its own only as long as it lives.
            self._parts[id(layer)] = layer, fold_layers.of(layer, self._names.get(id(layer)))
        return self._parts[id(layer)][1]

    def _sources(self, step, path):
        source, channel = fold_search.source(step, path)
        return [(source, channel, step.part.scale, step.part.shift)]

    def _fold(self, affine, method, search, where):
        def path(layer):
            return "its activation" if layer is affine.layer else self._path_of.get(id(layer), layer.name)

        try:
            found = [search(step, path) for step in self._calls[affine]]
            if len({frozenset(step.part for step, *_ in one) for one in found}) > 1:
                raise fold_search.LeftError("it is shared, and what stands there is not")
            new = self._scaled(method, [values for one in found for values in one], path)
        except fold_search.LeftError as left:
            self._reasons[affine].append(f"{where}{left}")
        else:
            for linear, weights in new.items():
                linear.weights = weights
            affine.folded_into = list(new)

    def _scaled(self, method, found, path):
        """Returns a dict from linear parts to their new weights."""
        new = {}
        for linear in dict.fromkeys(step.part for step, *_ in found):
            (channel, scale, shift), *others = [values for step, *values in found if step.part is linear]
            if len(others) + 1 < len(self._calls[linear]):
                raise fold_search.LeftError(f"{path(linear.layer)} is shared, and elsewhere it has another neighbour")
            if not all(c == channel and np.array_equal(a, scale) and np.array_equal(b, shift) for c, a, b in others):
                raise fold_search.LeftError(f"{path(linear.layer)} is shared, with inputs of several shapes")
            new[linear] = getattr(linear.weights, method)(channel, scale, shift)
            if not new[linear].fits():
                raise fold_search.LeftError(f"the weights of {path(linear.layer)} would not be finite")
        return new

    def _changes(self, layer):
        return any(map(self._part_changes, self._parts_of(layer)))

    def _part_changes(self, part):
        if isinstance(part, fold_parts.Affine):
            return bool(part.folded_into)
        is_replaced = part.plain is not None and not self._learns_in_training(part)
        return is_replaced or (isinstance(part, fold_parts.Linear) and part.changed)

    def _learns_in_training(self, part):
        return part.learns and any(step.in_training for step in self._calls.get(part, []))

    def _done(self, layer):
        done, is_computed = [], fold_weights.are_computed(layer)
        if is_computed and self._changes(layer):
            done.append(f"effective weights in {self._new_path(self._parts_of(layer)[0])}")
        for part in self._parts_of(layer):
            if isinstance(part, fold_parts.Affine) and part.folded_into:
                names = ", ".join(map(self._new_path, part.folded_into))
                done.append(f"constants folded into {names}" if is_computed else f"folded into {names}")
        return "; ".join(done)

    def _new_path(self, part):
        path = self._path_of[id(part.layer)]
        return path if part.plain is None else f"{path.rpartition('/')[0]}/{part.plain.name}".lstrip("/")

    def _reason(self, layer):
        reasons = []
        for part in self._parts_of(layer):
            if isinstance(part, fold_parts.Affine) and not part.folded_into:
                inside = ["it is in a wrapper that calls it by itself"]
                reasons.extend(self._reasons.get(part, [part.obstacle] if part.obstacle else inside))
            elif isinstance(part, fold_parts.Linear) and self._learns_in_training(part):
                reasons.append("it is called with `training=True`")
            elif type(part) is fold_parts.Part and part.plain is None:
                reasons.append(f"what its class {type(layer).__name__} computes is not known")
        return "; ".join(reasons)


def _check_built(model):
    if not _is_open(model):
        raise ValueError(
            "`model` must have been built: give it a `keras.Input`, or call it on one. "
            f"Received: model {model.name!r} without inputs."
        )


def _is_open(layer):
    """Whether it is a model whose graph is known."""
    return rebuild.is_plain(layer) and hasattr(layer, "inputs")


def _names_of_plain_layers(model):
    """Returns a dict from the ids of wrappers to the names of the plain layers in their place: those of the wrapped
    layers, or their own where that is taken."""
    names = {}
    for network in filter(rebuild.is_plain, rebuild.nested(model)):
        taken = {layer.name for layer in network.layers}
        for wrapper in filter(fold_weights.are_computed, network.layers):
            name = fold_weights.base(wrapper).name
            names[id(wrapper)] = wrapper.name if name in taken else name
            taken.add(name)
    return names
