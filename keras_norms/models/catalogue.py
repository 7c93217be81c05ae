"""The networks by name, with what their authors chose, and the one place where a name becomes a model."""

import dataclasses
import difflib
import functools
import numbers
from collections.abc import Callable, Mapping

import keras

from keras_norms.models import activations, alexnet, caffenet, googlenet, googlenet_bn, resnet50, resnet_cifar
from keras_norms.models import blocks as network_blocks


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A published network.

    Attributes:
        network: Function `(blocks, images, classes, dropout, **options)`. Returns the logits, or a dict of them.
        blocks: `Blocks` without normalization, with the initializer, the momentum and the activation published.
        input_shape: Tuple `(height, width, channels)`.
        classes: Integer.
        minimum_size: Integer, the smallest height and width the network can take.
        dropout: Dict from the places where the network can drop units to the rates published.
        loss_weights: Dict from outputs to the weights of their losses; None for a network with one output.
        options: Dict from the network's own options to the tuples of the values they can have, the published one first.
    """

    network: Callable
    blocks: network_blocks.Blocks
    input_shape: tuple[int, int, int]
    classes: int
    minimum_size: int
    dropout: Mapping[str, float]
    loss_weights: Mapping[str, float] | None = None
    options: Mapping[str, tuple] = dataclasses.field(default_factory=dict)


# He et al. draw from N(0, 2 / fan_in). The momentum is that of gcr/torch-residual-networks: Torch calls it 0.1.
_RESIDUAL = network_blocks.Blocks(
    keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal"), momentum=0.9, keeps_bias=False
)


def _cifar(units):
    return Architecture(
        network=functools.partial(resnet_cifar.resnet_cifar, units=units),
        blocks=_RESIDUAL,
        input_shape=(32, 32, 3),
        classes=10,
        minimum_size=1,
        dropout={"classifier": 0.0},
        options={
            "normalized_sum": (False, True),
            "activated_sum": (True, False),
            "shortcut": ("identity", "projection"),
        },
    )


# Caffe's "xavier".
_XAVIER = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")

_CAFFENET = Architecture(
    network=caffenet.caffenet,
    blocks=network_blocks.Blocks(keras.initializers.RandomNormal(stddev=0.01), momentum=0.95, keeps_bias=True),
    input_shape=(128, 128, 3),
    classes=1000,
    minimum_size=39,
    dropout={"fc6": 0.5, "fc7": 0.5},
)


ARCHITECTURES = {
    "caffenet128": _CAFFENET,
    "caffenet128_maxout": dataclasses.replace(
        _CAFFENET, network=caffenet.caffenet_maxout, blocks=dataclasses.replace(_CAFFENET.blocks, activation=None)
    ),
    "googlenet128": Architecture(
        network=googlenet.googlenet,
        blocks=network_blocks.Blocks(_XAVIER, momentum=0.95, keeps_bias=True),
        input_shape=(128, 128, 3),
        classes=1000,
        minimum_size=79,
        dropout={"main": 0.4, "aux": 0.7},
        loss_weights={"main": 1.0, "aux1": 0.3, "aux2": 0.3},
    ),
    "googlenet128_bn": Architecture(
        network=googlenet_bn.googlenet_bn,
        blocks=network_blocks.Blocks(_XAVIER, momentum=0.999, keeps_bias=False),
        input_shape=(128, 128, 3),
        classes=1000,
        minimum_size=7,
        dropout={"main": 0.0, "aux": 0.0},
        loss_weights={"main": 1.0, "aux1": 0.3, "aux2": 0.3},
    ),
    "resnet20": _cifar(units=3),
    "resnet32": _cifar(units=5),
    "resnet44": _cifar(units=7),
    "resnet56": _cifar(units=9),
    "resnet110": _cifar(units=18),
    "resnet50": Architecture(
        network=resnet50.resnet50,
        blocks=_RESIDUAL,
        input_shape=(224, 224, 3),
        classes=1000,
        minimum_size=3,
        dropout={"classifier": 0.0},
        options={"version": ("v1", "v1.5")},
    ),
    "alexnet": Architecture(
        network=alexnet.alexnet,
        # MXNet's Xavier with its defaults. The momentum is that of its Gluon.
        blocks=network_blocks.Blocks(keras.initializers.GlorotUniform(), momentum=0.9, keeps_bias=True),
        input_shape=(224, 224, 1),
        classes=10,
        minimum_size=67,
        dropout={"fc1": 0.2, "fc2": 0.5},
        options={"fc2": (4096, 2048)},
    ),
}


def build(
    name,
    input_shape=None,
    classes=None,
    normalization="none",
    use_scale=True,
    use_bias=True,
    activation=None,
    dropout=None,
    keeps_bias=None,
    options=None,
    synchronized=False,
):
    """Builds a model that returns logits.

    Args:
        name: String, a key of `ARCHITECTURES`.
        input_shape: Tuple `(height, width, channels)`; None for the published one.
        classes: Integer, at least 2; None for the published number.
        normalization: String, a key of `NORMALIZATIONS`. With `"weight_norm"` and
            `"weight_norm_mean_only_batch_norm"` give residual networks a start of their own: `resnet110` begins with
            logits of 1e8 (images of 16 x 16), and below 1 after
            `initializers.residual_weight_norm(model, {".*conv2": 1 / 18})`.
        use_scale, use_bias: Booleans, whether the normalization, where there is one, has a learned scale and bias.
            `"weight_norm_trelu"` has neither: thresholds take their place.
        activation: Name of a Keras activation or of one of ours, a key of `ACTIVATIONS`; callable or Keras layer; None
            for the published one. Every place gets a new layer of its kind.
        dropout: Float in [0, 1), in place of every rate of the network, 0 for no dropout; None for the published rates.
        keeps_bias: Boolean, whether a linear layer has a bias also where the normalization cancels it; None for what
            was published.
        options: Mapping from options of the network, the keys of `Architecture.options`, to their values. Those not
            named have the published value.
        synchronized: Boolean, whether the normalization's batch statistics are those of all replicas together.

    Returns:
        Functional `keras.Model`, images of shape `(batch, height, width, channels)` to logits of shape
        `(batch, classes)`, or to a dict of them for a network with `loss_weights`.

    Example:
    >>> model = keras_norms.models.build("resnet20", normalization="batch_norm_before")
    >>> model.output_shape
    (None, 10)
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"`name` must be one of {list(ARCHITECTURES)}. Received: name={name!r}.")
    architecture = ARCHITECTURES[name]
    input_shape = architecture.input_shape if input_shape is None else input_shape
    classes = architecture.classes if classes is None else classes
    _check_input_shape(input_shape, name)
    _check_classes(classes)
    _check_dropout(dropout)
    options = _checked_options({} if options is None else options, name)
    published = architecture.blocks
    blocks = dataclasses.replace(
        published,
        keeps_bias=published.keeps_bias if keeps_bias is None else keeps_bias,
        normalization=normalization,
        use_scale=use_scale,
        use_bias=use_bias,
        activation=published.activation if activation is None else activations.checked(activation),
        synchronized=synchronized,
    )
    rates = architecture.dropout if dropout is None else dict.fromkeys(architecture.dropout, dropout)
    images = keras.Input(input_shape, name="images")
    return keras.Model(images, architecture.network(blocks, images, classes, rates, **options), name=name)


