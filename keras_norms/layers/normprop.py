"""Normalization propagation."""

import math

import keras
import numpy as np
from keras import ops

from keras_norms.layers import activation_moments, arguments, reparameterization
from keras_norms.ops import normprop, weight_normalization

_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)


@keras.saving.register_keras_serializable(package="keras_norms")
class NormProp(reparameterization.Reparameterization):
    """Keeps mean 0 and variance 1 from its input to its output, without statistics of a batch.

        y = (f(scale * w . x / ||w|| + bias) - mean) / deviation

    A dense layer or convolution with filters of length 1, the activation f, and the constants that make its output
    standard: the moments of f for a normal variable. It works at a batch size of 1, and is the same in training and
    in inference. Use it in plain networks on data whose features have been standardized: the first layer expects mean
    0 and variance 1, too. In residual networks (`NormPropAdd`) it has been found worse than batch norm.

    Scale and moments: forward and backward signals cannot both keep their size. The scale starts at 1 / 1.2112 for a
    ReLU, the paper's 1 / 1.21, or at the exact constant of another f: `deviation / sqrt(E f'(z) ** 2)`. The paper
    divides by the moments at a scale of 1, and so has a Jacobian of size 1 per layer; but a standard input leaves a
    layer of such ReLUs with mean -0.119 and variance 0.682, and fades. Here `mean` and `deviation` are by default the
    moments at the initial scale, of `f(initial_scale * z)`: the output has mean 0 and variance 1 wherever the scale
    starts, and the Jacobian of a layer of ReLUs the size 1.2112. `assumed_scale=1.0` is the paper's layer.

    The constants stay what they are when scale, bias and the activation's own weights learn; weight decay of the scale
    pulls it away from them.

    The bias is that of the wrapped layer, if it has one; its activation must be given here. The layer's `kernel`
    holds w, of any length. The effective weight is computed in each call and never written to it; a filter of zeros
    gives the value of f at the bias, and finite gradients.

    What the paper leaves open, or what abstract, public code and notes on it do not tell, and what is done here:

    - Filters: all taps and input channels of an output unit; see `kept_axes.output_axes`. Strided transposed
      convolutions are multiplied with the root of the product of their strides, since an output sees one tap in so
      many, on average. A separable convolution is a depthwise one with `activation=None`, then a 1x1 one.
    - Length 1 by division in each call, not by projection after each step.
    - Padding: the zeros are the mean, but lower the variance along the border.
    - Pooling: no correction. `gaussian_moments.maximum_of` has the constants of independent pixels, which are too
      strong for those of real maps.
    - Dropout: none.
    - Last layer: `activation=None`, whose constants are 0 and 1: a linear layer with scale and bias.
    - Other activations: closed forms where there are any, otherwise quadrature at construction. For weights of the
      activation (`TReLU`, `PReLU`) the moments as they start; for random slopes (`RReLU`) those of training, in
      inference, too, where the variance is off by 0.4 % (PyTorch's bounds).

    Args:
        layer: Keras layer without activation: `Dense`, `EinsumDense`, any convolution.
        activation: Name of a Keras activation, function of each element, Keras layer (with weights, if it has some;
            `Maxout`), or `None`. Defaults to `"relu"`.
        weight: String, the attribute that holds the weight.
        axis: Integer or sequence of integers, the axes of the weight that number its filters. By default one per
            output unit, as in `WeightNormalization`.
        use_scale: Boolean, whether there is a learned scale. Otherwise it is 1.
        initial_scale: Float above 0; `None` for the constant of the activation.
        assumed_scale: Float above 0, the scale at which the moments are taken; `None` for the initial one, `1.0` for
            the paper's constants.
        scale_regularizer: Regularizer or `None`.
        scale_constraint: Constraint or `None`.
        **kwargs: `name`, `trainable`. The dtype is that of the wrapped layer.

    Input and output shape: Those of the wrapped layer (with what a `Maxout` or GLU does to its channels).
    Weights:
        Those of the wrapped layer and of the activation.
        scale: With the lengths of the kept axes as its shape, trainable.

    Example:
    >>> layer = keras_norms.NormProp(keras.layers.Dense(2, kernel_initializer="ones"))
    >>> keras.ops.convert_to_numpy(layer(np.array([[0.0, 0.0], [1.0, 1.0]]))[:, 0]).round(3)
    array([-0.683,  1.739], dtype=float32)
    >>> keras.ops.convert_to_numpy(layer.scale).round(4)
    array([0.8256, 0.8256], dtype=float32)

    Reference: [Arpit et al., 2016](https://arxiv.org/abs/1603.01431)
    """

    def __init__(
        self,
        layer,
        activation="relu",
        weight="kernel",
        axis=None,
        use_scale=True,
        initial_scale=None,
        assumed_scale=None,
        scale_regularizer=None,
        scale_constraint=None,
        **kwargs,
    ):
        super().__init__(layer, weight, axis, **kwargs)
        if not isinstance(weight, str):
            raise ValueError(f"`weight` must be the name of one weight. Received: weight={weight!r}.")
        _check_linear(layer)
        self.activation = _checked(activation)
        self.use_scale = arguments.boolean("use_scale", use_scale)
        arguments.unused("scale", use_scale, scale_regularizer, scale_constraint)
        if not use_scale and initial_scale is not None:
            raise ValueError(f"`initial_scale` needs `use_scale=True`. Received: initial_scale={initial_scale!r}.")
        self.initial_scale = None if initial_scale is None else arguments.positive("initial_scale", initial_scale)
        self.assumed_scale = None if assumed_scale is None else arguments.positive("assumed_scale", assumed_scale)
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)
        self.scale_constraint = keras.constraints.get(scale_constraint)
        self._start = self._scale_at_start()
        self.moments = activation_moments.of(self.activation, self.assumed_scale or self._start)
        self.scale = None

    def build(self, input_shape):
        super().build(input_shape)
        if isinstance(self.activation, keras.Layer) and not self.activation.built:
            self.activation.build(self.layer.compute_output_shape(input_shape))

    def build_weight(self, name, variable, kept):
        if not self.use_scale:
            return
        self.scale = self.add_weight(
            name="scale",
            shape=[variable.shape[axis] for axis in kept],
            initializer=keras.initializers.Constant(self._start),
            regularizer=self.scale_regularizer,
            constraint=self.scale_constraint,
            dtype="float64" if self.variable_dtype == "float64" else "float32",
            autocast=False,
        )

    def effective(self, name, variable, kept):
        owner, _ = self._found(name)
        # An output of a strided transposed convolution sees one tap in so many.
        factor = math.sqrt(math.prod(owner.strides)) if isinstance(owner, _TRANSPOSED) else 1.0
        scale = np.asarray(factor) if self.scale is None else factor * self.scale.value
        return weight_normalization.normalized(variable.value, scale, kept)

    def call(self, inputs, *args, **kwargs):
        inputs = ops.cast(inputs, self.layer.compute_dtype)  # Keras casts floating inputs alone
        outputs = self.activation(super().call(inputs, *args, **kwargs))
        return normprop.standardized(outputs, self.moments.mean, self.moments.deviation)

    def compute_output_spec(self, inputs, *args, **kwargs):
        spec = super().compute_output_spec(inputs, *args, **kwargs)
        dtype = self.activation.compute_dtype if isinstance(self.activation, keras.Layer) else spec.dtype
        return keras.KerasTensor(_activated_shape(self.activation, spec.shape), dtype=dtype)

    def compute_output_shape(self, *args, **kwargs):
        return _activated_shape(self.activation, super().compute_output_shape(*args, **kwargs))

    def get_config(self):
        config = super().get_config()
        return {
            **config,
            "activation": keras.activations.serialize(self.activation),
            "use_scale": self.use_scale,
            "initial_scale": self.initial_scale,
            "assumed_scale": self.assumed_scale,
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
            "scale_constraint": keras.constraints.serialize(self.scale_constraint),
        }

    def _scale_at_start(self):
        if not self.use_scale:
            return 1.0
        if self.initial_scale is not None:
            return self.initial_scale
        moments = activation_moments.of(self.activation)
        if moments.square_slope < 1e-6 * moments.variance:
            raise ValueError(
                "`activation` is flat, and so gives the scale no start: give an `initial_scale`. "
                f"Received: activation={self.activation}."
            )
        return moments.jacobian_scale


