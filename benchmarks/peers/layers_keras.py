"""The normalizations of keras_norms and of stock Keras, on any backend."""

import keras

import keras_norms
from benchmarks.peers import networks_keras

# Layers in a chain have a ReLU between them; these bring their own.
ACTIVE = {"batch_norm_before", "batch_norm_after", "normprop", "trelu"}


def convolution(channels, **kwargs):
    return keras.layers.Conv2D(channels, 3, padding="same", **kwargs)


def batch_normalization():
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


# Of channels. Where stock Keras has no such layer, what a network has there without it.
OURS = {
    "batch_norm": lambda channels: [keras_norms.BatchNorm()],
    "batch_norm_before": lambda channels: [keras_norms.BatchNormBefore("relu")],
    "batch_norm_after": lambda channels: [keras_norms.BatchNormAfter("relu")],
    "weight_norm": lambda channels: [keras_norms.WeightNormalization(convolution(channels))],
    "normprop": lambda channels: [keras_norms.NormProp(convolution(channels))],
    "trelu": lambda channels: [keras_norms.TReLU()],
    "mean_only_batch_norm": lambda channels: [keras_norms.MeanOnlyBatchNorm()],
    "group_norm": lambda channels: [keras_norms.GroupNorm(groups=8)],
    "layer_norm": lambda channels: [keras_norms.LayerNorm()],
    "local_response_norm": lambda channels: [keras_norms.LocalResponseNorm()],
}
STOCK = {
    "batch_norm": lambda channels: [batch_normalization()],
    "batch_norm_before": lambda channels: [batch_normalization(), keras.layers.ReLU()],
    "batch_norm_after": lambda channels: [keras.layers.ReLU(), batch_normalization()],
    "weight_norm": lambda channels: [convolution(channels)],
    "normprop": lambda channels: [convolution(channels, activation="relu")],
    "trelu": lambda channels: [keras.layers.ReLU()],
    "mean_only_batch_norm": lambda channels: [batch_normalization()],
    "group_norm": lambda channels: [keras.layers.GroupNormalization(groups=8, epsilon=1e-5)],
    "layer_norm": lambda channels: [keras.layers.LayerNormalization(epsilon=1e-5)],
    "local_response_norm": lambda channels: [networks_keras.local_response_norm(keras_norms.LocalResponseNorm())],
}


def model(library, normalization, shape, dtype, count):
    """Returns a model of some equal layers.

    Args:
        library: `"keras_norms"` or `"keras"`.
        normalization: A key of the tables above.
        shape: Of the input, and of each output: `(batch, height, width, channels)`.
        dtype: `"float32"`, or `"bfloat16"` with weights in float32.
        count: How many layers.
    """
    keras.config.set_dtype_policy(dtype if dtype == "float32" else f"mixed_{dtype}")
    make = {"keras_norms": OURS, "keras": STOCK}[library][normalization]
    made = [keras.Input(shape[1:], batch_size=shape[0], dtype=dtype)]
    for number in range(count):
        if number and normalization not in ACTIVE:
            made.append(keras.layers.ReLU())
        made += make(shape[-1])
    return keras.Sequential(made)