def _checked_options(options, name):
    """Returns the options of the network called `name`, the published value where none is given."""
    allowed = ARCHITECTURES[name].options
    if not isinstance(options, Mapping):
        raise ValueError(f"`options` must be a mapping from names to values. Received: options={options!r}.")
    for option, value in options.items():
        if option not in allowed:
            raise ValueError(f"{_unknown_option(option, name)} Received: options={options!r}.")
        # By type too: `True == 1`.
        if (type(value), value) not in [(type(one), one) for one in allowed[option]]:
            raise ValueError(
                f"The option `{option}` of {name} must be one of {allowed[option]}. Received: options={options!r}."
            )
    return {option: options.get(option, values[0]) for option, values in allowed.items()}


def _unknown_option(option, name):
    names = list(ARCHITECTURES[name].options)
    if not names:
        return f"{name} has no options."
    nearest = difflib.get_close_matches(str(option), names, n=1, cutoff=0)[0]
    return f"{name} has no option `{option}`; the nearest of {names} is `{nearest}`."


def _check_input_shape(input_shape, name):
    sizes = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    if len(sizes) != 3 or not all(isinstance(size, numbers.Integral) and size > 0 for size in sizes):
        raise ValueError(
            "`input_shape` must be (height, width, channels), three integers above 0. "
            f"Received: input_shape={input_shape!r}."
        )
    minimum = ARCHITECTURES[name].minimum_size
    if min(sizes[:2]) < minimum:
        raise ValueError(
            f"`input_shape` must have a height and width of at least {minimum} for {name}. "
            f"Received: input_shape={input_shape!r}."
        )


def _check_classes(classes):
    if not isinstance(classes, numbers.Integral) or classes < 2:
        raise ValueError(f"`classes` must be an integer, at least 2. Received: classes={classes!r}.")


def _check_dropout(dropout):
    if dropout is not None and not (isinstance(dropout, numbers.Real) and 0 <= dropout < 1):
        raise ValueError(
            f"`dropout` must be a rate in [0, 1), or None for the published rates. Received: dropout={dropout!r}."
        )
