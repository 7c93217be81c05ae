"""Max pooling as Caffe does it: with the last window kept when it hangs over the edge."""

import keras


def max_pool(x, name):
    """Pools 3 x 3 windows with stride 2, rounding the number of windows up.

    Caffe clips the last window at the edge. On an even side that is Keras' padding "same", on an odd side "valid",
    where every window fits; the opposite choice gives another size. Where the two sides differ in this, they are
    pooled one after the other, which gives the same maximum.

    Args:
        x: Keras tensor of shape `(batch, height, width, channels)`, height and width at least 2.
        name: String, the layer's name.

    Returns:
        Keras tensor of shape `(batch, height // 2, width // 2, channels)`.
    """
    height, width = x.shape[1:3]
    if height % 2 == width % 2:
        return _pool(x, (3, 3), (2, 2), height, name)
    x = _pool(x, (3, 1), (2, 1), height, f"{name}_height")
    return _pool(x, (1, 3), (1, 2), width, f"{name}_width")


def _pool(x, window, strides, side, name):
    padding = "valid" if side % 2 else "same"
    return keras.layers.MaxPooling2D(window, strides, padding, data_format="channels_last", name=name)(x)