@keras.saving.register_keras_serializable(package="keras_norms")
class NormPropAdd(keras.layers.Add):
    """Adds streams of variance 1 to one of variance 1: `(x_1 + ... + x_n) / sqrt(n + n (n - 1) correlation)`.

    Use it in place of `keras.layers.Add` in residual networks of `NormProp` layers. It divides the sum of two
    uncorrelated streams by the root of 2. An identity shortcut and its branch are correlated more or less; measure the
    correlation and give it, if the variance is to stay 1 over many blocks.

    Args:
        correlation: Float from -1 to 1, the correlation expected of each pair of inputs. Defaults to `0.0`.
        **kwargs: `name`, `dtype`.

    Input shape: List of tensors of one rank, whose shapes broadcast.
    Output shape: That of their sum.

    Example:
    >>> x = np.array([[3.0, -1.0]])
    >>> keras.ops.convert_to_numpy(keras_norms.NormPropAdd(correlation=1.0)([x, x])).tolist()
    [[3.0, -1.0]]

    Reference: Shang, Chiu and Sohn, [Exploring Normalization in Deep Residual Networks with Concatenated Rectified
    Linear Units, 2017](https://research.facebook.com/publications/exploring-normalization-in-deep-residual-networks-with-concatenated-rectified-linear-units/)
    """

    def __init__(self, correlation=0.0, **kwargs):
        super().__init__(**kwargs)
        self.correlation = arguments.number("correlation", correlation, -1.0, 1.0)

    def build(self, input_shape):
        super().build(input_shape)
        if len({len(shape) for shape in input_shape}) > 1:
            raise ValueError(f"The inputs must have the same rank. Received: input shapes={input_shape}.")
        if normprop.variance_of_sum(len(input_shape), self.correlation) <= 0:
            raise ValueError(
                f"No {len(input_shape)} streams have a pairwise correlation at or below -1 / {len(input_shape) - 1} "
                f"and a sum that varies. Received: correlation={self.correlation}."
            )

    def call(self, inputs):
        inputs = [ops.cast(x, self.compute_dtype) for x in inputs]  # Keras casts floating inputs alone
        return normprop.added(inputs, self.correlation)

    def get_config(self):
        return {**super().get_config(), "correlation": self.correlation}


def _check_linear(layer):
    activation = getattr(layer, "activation", None)
    if activation not in (None, keras.activations.linear):
        raise ValueError(
            "Give the `activation` to NormProp, which normalizes what it returns, and none to the wrapped layer. "
            f"Received: a layer with activation={activation}."
        )


def _checked(activation):
    if isinstance(activation, type):
        raise ValueError(f"`activation` must be an object, not a class. Received: activation={activation}.")
    return keras.activations.get(activation)


def _activated_shape(activation, shape):
    if isinstance(activation, keras.Layer):
        return activation.compute_output_shape(shape)
    return (*shape[:-1], shape[-1] // 2) if activation is keras.activations.glu else tuple(shape)
