"""The layers of a model whose outputs are measured, and the names they get."""

import keras

_LIBRARIES = ("keras", "keras_norms")


def of(model):
    """Returns the parts of a model, outer ones before those inside of them.

    What a model is made of is opened down to the layers of Keras and of this package, which count as one part each,
    with all they hold (a wrapper with its layer, a normalization with its activation). Models and layers written as
    classes elsewhere are parts themselves, and opened. A functional or sequential model is none: its outputs are those
    of its layers.

    Args:
        model: Keras model.

    Returns:
        Dict from layers to names, paths such as `encoder/conv1`, without the name of the model itself.
    """
    parts = {}

    def visit(layer, name, within):
        if layer in parts:
            return
        is_graph = isinstance(layer, keras.Model) and _is_library(type(layer).call)
        if not is_graph:
            parts[layer] = name
        if is_graph or not _is_library(type(layer)):
            # Keras 3.15 has no public list of the layers directly inside of a layer.
            for inner in layer._flatten_layers(include_self=False, recursive=False):
                visit(inner, within + inner.name, f"{within}{inner.name}/")

    visit(model, model.name, "")
    return parts


def _is_library(thing):
    return thing.__module__.partition(".")[0] in _LIBRARIES
