"""The order in which a flattened image comes to a dense layer.

PyTorch and Caffe flatten (channels, height, width), Keras with channels last (height, width, channels). The inputs of
the dense layer behind have to change places, and so has what stands between the two, such as a batch norm.
"""

import math

import keras
import numpy as np

_MIXING = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.RNN, keras.layers.InputLayer)
_SHAPING = (keras.layers.Flatten, keras.layers.Reshape)


class Graph:
    """The functional and sequential models in a model, at any depth, as far as they can be seen.

    Args:
        model: Keras model.
    """

    def __init__(self, model):
        # Where the input of a model inside a model comes from.
        self._outer = {}
        self._hiding = []
        for inner in _inside(model):
            if not isinstance(inner, keras.Model) and any(isinstance(part, _SHAPING) for part in _inside(inner)):
                self._hiding.append(inner)
            if isinstance(inner, keras.Model) and getattr(inner, "inputs", None):
                for node in inner._inbound_nodes:
                    for own, given in zip(inner.inputs, node.input_tensors, strict=False):
                        self._outer.setdefault(id(own), given)

    def sees(self, layer):
        """Returns whether it is known what comes before a layer. It is not inside a layer with a `call` of its own."""
        return bool(layer._inbound_nodes)

    def check_hidden(self, layer):
        """Raises an error if a layer is inside one with a `call` of its own that may flatten what comes to it."""
        for container in self._hiding:
            if any(inner is layer for inner in _inside(container)):
                raise ValueError(
                    f"The layer {layer.name!r} is inside of {container.name!r}, which has a Flatten or Reshape and a "
                    "`call` of its own: the order of its inputs is not known. Make it of layers of a functional model."
                )

    def order(self, layer):
        """Returns for each feature that comes to a layer its place in PyTorch and Caffe, or None if it is the same.

        Raises:
            ValueError: Flattened images have been joined, or come to the layer in different shapes.
        """
        tensors = [node.input_tensors[0] for node in layer._inbound_nodes if node.input_tensors]
        shapes = {self._flattened(tensor) for tensor in tensors}
        if len(shapes) > 1:
            raise ValueError(f"Flattened images of different shapes come to the layer {layer.name!r}: {shapes}.")
        shape = shapes.pop() if shapes else None
        if shape is None:
            return None
        *positions, channels = shape
        places = np.arange(math.prod(shape)).reshape(channels, *positions)
        order = np.moveaxis(places, 0, -1).reshape(-1)
        return None if (np.diff(order) == 1).all() else order

    def check_outputs(self, layer):
        """Raises an error if the features that a layer returns become an image, in which they have another order."""
        for output in [output for node in layer._inbound_nodes for output in node.outputs]:
            name = self._image_from(output) if len(output.shape) == 2 else None
            if name is not None:
                raise ValueError(
                    f"The outputs of the layer {layer.name!r} become an image in {name!r}, whose order in the source "
                    "is (channels, height, width). Make it so here, with `Reshape((channels, height, width))` and "
                    "`Permute((2, 3, 1))` behind it."
                )

    def _image_from(self, tensor):
        """Returns the name of what makes an image with channels last of a tensor of rank 2, or None."""
        for node in tensor._keras_history.operation._outbound_nodes:
            output = node.outputs[0]
            if not any(given is tensor for given in node.input_tensors) or isinstance(node.operation, _MIXING):
                continue
            if len(output.shape) > 3:
                readers = [reader.operation for reader in node.operation._outbound_nodes]
                if not readers or not all(isinstance(reader, keras.layers.Permute) for reader in readers):
                    return node.operation.name
            elif tuple(output.shape) == tuple(tensor.shape) and self._image_from(output):
                return self._image_from(output)
        return None

    def _flattened(self, tensor):
        """Returns the shape, channels last, of the image that a tensor of rank 2 is; None if it is none."""
        if len(tensor.shape) != 2:
            return None
        tensor = self._origin(tensor)
        operation, before = self._producer(tensor)
        if isinstance(operation, _MIXING) or not before:
            return None
        if any(len(t.shape) > 2 for t in before):
            return self._image(operation, before[0], tensor)
        shapes = {self._flattened(t) for t in before if len(t.shape) == 2}
        if shapes <= {None}:
            return None
        if all(tuple(t.shape) == tuple(tensor.shape) for t in before) and len(shapes) == 1:
            return shapes.pop()
        raise ValueError(
            f"A flattened image goes through {operation.name!r}, which joins or takes apart what comes to it: the "
            "order of its features in the source is not known. Flatten behind it."
        )

    def _image(self, operation, before, tensor):
        shape = tuple(before.shape[1:])
        if None in shape or math.prod(shape) != tensor.shape[-1]:
            return None  # pooled, not flattened
        if getattr(operation, "data_format", None) == "channels_first":
            return (*shape[1:], shape[0])  # Flatten then brings them into this order
        last = self._channels_last(before)
        # A sequence that no convolution has seen has the same order everywhere.
        return shape if last or (last is None and len(shape) > 2) else None

    def _channels_last(self, tensor):
        tensor = self._origin(tensor)
        operation, before = self._producer(tensor)
        data_format = getattr(operation, "data_format", None)
        if data_format is not None:
            return data_format == "channels_last"
        return self._channels_last(before[0]) if before else None

    def _origin(self, tensor):
        """Follows a tensor out of the model it is an input of, and into the model that it is an output of."""
        while True:
            operation, _, index = tensor._keras_history
            if id(tensor) in self._outer:
                tensor = self._outer[id(tensor)]
            elif isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
                tensor = operation.outputs[index]
            else:
                return tensor

    def _producer(self, tensor):
        operation, index, _ = tensor._keras_history
        return operation, operation._inbound_nodes[index].input_tensors


def _inside(layer):
    # Private: Keras 3.15 has nothing public that knows the layers of all layers.
    return layer._flatten_layers(include_self=False)
