"""A model made anew: the same layers, weights and names, some layers replaced, others left out."""

import collections.abc
import contextlib
import inspect
import tempfile
import types

import keras


def layers_of(model):
    """Returns the layers that can be replaced in a model.

    Those of functional and sequential models nested in it and of wrappers count, at any depth. What a layer with a
    `call` of its own holds is part of that layer.

    Args:
        model: Functional or sequential model.

    Returns:
        Dict from the path of each layer, the names of the models and wrappers around it and its own joined by "/", to
        the layer, in the order of the model. A layer in several places has the path of the first.
    """
    check(model)
    paths = {}
    _collect(model, "", paths, set())
    return paths


def rebuilt(model, replacements=None):
    """Returns a new model with the layers, weights, names and trainable flags of a model.

    The given model stays as it is. The new one is not compiled. A subclass of `keras.Model` that builds a functional
    model in a constructor of its own becomes a plain functional model.

    Args:
        model: Functional or sequential model.
        replacements: Dict from the `id` of layers among `layers_of(model)` to the new layer in its place, to a sequence
            of layers that are applied one after the other, or to None, where the layer is left out. A new layer that is
            built keeps its weights. All keep their trainable flags.

    Raises:
        ValueError: The model has a `call` of its own, or a layer cannot be made from its config.
    """
    check(model)
    rebuilding = _Rebuilding(replacements or {})
    new = rebuilding.model(model)
    rebuilding.finish()
    return new


def check(model):
    """Raises an error unless the layers of a model are known."""
    if not is_plain(model):
        raise ValueError(
            "`model` must be a functional or sequential Keras model. What a model with a `call` of its own computes "
            "is not known: build it as `keras.Model(inputs, outputs)`. Received: model of class "
            f"{type(model).__name__}."
        )


def is_plain(model):
    """Returns whether the layers of a model are known: a functional or sequential one, without a `call` of its own."""
    if not isinstance(model, keras.Model) or not isinstance(model, (keras.Function, keras.Sequential)):
        return False
    definer = next(kind for kind in type(model).__mro__ if "call" in vars(kind))
    return definer.__module__.partition(".")[0] == "keras"


def _collect(container, prefix, paths, seen):
    inner = container.layers if is_plain(container) else [container.layer]
    for layer in inner:
        if id(layer) in seen or isinstance(layer, keras.layers.InputLayer):
            continue
        seen.add(id(layer))
        path = f"{prefix}{layer.name}"
        if not is_plain(layer):
            paths[path] = layer
        if is_plain(layer) or _is_wrapper(layer):
            _collect(layer, f"{path}/", paths, seen)


def _is_wrapper(layer):
    # Bidirectional makes a second layer of the one it is given.
    return isinstance(layer, keras.layers.Wrapper) and not isinstance(layer, keras.layers.Bidirectional)


class _Rebuilding:
    """The layers made so far, so that a layer in several places is made once."""

    def __init__(self, replacements):
        self._replacements = {key: _sequence(value) for key, value in replacements.items()}
        self._made = {}
        self._containers = []
        self._clones = []
        new = [part for layers in self._replacements.values() for layer in layers for part in nested(layer)]
        self._flags = [(layer, layer.trainable, [v.trainable for v in layer.weights]) for layer in new]

    def made(self, layer):
        """Returns the list of layers that take the place of a layer."""
        if id(layer) not in self._made:
            self._made[id(layer)] = self._make(layer)
        return self._made[id(layer)]

    def model(self, model):
        """Returns the new model in place of a functional or sequential one."""
        new = self._sequential(model) if isinstance(model, keras.Sequential) else self._functional(model)
        self._containers.append((model, new))
        return new

    def finish(self):
        """Gives what has been made from configs the weights and flags of what it comes from."""
        for old, new in self._containers:
            with _telling(old):
                _copy_state(old, new)
        for old, new in self._clones:
            with _telling(old):
                _copy_states(old, new)
        # The flag of a layer is passed on to those in it: from the outermost to the innermost.
        for old, new in reversed(self._containers):
            _copy_flag(old, new)
        for old, new in self._clones:
            _copy_flags(old, new)
        for layer, trainable, weights in self._flags:
            layer.trainable = trainable
            for weight, flag in zip(layer.weights, weights, strict=False):  # none yet where it was not built
                weight.trainable = flag

    def _make(self, layer):
        if id(layer) in self._replacements:
            return self._replacements[id(layer)]
        if is_plain(layer):
            return [self.model(layer)]
        if _is_wrapper(layer) and any(id(inner) in self._replacements for inner in nested(layer)):
            return [self._wrapper(layer)]
        return [self._clone(layer)]

    def _sequential(self, model):
        layers = [new for layer in model.layers for new in self.made(layer)]
        if model.layers and not layers:
            layers = [keras.layers.Identity(name=model.layers[0].name)]
        if model.built:
            layers = [_input(model.inputs[0], model), *layers]
        kind = type(model) if _constructed_like(model, keras.Sequential) else keras.Sequential
        return kind(layers, name=model.name)

    def _functional(self, model):
        # A twin without a compiled state, which clone_model would clone too.
        twin = keras.Model(model.input, model.output, name=model.name)
        inputs = keras.tree.map_structure(lambda tensor: _input(tensor, model), model.input)
        new = keras.models.clone_model(twin, inputs, clone_function=self.made, call_function=_applied)
        if type(model) is not type(new) and _constructed_like(model, type(new)):
            return type(model)(new.input, new.output, name=model.name)
        return new

    def _wrapper(self, wrapper):
        layers = self.made(wrapper.layer)
        inner = layers[0] if len(layers) == 1 else keras.Sequential(layers or [keras.layers.Identity()])
        config = {name: value for name, value in wrapper.get_config().items() if name != "layer"}
        with _telling(wrapper):
            new = type(wrapper)(inner, **config)
        self._containers.append((wrapper, new))
        return new

    def _clone(self, layer):
        with _telling(layer):
            new = _from_config(layer)
        if isinstance(layer, keras.Layer):
            self._clones.append((layer, new))
        return new


