"""All layers in a model, by their paths."""


def everything(layer, closed=()):
    """Yields the path and the layer of everything inside a layer or model, at any depth, each layer once.

    Unlike `rebuild.layers_of` it also looks into layers with a `call` of their own.

    Args:
        layer: Keras layer or model.
        closed: Tuple of classes of layers that are not looked into.
    """
    yield from _inside(layer, "", closed, set())


def _inside(layer, prefix, closed, seen):
    # Private: Keras 3.15 has nothing public that knows the layers right inside of all layers.
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        yield f"{prefix}{inner.name}", inner
        if not isinstance(inner, closed):
            yield from _inside(inner, f"{prefix}{inner.name}/", closed, seen)
