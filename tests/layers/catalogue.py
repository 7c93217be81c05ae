"""How to make each public layer, and the shape of an input: every entry goes through test_contract.py."""

import dataclasses
from collections.abc import Callable

import keras

from keras_norms import layers

# Only TensorFlow has the collective that synchronization needs.
TENSORFLOW = keras.backend.backend() == "tensorflow"
IMAGES, CHANNELS_FIRST, ROWS = (4, 5, 6, 3), (4, 3, 5, 6), (8, 3)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A layer, its input, and where it differs from what most layers promise.

    Attributes:
        layer: The public class.
        make: Function without arguments that returns a new layer.
        input_shape: Shape of an input, the batch first; a list of shapes for a layer that takes a list of tensors.
        output_shape: Shape of the output, where it is not that of the (first) input.
        vocabulary: For layers that look up integers: how many there are. 0 for layers that compute with numbers.
        takes_integers: Whether integers are computed with as numbers.
        takes_no_rows: Whether a batch without rows gives an output without rows.
        random: Whether outputs in training are random.
        frozen_is_inference: Whether `trainable=False` makes training compute what inference does.
        has_channels_first: Whether an integer `axis` is that of the channels, and a 1 there is all that it takes.
    """

    layer: type
    make: Callable
    input_shape: tuple | list
    output_shape: tuple | None = None
    vocabulary: int = 0
    takes_integers: bool = True
    takes_no_rows: bool = True
    random: bool = False
    frozen_is_inference: bool = True
    has_channels_first: bool = True

    @property
    def name(self):
        shapes = self.input_shape if isinstance(self.input_shape, list) else [self.input_shape]
        return "-".join([self.layer.__name__, *("x".join(map(str, shape)) for shape in shapes)])


def _entries():
    """Yields tuples of layer, make, input shape and, where something differs, a dict of the other attributes."""
    for use_scale in (False, True):
        for use_bias in (False, True):
            yield (
                layers.BatchNorm,
                lambda s=use_scale, b=use_bias: layers.BatchNorm(use_scale=s, use_bias=b, epsilon=1e-3),
                IMAGES,
            )
    yield layers.BatchNorm, lambda: layers.BatchNorm(axis=1, momentum=0.5), CHANNELS_FIRST
    yield layers.BatchNorm, lambda: layers.BatchNorm(use_global_stats=True), ROWS
    yield (
        layers.BatchNorm,
        lambda: layers.BatchNorm(use_global_stats=False),
        (4, 5, 3),
        {"frozen_is_inference": False},
    )
    yield layers.BatchNorm, lambda: layers.BatchNorm(synchronized=TENSORFLOW), (2, 3, 4, 5, 3)
    yield (
        layers.BatchNorm,
        lambda: layers.BatchNorm(
            scale_initializer=keras.initializers.RandomUniform(seed=1),
            bias_initializer="ones",
            scale_regularizer=keras.regularizers.L2(0.1),
            bias_constraint=keras.constraints.NonNeg(),
        ),
        ROWS,
    )
    for placed in (layers.BatchNormBefore, layers.BatchNormAfter):
        yield placed, lambda p=placed: p("relu"), IMAGES
        yield placed, lambda p=placed: p(None, axis=1), CHANNELS_FIRST
        # The axes of the PReLU are its own.
        yield (
            placed,
            lambda p=placed: p(keras.layers.PReLU("ones", shared_axes=[1, 2]), use_scale=False),
            IMAGES,
            {"has_channels_first": False},
        )
    for elementwise in (layers.Scale, layers.Bias):
        yield elementwise, elementwise, IMAGES
        yield elementwise, lambda e=elementwise: e(axis=1, initializer="random_normal"), CHANNELS_FIRST
        yield elementwise, lambda e=elementwise: e(axis=None, regularizer="l2"), ROWS
        yield elementwise, lambda e=elementwise: e(axis=(3, 1)), IMAGES
    yield layers.LocalResponseNorm, lambda: layers.LocalResponseNorm(alpha=0.1, beta=0.5, k=2.0), IMAGES
    yield layers.LocalResponseNorm, lambda: layers.LocalResponseNorm(size=3, alpha=0.1, axis=1), CHANNELS_FIRST
    # A convolution of Keras takes no integers. Without rows, TensorFlow 2.21 with oneDNN returns as many channels as
    # came in.
    yield (
        layers.GroupedConv2D,
        lambda: layers.GroupedConv2D(6, 3, padding="same", groups=3),
        IMAGES,
        {"output_shape": (4, 5, 6, 6), "takes_integers": False, "takes_no_rows": False},
    )
    for learned in (layers.TReLU, layers.TPReLU, layers.PReLU):
        yield learned, learned, IMAGES
        yield learned, lambda a=learned: a(axis=1), CHANNELS_FIRST
    yield (
        layers.TReLU,
        lambda: layers.TReLU(
            threshold_initializer=keras.initializers.RandomUniform(seed=1),
            threshold_regularizer=keras.regularizers.L2(0.1),
            threshold_constraint=keras.constraints.NonNeg(),
        ),
        (4, 5, 3),
    )
    yield (
        layers.TPReLU,
        lambda: layers.TPReLU(
            threshold_initializer="ones",
            slope_initializer="zeros",
            threshold_regularizer="l1",
            slope_regularizer="l2",
            threshold_constraint="NonNeg",
            slope_constraint="NonNeg",
        ),
        (2, 3, 4, 5, 3),
    )
    yield (
        layers.PReLU,
        lambda: layers.PReLU(axis=None, slope_initializer="ones", slope_regularizer="l2", slope_constraint="NonNeg"),
        IMAGES,
    )
    random = {"random": True, "frozen_is_inference": False}
    for randomized in (layers.RReLU, layers.DivisorRReLU):
        yield randomized, randomized, IMAGES, random
        # Without an axis: any rank.
        yield randomized, lambda a=randomized: a(0.5, 1.0, inference_slope=0.3, seed=4, name="named"), ROWS, random
    yield layers.DivisorRReLU, lambda: layers.DivisorRReLU.with_mean_slope(10, 30), IMAGES, random
    yield layers.VLReLU, layers.VLReLU, IMAGES
    yield layers.VLReLU, lambda: layers.VLReLU(negative_slope=0.3), ROWS
    yield layers.Maxout, lambda: layers.Maxout(pieces=3), IMAGES, {"output_shape": (4, 5, 6, 1)}
    yield layers.Maxout, lambda: layers.Maxout(pieces=2), (8, 6), {"output_shape": (8, 3)}
    yield layers.Maxout, lambda: layers.Maxout(pieces=2, axis=1), (4, 6, 5, 3), {"output_shape": (4, 3, 5, 3)}
    yield from _weight_normalizations()
    yield from _family_of_batch_norm()
    yield from _normalizations_of_examples()
    yield from _weight_standardizations()
    yield from _normalization_propagation()


def _weight_normalizations():
    wrapped, L = layers.WeightNormalization, keras.layers
    no_odd_input = {"takes_integers": False, "takes_no_rows": False}
    yield wrapped, lambda: wrapped(L.Dense(4)), (8, 3), {"output_shape": (8, 4)}
    yield wrapped, lambda: wrapped(L.Dense(4, use_bias=False), use_scale=False), (2, 3, 5), {"output_shape": (2, 3, 4)}
    yield (
        wrapped,
        lambda: wrapped(
            L.Dense(4), axis=[], scale_initializer="ones", scale_regularizer="l2", scale_constraint="NonNeg"
        ),
        (8, 3),
        {"output_shape": (8, 4)},
    )
    yield wrapped, lambda: wrapped(L.Conv2D(4, 3)), (4, 5, 6, 3), {"output_shape": (4, 3, 4, 4), **no_odd_input}
    yield (
        wrapped,
        lambda: wrapped(L.Conv2DTranspose(4, 2, strides=2)),
        (2, 3, 4, 3),
        {"output_shape": (2, 6, 8, 4), **no_odd_input},
    )
    yield (
        wrapped,
        lambda: wrapped(L.SeparableConv2D(4, 3, padding="same"), weight=["depthwise_kernel", "pointwise_kernel"]),
        (2, 5, 6, 3),
        {"output_shape": (2, 5, 6, 4), **no_odd_input},
    )
    yield (
        wrapped,
        lambda: wrapped(wrapped(L.SeparableConv2D(4, 3), weight="depthwise_kernel"), weight="pointwise_kernel"),
        (2, 5, 6, 3),
        {"output_shape": (2, 3, 4, 4), **no_odd_input},
    )
    yield (
        wrapped,
        lambda: wrapped(L.Embedding(6, 3), weight="embeddings"),
        (4, 5),
        {"output_shape": (4, 5, 3), "vocabulary": 6},
    )
    yield (
        wrapped,
        # Without rows TensorFlow's LSTM fails; its orthogonal initializer does in bfloat16.
        lambda: wrapped(L.LSTM(2, recurrent_initializer="normal"), weight=["cell.kernel", "cell.recurrent_kernel"]),
        (2, 3, 4),
        {"output_shape": (2, 2), **no_odd_input},
    )


def _family_of_batch_norm():
    """Yields entries of the layers with statistics of the batch, but for `BatchNorm` itself."""
    made = {
        layers.MeanOnlyBatchNorm: layers.MeanOnlyBatchNorm,
        layers.GhostBatchNorm: lambda **options: layers.GhostBatchNorm(3, **options),
        layers.BatchRenorm: lambda **options: layers.BatchRenorm(1.5, 0.5, **options),
        layers.EvoNormB0: layers.EvoNormB0,
    }
    for layer, make in made.items():
        yield layer, make, IMAGES
        yield layer, lambda m=make: m(axis=1, momentum=0.5, use_bias=False), CHANNELS_FIRST
        yield (
            layer,
            lambda m=make: m(bias_initializer="ones", bias_regularizer="l2", bias_constraint="NonNeg"),
            (2, 3, 4, 5, 3),
        )
        if layer is not layers.GhostBatchNorm:
            yield layer, lambda m=make: m(synchronized=TENSORFLOW), (4, 5, 3)
        if layer is not layers.EvoNormB0:
            yield layer, make, ROWS
    yield (
        layers.MeanOnlyBatchNorm,
        lambda: layers.MeanOnlyBatchNorm(use_global_stats=False),
        (4, 5, 3),
        {"frozen_is_inference": False},
    )
    yield layers.EvoNormB0, lambda: layers.EvoNormB0(use_global_stats=True, use_scale=False, epsilon=0.1), (4, 5, 3)


def _normalizations_of_examples():
    """Yields entries of the layers that see one example at a time."""
    made = {
        layers.GroupNorm: lambda **options: layers.GroupNorm(3, **options),
        layers.InstanceNorm: layers.InstanceNorm,
        layers.LayerNorm: layers.LayerNorm,
        layers.RMSNorm: layers.RMSNorm,
        layers.FilterResponseNorm: layers.FilterResponseNorm,
        layers.EvoNormS0: lambda **options: layers.EvoNormS0(3, **options),
    }
    for layer, make in made.items():
        yield layer, lambda m=make: m(use_bias=True), (4, 5, 6, 6)
        yield layer, lambda m=make: m(axis=1, epsilon=1e-2, use_scale=False, use_bias=False), CHANNELS_FIRST
        yield (
            layer,
            lambda m=make: m(scale_initializer="uniform", scale_regularizer="l1", scale_constraint="NonNeg"),
            (4, 5, 6),
        )
        if layer not in (layers.InstanceNorm, layers.FilterResponseNorm):
            yield layer, make, (8, 6)
    for layer in (layers.LayerNorm, layers.RMSNorm):
        # Several axes are no channel axis.
        yield layer, lambda m=layer: m(axis=(-1, 1), use_bias=True), IMAGES, {"has_channels_first": False}
    yield layers.FilterResponseNorm, lambda: layers.FilterResponseNorm(use_learned_epsilon=True), (4, 1, 1, 3)
    yield (
        layers.EvoNormS0,
        lambda: layers.EvoNormS0(1, slope_initializer="zeros", slope_regularizer="l2", slope_constraint="NonNeg"),
        ROWS,
    )


def _normalization_propagation():
    prop, L = layers.NormProp, keras.layers
    # Without bias where a unit could otherwise stay on one side of zero, and learn nothing there.
    yield prop, lambda: prop(L.Dense(4)), (8, 3), {"output_shape": (8, 4)}
    yield (
        prop,
        lambda: prop(L.Dense(4, use_bias=False), None, use_scale=False, assumed_scale=2.0),
        (2, 3, 5),
        {"output_shape": (2, 3, 4)},
    )
    yield (
        prop,
        lambda: prop(
            L.Dense(6, use_bias=False),
            layers.PReLU(),
            axis=[],
            initial_scale=0.5,
            scale_regularizer="l2",
            scale_constraint="NonNeg",
        ),
        (32, 3),
        {"output_shape": (32, 6)},
    )
    yield (
        prop,
        lambda: prop(L.Dense(6, use_bias=False), layers.Maxout(pieces=2)),
        (32, 3),
        {"output_shape": (32, 3)},
    )
    yield prop, lambda: prop(L.Dense(6), "glu"), (8, 3), {"output_shape": (8, 3)}
    yield prop, lambda: prop(L.Dense(6), layers.RReLU(seed=1)), (8, 3), {"output_shape": (8, 6), "random": True}
    # TensorFlow computes no gradient of a convolution of nothing.
    no_rows = {"takes_no_rows": False}
    yield prop, lambda: prop(L.Conv2D(4, 3), "gelu"), (4, 5, 6, 3), {"output_shape": (4, 3, 4, 4), **no_rows}
    yield (
        prop,
        lambda: prop(L.Conv2DTranspose(4, 3, strides=2), "tanh", assumed_scale=1.0),
        (2, 3, 4, 3),
        {"output_shape": (2, 7, 9, 4), **no_rows},
    )
    yield (
        prop,
        lambda: prop(L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False), layers.PReLU()),
        (2, 9, 10, 3),
        {"output_shape": (2, 7, 8, 6), **no_rows},
    )
    for count in (2, 3):
        yield layers.NormPropAdd, layers.NormPropAdd, [IMAGES] * count
    yield layers.NormPropAdd, lambda: layers.NormPropAdd(correlation=0.3), [ROWS] * 2


def _weight_standardizations():
    L, no_odd_input = keras.layers, {"takes_integers": False, "takes_no_rows": False}
    plain, scaled = layers.WeightStandardization, layers.ScaledWeightStandardization
    for wrapped in (plain, scaled):
        yield wrapped, lambda w=wrapped: w(L.Dense(4)), (8, 3), {"output_shape": (8, 4)}
        yield wrapped, lambda w=wrapped: w(L.Conv2D(4, 3)), (4, 5, 6, 3), {"output_shape": (4, 3, 4, 4), **no_odd_input}
    yield (
        plain,
        lambda: plain(L.SeparableConv2D(4, 3), weight=["depthwise_kernel", "pointwise_kernel"], epsilon=1e-3),
        (2, 5, 6, 3),
        {"output_shape": (2, 3, 4, 4), **no_odd_input},
    )
    yield (
        scaled,
        lambda: scaled(L.Conv2DTranspose(4, 2, strides=2), use_scale=False),
        (2, 3, 4, 3),
        {"output_shape": (2, 6, 8, 4), **no_odd_input},
    )
    yield (
        scaled,
        lambda: scaled(
            L.Dense(4), axis=[], scale_initializer="ones", scale_regularizer="l2", scale_constraint="NonNeg"
        ),
        (8, 3),
        {"output_shape": (8, 4)},
    )


ENTRIES = [Entry(*entry[:3], **dict(*entry[3:])) for entry in _entries()]