def copied(layer, name):
    """Returns a new built layer with the config, weights and flags of a built layer, and a name of its own."""
    with _telling(layer):
        new = _from_config(layer, name=name)
        _copy_states(layer, new)
    _copy_flags(layer, new)
    return new


def nested(layer):
    """Returns a layer and all layers inside it, at any depth."""
    # Private: Keras 3.15 has nothing public that knows the layers of all layers.
    return layer._flatten_layers()


def _sequence(replacement):
    if replacement is None:
        return []
    return list(replacement) if isinstance(replacement, collections.abc.Sequence) else [replacement]


def _applied(layers, *args, **kwargs):
    if not layers:
        return args[0] if args else next(iter(kwargs.values()))
    outputs = layers[0](*args, **_taken(layers[0], kwargs))
    for layer in layers[1:]:
        outputs = layer(outputs)
    return outputs


def _taken(layer, kwargs):
    # Keras passes the mask on to layers that take it; one in the place of such a layer may not.
    takes_mask = "mask" in inspect.signature(layer.call).parameters
    return kwargs if takes_mask else {name: value for name, value in kwargs.items() if name != "mask"}


def _input(tensor, model):
    if not isinstance(model, keras.Sequential):
        for layer in model.layers:
            if isinstance(layer, keras.layers.InputLayer) and layer.output is tensor:
                return keras.layers.InputLayer.from_config(layer.get_config()).output
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse, name=tensor.name)


def _constructed_like(model, plain):
    return inspect.signature(type(model).__init__) == inspect.signature(plain.__init__)


def _from_config(layer, **changes):
    if type(layer) is keras.layers.Lambda:
        # From its config it would be a function that has lost the names of its module.
        return keras.layers.Lambda(
            layer.function,
            layer._output_shape,  # private: there is no other way to it
            layer.mask,
            layer.arguments,
            **{"name": layer.name, "dtype": layer.dtype_policy, **changes},
        )
    with keras.saving.custom_object_scope(_custom_objects(layer)):
        return type(layer).from_config({**layer.get_config(), **changes})


def _custom_objects(layer):
    # What is not registered is found by its name alone.
    objects = {}
    for part in nested(layer) if isinstance(layer, keras.Layer) else [layer]:
        for thing in (type(part), *vars(part).values()):
            if isinstance(thing, (type, types.FunctionType)) and thing.__module__.partition(".")[0] != "keras":
                objects[thing.__name__] = thing
    return objects


def _copy_states(old, new):
    for before, after in zip(nested(old), nested(new), strict=True):
        _copy_state(before, after)


def _copy_state(old, new):
    if old.built and not new.built:
        new.build_from_config(old.get_build_config())
    store = {}
    old.save_own_variables(store)
    if store:
        new.load_own_variables(store)
    if isinstance(old, keras.layers.Normalization):
        # It computes with constants, made of its weights when it was adapted or loaded, not when they were set.
        new.mean, new.variance = old.mean, old.variance
    if hasattr(old, "save_assets"):  # vocabularies
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def _copy_flag(old, new):
    if new.trainable != old.trainable:
        new.trainable = old.trainable


def _copy_flags(old, new):
    for before, after in zip(nested(old), nested(new), strict=True):
        _copy_flag(before, after)
    for before, after in zip(old.weights, new.weights, strict=True):
        after.trainable = before.trainable


@contextlib.contextmanager
def _telling(layer):
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"The layer {layer.name!r} of class {type(layer).__name__} cannot be made anew. It needs a `get_config` "
            "from which `from_config` makes the same layer, and a `build` that creates the same weights. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
