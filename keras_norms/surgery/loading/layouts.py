"""Kernels of dense layers and convolutions: the order of their axes in PyTorch and Caffe, and in Keras.

| layer | PyTorch, Caffe | Keras |
| --- | --- | --- |
| dense | (out, in) | (in, out) |
| convolution, grouped too | (out, in / groups, ...) | (..., in / groups, out) |
| transposed convolution | (in, out, ...) | (..., out, in) |
| depthwise convolution | (in * multiplier, 1, ...) | (..., in, multiplier) |
"""

import keras
import numpy as np

_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
LINEAR = (
    *_DEPTHWISE,
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def is_linear(layer):
    """Returns whether a layer's kernel is known here. `SeparableConv1D` and `2D`, which are convolutions, have two."""
    return isinstance(layer, LINEAR) and hasattr(layer, "kernel")


def from_channels_first(layer, array, order=None):
    """Returns a kernel, or the lengths of its vectors with axes of 1 where it is reduced, in the order of Keras.

    Args:
        layer: Built linear layer of Keras.
        array: Array with the axes of PyTorch; of another rank it comes back as it is.
        order: Array of integers, for each input of a dense layer its place in the source; or None.
    """
    if array.ndim != len(layer.kernel.shape):
        return array
    if isinstance(layer, _DEPTHWISE):
        multiplier = layer.kernel.shape[-1]
        if array.shape[0] % multiplier or array.shape[1] != 1:
            return array
        array = array.reshape(-1, multiplier, *array.shape[2:])
        return np.moveaxis(array, (0, 1), (-2, -1))
    array = array.transpose(*range(2, array.ndim), 1, 0)
    if order is not None and array.shape[0] == len(order):
        array = array[order]
    return array
