"""Reads a `.caffemodel`, the weights and layers of a Caffe net.

A `BatchNorm` of Caffe has neither scale nor bias. It keeps sums, M and V, and a factor f to divide both by:

    mean = M / f, variance = V / f, both 0 where f is 0

    f <- a f + 1, M <- a M + mean, V <- a V + m / (m - 1) variance        a: moving_average_fraction

Ours are these times `1 - a`. Scale and bias are those of a `Scale` layer right behind it.
"""

import math
import pathlib

import numpy as np
from google.protobuf import message

from keras_norms.surgery.loading import caffe_messages, source

# Per type, our words for its blobs. A convolution and its like may have no bias.
_PARTS = {
    "Convolution": ("kernel", "bias"),
    "Deconvolution": ("kernel", "bias"),
    "InnerProduct": ("kernel", "bias"),
    "BatchNorm": ("mean", "variance", "weight"),
    "Scale": ("scale", "bias"),
    "Bias": ("bias",),
}
_WITH_BIAS_TERM = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "InnerProduct": "inner_product_param",
    "Scale": "scale_param",
}


def read(path):
    """Returns the `Source` of a `.caffemodel` file."""
    net = caffe_messages.NetParameter()
    try:
        net.ParseFromString(pathlib.Path(path).read_bytes())
    except message.DecodeError as error:
        raise ValueError(f"{path} is not a `.caffemodel` file, or not all of it ({error}).") from error
    # As in Caffe: where a file has layers in the form of 2014, those of the later form do not count.
    layers = list(net.layers or net.layer)
    found = [_module(layer, _scale_behind(position, layers)) for position, layer in enumerate(layers) if layer.blobs]
    if not found:
        raise ValueError(f"{path} has no layers with weights: it is not a `.caffemodel` file, or it is empty.")
    return source.Source(source.by_name(found), channels_first=True)


def _module(layer, scale_module):
    kind = _type(layer)
    names = _PARTS.get(kind, tuple(f"blob {number}" for number in range(len(layer.blobs))))
    if kind in _WITH_BIAS_TERM and not getattr(layer, _WITH_BIAS_TERM[kind]).bias_term:
        names = names[:1]
    if len(layer.blobs) != len(names):
        raise ValueError(
            f"The {kind} layer {layer.name!r} must have {len(names)} blobs ({', '.join(names)}); a fork of Caffe may "
            f"have others. Received: {len(layer.blobs)} blobs of shapes {[_shape(blob) for blob in layer.blobs]}."
        )
    parts = {
        name: source.Part(f"blob {number} of {layer.name}", _array(blob, layer, number, name))
        for number, (name, blob) in enumerate(zip(names, layer.blobs, strict=True))
    }
    if kind != "BatchNorm":
        return source.Module(layer.name, parts)
    settings = layer.batch_norm_param
    epsilon, momentum = _decimal(settings.eps), _decimal(settings.moving_average_fraction)
    return source.Module(layer.name, parts, epsilon, momentum, scale_module)


def _type(layer):
    return layer.type if isinstance(layer.type, str) else caffe_messages.V1_TYPES.get(layer.type, f"type {layer.type}")


def _shape(blob):
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    return blob.num, blob.channels, blob.height, blob.width


def _array(blob, layer, number, name):
    values = np.array(blob.double_data or blob.data, "float64")
    shape = _shape(blob)
    if math.prod(shape) != values.size:
        raise ValueError(
            f"Blob {number} of the layer {layer.name!r} must have as many numbers as its shape {shape} says. "
            f"Received: {values.size} numbers."
        )
    array = values.reshape(shape)
    if not blob.HasField("shape"):
        # Of the time when all blobs had four axes: axes of 1 in front of the real ones.
        array = _without_ones(array, _rank(_type(layer), name))
    if name == "kernel" and _type(layer) == "InnerProduct" and layer.inner_product_param.transpose:
        array = array.T
    return array


def _rank(kind, name):
    if name == "kernel":
        return 2 if kind == "InnerProduct" else 4
    return 1 if kind in _PARTS else 4


def _without_ones(array, rank):
    ones = array.ndim - rank
    return array.reshape(array.shape[ones:]) if set(array.shape[:ones]) <= {1} else array


def _scale_behind(position, layers):
    layer = layers[position]
    if _type(layer) != "BatchNorm" or len(layer.top) != 1:
        return None
    (top,) = layer.top
    readers = []
    for later in layers[position + 1 :]:
        if top in later.bottom:
            readers.append(later)
        if top in later.top:  # what reads it from here on reads something else
            break
    alone = len(readers) == 1 and _type(readers[0]) == "Scale" and len(readers[0].bottom) == 1
    return readers[0].name if alone else None


def _decimal(number):
    # The shortest decimal of a float32: 0.999, not 0.9990000128746033.
    return float(str(np.float32(number)))
