"""The networks of benchmarks/step.py in Keras: with our layers, and the same with those of stock Keras alone."""

import keras

from keras_norms import layers, models


def ours(arch, normalization, size, classes):
    """Returns the network as `keras_norms` builds it, for images of `size` x `size` x 3."""
    return models.build(arch, input_shape=(size, size, 3), classes=classes, normalization=normalization)


def stock(arch, normalization, size, classes):
    """Returns the same network of the layers a user of Keras alone has.

    Raises:
        ValueError: Keras has no layer in place of one of ours.
    """
    return keras.models.clone_model(ours(arch, normalization, size, classes), clone_function=_stock)


def _stock(layer):
    if isinstance(layer, layers.BatchNormBefore):
        return keras.Sequential([_batch_norm(layer), keras.layers.ReLU()], name=layer.name)
    if isinstance(layer, layers.BatchNormAfter):
        return keras.Sequential([keras.layers.ReLU(), _batch_norm(layer)], name=layer.name)
    if isinstance(layer, layers.BatchNorm):
        return _batch_norm(layer)
    if isinstance(layer, layers.GroupedConv2D):
        return keras.layers.Conv2D.from_config(layer.get_config())
    if isinstance(layer, layers.LocalResponseNorm):
        return local_response_norm(layer)
    if not type(layer).__module__.startswith("keras.src."):
        raise ValueError(f"Stock Keras has nothing in place of {type(layer).__name__} {layer.name!r}.")
    return layer.__class__.from_config(layer.get_config())


def _batch_norm(layer):
    return keras.layers.BatchNormalization(
        momentum=layer.momentum, epsilon=layer.epsilon, center=layer.use_bias, scale=layer.use_scale
    )


def local_response_norm(layer):
    """Returns what a user of Keras has in place of our layer."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError("Keras has no local response normalization but TensorFlow's.")
    import tensorflow as tf

    arguments = {"depth_radius": layer.size // 2, "bias": layer.k, "alpha": layer.alpha / layer.size}
    return keras.layers.Lambda(
        lambda x: tf.nn.local_response_normalization(x, beta=layer.beta, **arguments), name=layer.name
    )
