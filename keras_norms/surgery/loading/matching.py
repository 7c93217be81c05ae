"""Which layer of a model takes which module of a source."""

import keras

from keras_norms.layers import bias, moving_statistics, reparameterization, scale, weight_normalization
from keras_norms.surgery.loading import layouts
from keras_norms.surgery.paths import everything

# What computes the weights of a layer from others speaks for it.
_REPARAMETERIZED = (reparameterization.Reparameterization, keras.layers.SpectralNormalization)


def layers_of(model):
    """Returns the layers with variables of their own, and the wrappers that speak for one, in the order of the model.

    Returns:
        Dict from paths, the names of what is around a layer and its own joined by "/", to layers. A layer in several
        places has the path of the first.
    """
    return {path: layer for path, layer in everything(model, closed=_REPARAMETERIZED) if _own_variables(layer)}


def is_batch_norm(layer):
    """Returns whether a layer normalizes with a moving mean and a moving variance, ours or Keras'."""
    if isinstance(layer, moving_statistics.MovingStatistics):
        return layer.moving == ("mean", "variance")
    return isinstance(layer, keras.layers.BatchNormalization)


def obstacle(layer):
    """Returns why nothing is known of loading a layer, or None."""
    if isinstance(layer, weight_normalization.WeightNormalization):
        if layer.names == ("kernel",) and layouts.is_linear(layer.layer):
            return None
        return f"weight normalization of {layer.names} of {type(layer.layer).__name__} is not known in sources"
    if layouts.is_linear(layer) or is_batch_norm(layer) or isinstance(layer, scale.Scale | bias.Bias):
        return None
    return f"nothing is known of {type(layer).__name__} in sources"


def modules_for(paths, source, names):
    """Returns which module each layer takes.

    Args:
        paths: Sequence of paths of layers.
        source: `Source`.
        names: Dict from names or paths of layers, or of models around them, to names in the source.

    Returns:
        Dict from paths to modules, without the layers that the source has not got.

    Raises:
        ValueError: `names` names what is not there, or it is not clear which of several layers takes a module.
    """
    _check(names, paths, source)
    found = {}
    for path in paths:
        name = next((name for name in _candidates(path, names) if name in source.modules), None)
        if name is not None:
            found[path] = source.modules[name]
    _check_once(found, names)
    return found


def _own_variables(layer):
    if isinstance(layer, _REPARAMETERIZED):
        return layer.variables
    inner = {id(v) for part in layer._flatten_layers(include_self=False) for v in part.variables}
    return [v for v in layer.weights if id(v) not in inner]


def _last(path):
    return path.rpartition("/")[2]


def _given(path, names):
    return names.get(path, names.get(_last(path)))


def _candidates(path, names):
    if _given(path, names) is not None:
        return [_given(path, names)]
    outer, _, name = path.rpartition("/")
    if not outer:
        return [name]
    inside = [f"{around}{separator}{name}" for around in _candidates(outer, names) for separator in "./"]
    # In a source that has no models in models the name alone; not where it is said what the model is called there.
    return inside if any(_given(part, names) for part in _outers(path)) else [*inside, name]


def _outers(path):
    return [path[:end] for end, letter in enumerate(path) if letter == "/"]


def _check(names, paths, source):
    known = {name for path in paths for part in [path, *_outers(path)] for name in (part, _last(part))}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"`names` must name layers of the model, which has {list(paths)}. Received: {unknown}.")
    for path in paths:
        given = _given(path, names)
        if given is not None and given not in source.modules:
            raise ValueError(
                f"`names` must name layers of the source, which has {list(source.modules)}. "
                f"Received: {given!r} for the layer {path!r}."
            )


def _check_once(found, names):
    takers = {}
    for path, module in found.items():
        takers.setdefault(module.name, []).append(path)
    for name, several in takers.items():
        if sum(_given(path, names) is None for path in several) > 1:
            raise ValueError(f"Several layers would take {name!r} of the source: {several}. Say in `names` which one.")
