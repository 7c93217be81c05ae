"""What the initializers know of linear layers: dense ones and convolutions, wrapped or not."""

import collections.abc
import contextlib

import keras
import numpy as np
from keras import ops

from keras_norms.initializers import orthonormal
from keras_norms.layers import kept_axes, lending, reparameterization, weight_normalization

_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_LINEAR = (
    *_SEPARABLE,
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
# Wrappers that compute the weights of their layer.
_REPARAMETERIZED = (reparameterization.Reparameterization, keras.layers.SpectralNormalization)
_WRAPPERS = (*_REPARAMETERIZED, keras.layers.TimeDistributed)


def everywhere(model):
    """Returns the layers of a model, nested ones too, without those that a wrapper speaks for."""
    layers = {id(layer): layer for layer in nested(model)}
    for wrapper in [layer for layer in layers.values() if isinstance(layer, _WRAPPERS)]:
        # The layers of a network in TimeDistributed are on their own.
        if isinstance(wrapper, _REPARAMETERIZED) or is_linear(wrapper):
            for inner in nested(wrapper.layer):
                layers.pop(id(inner), None)
    return list(layers.values())


def nested(layer):
    """Returns a layer or model and all layers inside it, at any depth."""
    # Private: `Model.layers` lists the first level alone, and Keras 3.15 has nothing public for all of them.
    return layer._flatten_layers()


def chain(layer):
    """Returns the layer and what it wraps, from the outermost to the innermost."""
    layers = [layer]
    while isinstance(layers[-1], _WRAPPERS):
        layers.append(layers[-1].layer)
    return layers


def base(layer):
    """Returns the innermost of wrapped layers."""
    return chain(layer)[-1]


def is_linear(layer):
    """Returns whether a layer, or what it wraps, is a dense layer or a convolution."""
    return isinstance(base(layer), _LINEAR)


def normalized(layer):
    """Returns whether a layer, or what it wraps, is a `WeightNormalization`."""
    return any(map(_is_weight_normalization, chain(layer)))


def path(layer):
    """Returns the path of the innermost of wrapped layers, which has the names of the wrappers in it."""
    innermost = base(layer)
    return innermost.path or innermost.name


def kernels(linear):
    """Returns the names of the kernels of a linear layer, the one behind its outputs last."""
    return ["depthwise_kernel", "pointwise_kernel"] if isinstance(linear, _SEPARABLE) else ["kernel"]


def kernel(layer):
    """Returns the kernel behind the outputs of a linear layer."""
    innermost = base(layer)
    return getattr(innermost, kernels(innermost)[-1])


def bias(layer):
    """Returns the bias of a linear layer, or None."""
    return getattr(base(layer), "bias", None)


def normalization(layer, variable):
    """Returns the `WeightNormalization` around a layer that normalizes a variable, and its name there; or two Nones.

    Of several it is the innermost, which normalizes last: it cancels the scales of those around it.
    """
    for wrapper in reversed(chain(layer)):
        if _is_weight_normalization(wrapper):
            for name in wrapper.names:
                if wrapper.variable(name) is variable:
                    return wrapper, name
    return None, None


def scale(layer):
    """Returns the learned scale of the kernel behind a layer's outputs, or None."""
    wrapper, name = normalization(layer, kernel(layer))
    return None if wrapper is None else wrapper.scales.get(name)


def scale_obstacle(layer):
    """Returns why the scale of a layer with weight normalization cannot be set unit by unit, or None."""
    if not is_linear(layer):
        return f"{type(base(layer)).__name__} is neither dense nor a convolution"
    reason = obstacle(layer)
    if reason is not None:
        return reason
    wrapper, name = normalization(layer, kernel(layer))
    if wrapper is None:
        return "the kernel behind its outputs is not normalized"
    if wrapper.kept(name) != kept(layer):
        return f"`axis={wrapper.axis}` is not that of its units"
    return None


def by_name(argument, value, layers, default, check):
    """Returns a dict from the ids of layers to what an argument says about each.

    Args:
        argument: String, the argument's name.
        value: What the argument says about all layers, or a dict from names of layers, or of what they wrap.
        layers: Sequence of layers.
        default: What holds for the layers that a dict does not name.
        check: Function of a value. Returns it as it is used, or raises.
    """
    if not isinstance(value, collections.abc.Mapping):
        return dict.fromkeys(map(id, layers), check(value))
    names = {id(layer): [part.name for part in chain(layer)] for layer in layers}
    unknown = set(value) - {name for parts in names.values() for name in parts}
    if unknown:
        raise ValueError(
            f"`{argument}` must name layers among {[parts[-1] for parts in names.values()]}. "
            f"Received: {argument} of {sorted(unknown)}."
        )
    given = {key: [check(value[name]) for name in parts if name in value] for key, parts in names.items()}
    return {key: (found or [check(default)])[0] for key, found in given.items()}


def obstacle(layer):
    """Returns why the length of a linear layer's kernel cannot be set, or None."""
    for wrapper in chain(layer):
        if isinstance(wrapper, _REPARAMETERIZED) and not _is_weight_normalization(wrapper):
            return f"{type(wrapper).__name__} decides on its weights"
    if not isinstance(kernel(layer), keras.Variable):
        return "its kernel is computed from other weights"
    if normalization(layer, kernel(layer))[0] is not None and scale(layer) is None:
        return "`use_scale=False`"
    if not all(variable.trainable for variable in (kernel(layer), scale(layer)) if variable is not None):
        return "not trainable"
    return None


def make_orthonormal(linear, name, seed):
    """Gives the weight of a linear layer orthonormal filters. `name` is its attribute."""
    variable = getattr(linear, name)
    axes = kept_axes.output_axes(linear, name, len(variable.shape))
    variable.assign(orthonormal.Orthonormal(seed=seed, axis=axes)(variable.shape, variable.dtype))


def kept(layer):
    """Returns the axes of a linear layer's kernel that number its units."""
    linear = base(layer)
    return kept_axes.output_axes(linear, kernels(linear)[-1], len(kernel(layer).shape))


def units(layer):
    """Returns the axes of a linear layer's outputs that number its units, and the order in which its kernel has them.

    The kernel may split an axis of the outputs, as that of a depthwise convolution does.
    """
    linear = base(layer)
    if not isinstance(linear, keras.layers.EinsumDense):
        # From the end: a wrapper such as TimeDistributed adds axes in front.
        channels_last = getattr(linear, "data_format", "channels_last") == "channels_last"
        return (-1 if channels_last else -1 - linear.rank,), (0,)
    output = linear.equation.split("->")[1].strip()
    letters = sorted(_unit_letters(linear), key=output.index)
    return tuple(_position(letter, output) for letter in letters), tuple(map(letters.index, _unit_letters(linear)))


def has_bias_of_units(layer):
    """Returns whether a linear layer has a bias with one number for each unit."""
    linear = base(layer)
    if isinstance(linear, keras.layers.EinsumDense):
        return bias(layer) is not None and set(linear.bias_axes) == set(_unit_letters(linear))
    return bias(layer) is not None


def measured(layer, args, kwargs, activation=None, with_bias=True):
    """Returns what a linear layer computes, in float64.

    Args:
        layer: Linear layer, wrapped or not.
        args, kwargs: The arguments of its `call`.
        activation: Function in place of the activation that is part of the layer, or None.
        with_bias: Boolean; False for the output with a bias of 0.

    Raises:
        ValueError: The outputs are not finite.
    """
    lent = [] if with_bias or bias(layer) is None else [(bias(layer), ops.zeros(bias(layer).shape, bias(layer).dtype))]
    with _activation(base(layer), activation):
        outputs, _ = lending.call_with(layer, lent, *args, **kwargs)
    outputs = np.array(ops.convert_to_numpy(outputs), "float64")
    if not np.isfinite(outputs).all():
        raise ValueError(
            f"The outputs of the layer {path(layer)!r} must be finite. Received: outputs with NaN or infinite numbers. "
            "Look at the batch, and at the weights up to this layer."
        )
    return outputs


def rounding(layer):
    """Returns the relative size below which differences in a layer's outputs are those of rounding."""
    dtype = base(layer).compute_dtype
    # 4 units of the last place: sums of the same numbers differ by some with their order.
    return 4 * {"float64": 2**-52, "float16": 2**-10, "bfloat16": 2**-7}.get(dtype, 2**-23)


def read(variable):
    """Returns a copy of a variable's value as an array."""
    return np.array(ops.convert_to_numpy(variable))


def _is_weight_normalization(layer):
    return isinstance(layer, weight_normalization.WeightNormalization)


def _unit_letters(einsum):
    letters = einsum.equation.split("->")[0].split(",")[1].strip()
    return [letters[axis] for axis in kept_axes.output_axes(einsum, "kernel", len(letters))]


def _position(letter, output):
    # Letters behind an ellipsis, or without one, are counted from the end.
    before, _, after = output.rpartition("...")
    return after.index(letter) - len(after) if letter in after else before.index(letter)


@contextlib.contextmanager
def _activation(linear, activation):
    own = vars(linear)
    before = own.get("activation", own)  # `own` for an attribute that PyTorch's modules keep elsewhere
    # Swapped on the layer, whose `call` reads it there: no other thread may call it meanwhile.
    # Not setattr: Keras tracks what is set on a layer.
    object.__setattr__(linear, "activation", activation)
    try:
        yield
    finally:
        if before is own:
            object.__delattr__(linear, "activation")
        else:
            object.__setattr__(linear, "activation", before)
