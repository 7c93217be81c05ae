"""Randomized leaky rectifiers."""

import math

import keras
from keras import ops

from keras_norms.layers import arguments
from keras_norms.ops import leaky_relu


class _Randomized(keras.Layer):
    def __init__(self, lower, upper, inference_slope, seed, **kwargs):
        super().__init__(**kwargs)
        if lower > upper:
            raise ValueError(f"`lower` must not be above `upper`. Received: lower={lower}, upper={upper}.")
        self.lower = lower
        self.upper = upper
        self.inference_slope = arguments.number("inference_slope", inference_slope, 0.0)
        self.seed = None if seed is None else arguments.integer("seed", seed, 0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def call(self, inputs, training=None):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return leaky_relu.leaky_relu(inputs, self.drawn_slopes(inputs) if training else self.inference_slope)

    def drawn_slopes(self, inputs):
        """Returns one slope for each element of the inputs."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        names = ("lower", "upper", "inference_slope", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _uniform(self, inputs):
        # Half precision has too few numbers between the bounds.
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        return keras.random.uniform(ops.shape(inputs), self.lower, self.upper, dtype=dtype, seed=self.seed_generator)


@keras.saving.register_keras_serializable(package="keras_norms")
class RReLU(_Randomized):
    """Multiplies what is not above zero by random slopes, in inference by one fixed slope.

        y = x            where x > 0
        y = slope * x    elsewhere,    slope ~ Uniform(lower, upper), for each element anew in each step

    Use it as a regularizer in place of a leaky ReLU. This is the convention of PyTorch and TensorFlow Addons, with
    their bounds. Published networks and the paper's experiments draw divisors, which is another distribution of
    slopes and has another slope in inference: `DivisorRReLU`.

    Args:
        lower, upper: Floats from 0 to 1, the bounds of the slopes. Default to `1 / 8` and `1 / 3`.
        inference_slope: Float, the slope in inference; `None` for the mean of the slopes, `(lower + upper) / 2`.
        seed: Integer, or `None` for a random one. Layers with the same seed draw the same numbers.
        **kwargs: `name`, `dtype`. As with `keras.layers.Dropout`, `trainable=False` does not stop the randomness.

    Call arguments:
        inputs: Floating tensor.
        training: Boolean, whether slopes are drawn.

    Input and output shape: Any.

    Example:
    >>> layer = keras_norms.RReLU()
    >>> keras.ops.convert_to_numpy(layer(np.array([[-48.0, 0.0, 48.0]]))).tolist()
    [[-11.0, 0.0, 48.0]]

    Reference: [Xu et al., 2015](https://arxiv.org/abs/1505.00853)
    """

    def __init__(self, lower=1 / 8, upper=1 / 3, inference_slope=None, seed=None, **kwargs):
        arguments.number("lower", lower, 0.0, 1.0)
        arguments.number("upper", upper, 0.0, 1.0)
        slope = (lower + upper) / 2 if inference_slope is None else inference_slope
        super().__init__(lower, upper, slope, seed, **kwargs)

    def drawn_slopes(self, inputs):
        return self._uniform(inputs)


@keras.saving.register_keras_serializable(package="keras_norms")
class DivisorRReLU(_Randomized):
    """Divides what is not above zero by random divisors, in inference multiplies it by one fixed slope.

        y = x              where x > 0
        y = x / divisor    elsewhere,    divisor ~ Uniform(lower, upper), for each element anew in each step

    Use it to reproduce published networks: Xu et al. have divisors from 3 to 8 and in inference their mean, 5.5; the
    caffenet-benchmark divisors from 10 to 30 and in inference the mean of their reciprocals,
    `DivisorRReLU.with_mean_slope(10, 30)`. The latter is the slope expected in training. `RReLU` draws slopes.

    Args:
        lower, upper: Floats above 0, the bounds of the divisors. Default to `3` and `8`.
        inference_slope: Float, the slope in inference; `None` for one over the mean divisor, `2 / (lower + upper)`.
        seed: Integer, or `None` for a random one. Layers with the same seed draw the same numbers.
        **kwargs: `name`, `dtype`. As with `keras.layers.Dropout`, `trainable=False` does not stop the randomness.

    Call arguments:
        inputs: Floating tensor.
        training: Boolean, whether divisors are drawn.

    Input and output shape: Any.

    Example:
    >>> layer = keras_norms.DivisorRReLU()
    >>> keras.ops.convert_to_numpy(layer(np.array([[-11.0, 0.0, 11.0]]))).tolist()
    [[-2.0, 0.0, 11.0]]
    >>> round(keras_norms.DivisorRReLU.with_mean_slope(10, 30).inference_slope, 7)
    0.0549306

    Reference: [Xu et al., 2015](https://arxiv.org/abs/1505.00853),
    [Mishkin, Sergievskiy and Matas, 2017](https://arxiv.org/abs/1606.02228)
    """

    def __init__(self, lower=3.0, upper=8.0, inference_slope=None, seed=None, **kwargs):
        arguments.positive("lower", lower)
        arguments.positive("upper", upper)
        slope = 2 / (lower + upper) if inference_slope is None else inference_slope
        super().__init__(lower, upper, slope, seed, **kwargs)

    @classmethod
    def with_mean_slope(cls, lower, upper, **kwargs):
        """Returns a layer whose slope in inference is the one expected in training.

        That is `E[1 / divisor] = log(upper / lower) / (upper - lower)`, as in the Caffe of the caffenet-benchmark.

        Args:
            lower, upper: Floats above 0, `lower` below `upper`.
            **kwargs: As for the class.
        """
        arguments.positive("lower", lower)
        arguments.positive("upper", upper)
        if not lower < upper:
            raise ValueError(f"`lower` must be below `upper`. Received: lower={lower}, upper={upper}.")
        # log1p, which keeps its digits where the bounds are close.
        mean_slope = math.log1p((upper - lower) / lower) / (upper - lower)
        return cls(lower, upper, inference_slope=mean_slope, **kwargs)

    def drawn_slopes(self, inputs):
        return 1 / self._uniform(inputs)
